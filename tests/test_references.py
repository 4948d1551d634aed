"""References to a user's own Python: what is hashed is what runs, and nothing else is met."""

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pytest

from w2s_jax import losses
from w2s_jax.losses import LOSSES
from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def value(path, name="value"):
    return references.named(str(path), name)


def identity(path, name="value"):
    return references.find(f"{path}:{name}", LOSSES).identity


def test_a_reference_is_a_name_or_a_file_and_a_name():
    assert references.split("confidence") is None
    assert references.split("a/b.py:loss") == ("a/b.py", "loss")
    assert references.split("features.npz:loss") is None
    found = references.find("confidence", LOSSES)
    assert (found.value, found.identity) == (losses.confidence, "confidence")


def test_an_edited_file_runs_again_and_an_unchanged_one_does_not(tmp_path):
    path = write(tmp_path / "mine.py", "value = [1]\n")
    first, before = value(path), identity(path)
    assert value(path) is first
    write(path, "value = [2]\n")
    assert (value(path), first) == ([2], [1])
    assert identity(path) != before
    write(path, "value = [1]\n")
    assert identity(path) == before


def test_what_a_file_imports_from_its_folder_works_and_is_hashed(tmp_path):
    path = write(
        tmp_path / "mine.py", "from helper import number\nimport package.part\nvalue = number + package.part.x\n"
    )
    write(tmp_path / "helper.py", "from deeper import number\n")
    write(tmp_path / "deeper.py", "number = 1\n")
    write(tmp_path / "package" / "__init__.py", "")
    write(tmp_path / "package" / "part.py", "x = 10\n")
    write(tmp_path / "other.py", "")
    assert value(path) == 11
    before = identity(path)
    write(tmp_path / "other.py", "nobody = 'imports it'\n")
    assert identity(path) == before
    write(tmp_path / "deeper.py", "number = 2\n")
    assert value(path) == 12
    middle = identity(path)
    write(tmp_path / "package" / "part.py", "x = 20\n")
    assert value(path) == 22
    assert len({before, middle, identity(path)}) == 3


def test_relative_imports_of_a_package_work_and_are_hashed(tmp_path):
    path = write(tmp_path / "mine.py", "from package import value\n")
    write(tmp_path / "package" / "__init__.py", "from . import part\nfrom .inner.leaf import x\nvalue = part.y + x\n")
    write(tmp_path / "package" / "part.py", "y = 1\n")
    write(tmp_path / "package" / "inner" / "__init__.py", "")
    write(tmp_path / "package" / "inner" / "leaf.py", "from ..part import y\nx = 10 * y\n")
    assert value(path) == 11
    before = identity(path)
    write(tmp_path / "package" / "part.py", "y = 2\n")
    assert value(path) == 22
    assert identity(path) != before


def test_a_function_may_import_from_its_folder_when_it_is_called(tmp_path):
    path = write(tmp_path / "mine.py", "def value():\n    import helper\n    return helper.number()\n")
    write(tmp_path / "helper.py", "def number():\n    from deeper import x\n    return x\n")
    write(tmp_path / "deeper.py", "x = 1\n")
    assert value(path)() == 1
    before = identity(path)
    write(tmp_path / "deeper.py", "x = 2\n")
    assert identity(path) != before
    assert value(path)() == 2
    assert not {"helper", "deeper"} & sys.modules.keys()


def test_two_folders_with_helpers_of_one_name_do_not_mix(tmp_path):
    text = "import helper\nfrom helper import number\n\ndef value():\n    import helper as again\n"
    text += "    return number, helper.number, again.number\n"
    first, second = (write(tmp_path / name / "mine.py", text) for name in ("first", "second"))
    write(tmp_path / "first" / "helper.py", "number = 1\n")
    write(tmp_path / "second" / "helper.py", "number = 2\n")
    one, two = value(first), value(second)
    assert (one(), two(), one()) == ((1,) * 3, (2,) * 3, (1,) * 3)
    assert identity(first) != identity(second)
    assert "helper" not in sys.modules


