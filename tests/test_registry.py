"""Registries: names, who may take them, and what is said of a name that is not there."""

import importlib

import pytest

from w2s_jax.losses import LOSSES
from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

MINE = """
from w2s_jax.runtime.registry import Registry
from {module} import things

@things.register
def mine():
    return {value}

things.register(mine, "other name")
"""


@pytest.fixture
def things(tmp_path, monkeypatch):
    """A registry that users' files can import."""
    (tmp_path / "holder").mkdir()
    (tmp_path / "holder" / "registry_of_things.py").write_text(
        "from w2s_jax.runtime.registry import Registry\nthings = Registry('thing')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "holder"))

    return importlib.reload(importlib.import_module("registry_of_things")).things


def write(path, value):
    path.write_text(MINE.format(module="registry_of_things", value=value))
    return str(path)


def test_a_registry_is_a_mapping_in_the_order_of_registration():
    found = Registry("thing")

    @found.register
    def second(): ...

    @found.register
    class First:
        name = "first"

    assert found.register(3, "three") == 3
    assert list(found) == ["second", "first", "three"]
    assert (len(found), found["first"], found.find("second"), "nothing" in found) == (3, First, second, False)
    assert dict(found) == {"second": second, "first": First, "three": 3}


def test_an_unknown_name_is_one_line_with_the_nearest():
    with pytest.raises(UserError, match="confidence") as error:
        LOSSES.find("confidnce")
    assert "loss 'confidnce'" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(KeyError):
        LOSSES["confidnce"]


def test_what_has_no_name_is_refused():
    with pytest.raises(UserError, match="a thing needs a name to be registered under; 3 has none"):
        Registry("thing").register(3)


def test_a_built_in_name_stays_what_it_is():
    kept = LOSSES["confidence"]

    def confidence(logits, targets): ...

    with pytest.raises(UserError, match="there is a loss 'confidence' already; choose another name"):
        LOSSES.register(confidence)
    assert LOSSES["confidence"] is kept


def test_a_users_file_registers_anew_when_it_runs_again(things, tmp_path):
    path = write(tmp_path / "mine.py", 1)
    references.named(path, "mine")
    assert things["mine"]() == things["other name"]() == 1
    write(tmp_path / "mine.py", 2)
    references.named(path, "mine")
    assert things["mine"]() == things["other name"]() == 2


def test_a_file_that_another_imports_and_that_is_named_itself_registers_its_things_twice(things, tmp_path):
    write(tmp_path / "mine.py", 1)
    (tmp_path / "config.py").write_text("import mine\nthing = mine.mine\n")
    assert references.named(str(tmp_path / "config.py"), "thing")() == 1
    assert references.named(str(tmp_path / "mine.py"), "mine")() == 1
    (tmp_path / "config.py").write_text("import mine\nthing = mine.mine\nother = 3\n")
    assert references.named(str(tmp_path / "config.py"), "other") == 3


def test_two_files_cannot_have_one_name(things, tmp_path):
    references.named(write(tmp_path / "mine.py", 1), "mine")
    with pytest.raises(UserError, match="there is a thing 'mine' already"):
        references.named(write(tmp_path / "yours.py", 2), "mine")
    assert things["mine"]() == 1


def test_a_new_file_of_a_folder_registers_itself(tmp_path, monkeypatch):
    folder = tmp_path / "found_by_itself"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from w2s_jax.runtime.registry import Registry, discover\n"
        "KINDS = Registry('kind')\n"
        "discover(__name__, __path__)\n"
    )
    (folder / "new.py").write_text("from found_by_itself import KINDS\n\n\n@KINDS.register\ndef new(): ...\n")
    (folder / "_private.py").write_text("raise AssertionError\n")
    monkeypatch.syspath_prepend(tmp_path)
    import found_by_itself

    assert list(found_by_itself.KINDS) == ["new"]
