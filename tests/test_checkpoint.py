"""A checkpoint is whole and unedited, or it is refused; an interrupted save loses nothing."""

import errno
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest

from w2s_jax.runtime import checkpoint, files
from w2s_jax.runtime.errors import UserError


@pytest.fixture
def tree():
    return {"layer": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "key": jax.random.key(3)}


def abstract(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), tree)


def assert_same(left, right):
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)


def test_round_trip_with_optimizer_state(tmp_path, tree):
    state = optax.adamw(1e-3).init(tree["layer"])
    checkpoint.save(tmp_path / "c", {"params": tree, "opt": state}, {"step": 7, "losses": [0.1, 0.2]})
    restored = checkpoint.restore(tmp_path / "c", {"params": abstract(tree), "opt": abstract(state)})
    assert_same(restored, {"params": tree, "opt": state})
    assert checkpoint.meta(tmp_path / "c") == {"step": 7, "losses": [0.1, 0.2]}


def test_items_are_restored_alone(tmp_path, tree):
    checkpoint.save(tmp_path / "c", {"params": tree, "opt": {"m": jnp.ones(1000)}}, {})
    assert set(checkpoint.restore(tmp_path / "c", {"params": abstract(tree)})) == {"params"}


def largest_file(folder):
    return max(
        (p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json"), key=lambda p: p.stat().st_size
    )


@pytest.mark.parametrize("damage", ["truncate", "edit", "remove"])
def test_damage_is_named_and_refused(tmp_path, tree, damage):
    checkpoint.save(tmp_path / "c", {"params": tree}, {})
    file = largest_file(tmp_path / "c")
    content = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(UserError, match=file.name):
        checkpoint.restore(tmp_path / "c", {"params": abstract(tree)})


def test_another_models_shapes_are_refused_before_anything_is_read(tmp_path, tree, monkeypatch):
    """Orbax would leave reads half done, and say so in many lines."""
    checkpoint.save(tmp_path / "c", {"params": tree}, {})
    monkeypatch.setattr(orbax.checkpoint.StandardCheckpointer, "restore", lambda *_: pytest.fail("read"))
    other = {"layer": {"kernel": jax.ShapeDtypeStruct((5, 5), jnp.float32)}, "key": tree["key"]}
    with pytest.raises(UserError, match=r"another model .*: layer/kernel has the shape \(2, 3\), .* \(5, 5\)$"):
        checkpoint.restore(tmp_path / "c", {"params": other})


def test_another_optimizers_state_is_refused(tmp_path, tree):
    checkpoint.save(tmp_path / "c", {"opt": optax.sgd(0.1).init(tree["layer"])}, {})
    with pytest.raises(UserError, match="another model or optimizer"):
        checkpoint.restore(tmp_path / "c", {"opt": optax.adamw(0.1).init(tree["layer"])})


@pytest.mark.parametrize("moment", ["write_json", "rename"])
def test_a_save_that_dies_leaves_the_checkpoint_before_it(tmp_path, tree, monkeypatch, moment):
    checkpoint.save(tmp_path / "c", {"params": tree}, {"step": 1})

    def die(*_args, **_kwargs):
        raise KeyboardInterrupt

    if moment == "write_json":
        monkeypatch.setattr(files, "write_json", die)
    else:
        rename, calls = type(tmp_path).rename, []

        def rename_once(self, target):
            calls.append(target)
            if len(calls) == 2:
                die()
            return rename(self, target)

        monkeypatch.setattr(type(tmp_path), "rename", rename_once)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path / "c", {"params": jax.tree.map(lambda leaf: leaf, tree)}, {"step": 2})
    monkeypatch.undo()
    assert checkpoint.meta(tmp_path / "c") == {"step": 1}
    assert_same(checkpoint.restore(tmp_path / "c", {"params": abstract(tree)})["params"], tree)
    checkpoint.save(tmp_path / "c", {"params": tree}, {"step": 3})
    assert checkpoint.meta(tmp_path / "c") == {"step": 3}


def test_remove_takes_the_leftovers_too(tmp_path, tree):
    checkpoint.save(tmp_path / "c", {"params": tree}, {})
    (tmp_path / "c.partial").mkdir()
    checkpoint.remove(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []
    assert not checkpoint.exists(tmp_path / "c")


def test_while_a_checkpoint_is_written_the_one_before_it_is_read(tmp_path, monkeypatch):
    """Also by whoever comes after a kill at that moment; and the arrays are free for the next step."""
    finish, allowed = checkpoint._finish, threading.Event()
    monkeypatch.setattr(checkpoint, "_finish", lambda *args: allowed.wait(30) and finish(*args))
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    with checkpoint.Saver(tmp_path / "c") as saver:
        allowed.set()
        params = step(jnp.zeros(1000))
        saver.save({"params": {"x": params}}, {"step": 1})
        params = step(params)
        saver.wait()
        allowed.clear()
        saver.save({"params": {"x": params}}, {"step": 2})
        for _ in range(3):
            params = step(params)
        assert checkpoint.meta(tmp_path / "c") == {"step": 1}
        np.testing.assert_array_equal(checkpoint.load(tmp_path / "c", "params")["x"], np.ones(1000))
        allowed.set()
    assert checkpoint.meta(tmp_path / "c") == {"step": 2}
    np.testing.assert_array_equal(checkpoint.load(tmp_path / "c", "params")["x"], np.full(1000, 2.0))
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_checkpoint_that_cannot_be_written_is_said_when_it_is_waited_for(tmp_path, tree, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(files, "sha256_file", full)
    saver = checkpoint.Saver(tmp_path / "c")
    saver.save({"params": tree}, {})
    with pytest.raises(UserError, match="the disk is full"), saver:
        pass
    assert not checkpoint.exists(tmp_path / "c")