def test_what_a_helper_defines_is_the_same_whoever_imports_it(tmp_path):
    write(tmp_path / "helper.py", "class Kind:\n    pass\n\ndef loss(): ...\n")
    one = write(tmp_path / "one.py", "import helper\nvalue = helper.Kind\nloss = helper.loss\n")
    two = write(tmp_path / "two.py", "import helper\nvalue = helper.Kind()\nmore = 2\n")
    assert type(value(two)) is value(one) is value(tmp_path / "helper.py", "Kind")
    assert references.fingerprint(value(one)) == references.fingerprint(value(two))
    by_object = references.find(value(one, "loss"), LOSSES)
    assert by_object.identity == identity(tmp_path / "helper.py", "loss")
    before = references.fingerprint(value(one))
    write(one, one.read_text() + "more = 1\n")
    assert references.fingerprint(value(one)) == before, "only its own file decides what it is"


def test_files_that_import_each_other(tmp_path):
    path = write(tmp_path / "mine.py", "x = 1\nimport helper\nvalue = helper.y\n")
    write(tmp_path / "helper.py", "import mine\ny = mine.x + 1\n")
    assert value(path) == 2


def test_installed_modules_go_before_those_of_the_folder(tmp_path, monkeypatch):
    path = write(tmp_path / "folder" / "mine.py", "import json, helper\nvalue = json.dumps([helper.number])\n")
    write(tmp_path / "folder" / "json.py", "raise AssertionError('the installed one was wanted')\n")
    write(tmp_path / "folder" / "helper.py", "number = 1\n")
    assert value(path) == "[1]"
    before = identity(path)
    write(tmp_path / "folder" / "json.py", "raise AssertionError('still')\n")
    assert identity(path) == before, "it is not imported"
    write(tmp_path / "installed" / "helper.py", "number = 2\n")
    monkeypatch.syspath_prepend(str(tmp_path / "installed"))
    assert value(path) == "[2]"


def test_where_python_itself_takes_a_module_of_the_folder_so_do_we(tmp_path):
    """As `python -m w2s_jax.cli` does, whose path begins with the current folder."""
    path = write(tmp_path / "mine.py", "import helper, wave\nvalue = helper.number, wave.number\n")
    write(tmp_path / "helper.py", "number = 1\n")
    write(tmp_path / "wave.py", "number = 1\n")  # also the name of an installed module
    script = """
import sys
from pathlib import Path
assert sys.path[0] == ""
from w2s_jax.losses import LOSSES
from w2s_jax.runtime import references
def look():
    return references.named("mine.py", "value"), references.find("mine.py:value", LOSSES).identity
first = look()
Path("wave.py").write_text("number = 2")
second = look()
assert (first[0], second[0]) == ((1, 1), (1, 2)), (first, second)
assert first[1] != second[1]
"""
    environment = {"PYTHONPATH": ":".join(each for each in sys.path if each), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=path.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("value = (\n", "value", r"mine.py cannot be imported: SyntaxError"),
        ("value = 1 / 0\n", "value", r"mine.py cannot be imported: ZeroDivisionError: division by zero"),
        ("import no_such_module\n", "value", r"mine.py cannot be imported: ModuleNotFoundError: .*no_such_module"),
        ("from . import helper\n", "value", r"mine.py cannot be imported: ImportError"),
        ("other = 1\n_hidden = 2\n", "value", r"mine.py has no 'value'; it defines: other$"),
        ("", "value", r"mine.py has no 'value'; it defines: nothing"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, name, message):
    path = write(tmp_path / "mine.py", text)
    with pytest.raises(UserError, match=message) as error:
        value(path, name)
    assert "\n" not in str(error.value)
    write(path, "value = 1\n")
    assert value(path) == 1, "and once it is mended it is read"


def test_a_missing_file_and_another_kind_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"nowhere.py does not exist"):
        references.find(str(tmp_path / "nowhere.py:value"), LOSSES)
    path = write(tmp_path / "mine.py", "value = 1\n")
    with pytest.raises(UserError, match=r"'value' in .*mine.py must be a str, not a int"):
        references.named(str(path), "value", str)
    write(tmp_path / "helper.py", "def broken(:\n")
    write(path, "import helper\n")
    with pytest.raises(UserError, match=r"mine.py cannot be imported: SyntaxError: .*helper.py, line 1"):
        value(path)


OBJECTS = """
from dataclasses import dataclass

class Kind:
    def method(self): ...

    class Inner:
        pass

@dataclass(frozen=True)
class Empty:
    pass

def loss(logits, targets): ...

value = Kind()
"""


def test_a_class_a_function_and_an_object_have_the_hash_and_address_of_their_file(tmp_path):
    path = write(tmp_path / "mine.py", OBJECTS)
    of_file = identity(path).partition("@")[2]
    for name in ("Kind", "Empty", "loss", "value"):
        assert references.fingerprint(value(path, name)) == of_file
    assert references.address(value(path, "Kind")) == f"{path}:Kind"
    assert references.address(value(path, "Empty")) == f"{path}:Empty"
    assert references.address(value(path, "Kind").Inner) == f"{path}:Kind.Inner"
    assert value(path, "Kind.Inner") is value(path, "Kind").Inner
    old = value(path, "Empty")
    write(path, OBJECTS + "more = 1\n")
    assert references.fingerprint(value(path, "Empty")) != of_file
    assert references.fingerprint(old) == of_file, "code that ran before keeps its hash"
    assert references.address(dict) is None
    assert references.address(references.Found) is None


def test_what_is_defined_elsewhere():
    assert references.fingerprint(losses.confidence) == "w2s_jax.losses.weak_to_strong.confidence"

    class Here: ...

    class There(Here):
        pass

    assert len({references.fingerprint(each) for each in (Here, There)}) == 2
    assert references.fingerprint(Here()) == references.fingerprint(Here)
    typed = {"__name__": "__main__"}
    exec("def typed(): ...", typed)
    with pytest.raises(UserError, match="the code of typed cannot be found to be hashed; define it in a file"):
        references.fingerprint(typed["typed"])
    assert references.address(functools.partial) is None


# ---- What an object holds decides as well as its code


def closed_over(what):
    def loss(logits, targets):
        return logits * what

    return loss


@dataclasses.dataclass(frozen=True)
class Held:
    what: object


class Plain:
    def __init__(self, what):
        self.what = what


def partly(what):
    return functools.partial(losses.confidence, alpha=what)


@pytest.mark.parametrize("make", [closed_over, Held, Plain, partly])
def test_objects_that_hold_other_things_have_other_identities(make):
    def key(what):
        return references.find(make(what), LOSSES).identity

    assert key(1) == key(1)
    assert key({"a": (1, 2)}) == key({"a": (1, 2)})
    different = [1, 1.5, "1", None, True, (1, 2), {"a": 1}, {"a": 2}, losses.confidence, losses.product]
    different += [Held(1), Held(2), closed_over(1), closed_over(2), np.arange(3), np.arange(4), np.arange(3.0)]
    assert len({key(each) for each in different}) == len(different)
    with pytest.raises(UserError, match=r"cannot be (found to be )?hashed"):
        key(object())


def test_a_field_of_any_name_does_not_hide_the_code(tmp_path):
    text = "from dataclasses import dataclass\n@dataclass\nclass One:\n    kind: int = 1\n"
    text += "@dataclass\nclass Two(One): ...\n"
    one, two = (value(write(tmp_path / "mine.py", text), name)() for name in ("One", "Two"))
    assert references.content(one)["kind"] == references.content(two)["kind"] == 1
    assert references.content(one) != references.content(two)


@pytest.mark.parametrize("value", [3, None, [1], np.arange(3)])
def test_what_is_no_object_of_ones_own_is_refused(value):
    with pytest.raises(UserError, match="is no name, and no function, class or object of one"):
        references.find(value, LOSSES)


def test_functions_within_one_file_are_told_apart(tmp_path):
    text = """
def made(scale):
    def loss(logits, targets): return scale * logits
    return loss

def again(logits, targets): ...

lambdas = [lambda logits, targets: logits, lambda logits, targets: targets]
more = [lambda logits, targets, scale=scale: scale for scale in (1, 2)]
found = [made(1), made(2), again, *lambdas, *more]
"""
    path = write(tmp_path / "mine.py", text)
    keys = [references.identity(each) for each in value(path, "found")]
    assert len(set(keys)) == len(keys)
    assert keys == [references.identity(each) for each in value(path, "found")]
    assert references.identity(value(path, "again")) == identity(path, "again"), "however it is named"


def test_an_object_that_holds_itself():
    one, two = Plain(1), Plain(2)
    one.me, two.me = one, two
    assert references.identity(one) == references.identity(one) != references.identity(two)


def test_this_package_is_never_a_users_module(tmp_path, monkeypatch):
    path = write(tmp_path / "mine.py", "import w2s_jax.losses\nvalue = w2s_jax.losses.LOSSES\n")
    write(tmp_path / "w2s_jax" / "__init__.py", "raise AssertionError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert value(path) is LOSSES
