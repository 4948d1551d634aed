"""What the program sets for itself on a CPU, and what its backward pass keeps."""

import os
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from w2s_jax.models.stack import from_inputs, kept, restored
from w2s_jax.runtime import cpu


def test_options_are_added_once_and_those_of_the_user_stay(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    cpu.prepare()
    cpu.prepare()
    assert os.environ["XLA_FLAGS"] == f"--xla_cpu_enable_fast_math=false --xla_backend_extra_options={cpu.FUSION}"
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_extra_options=own")
    cpu.prepare()
    assert os.environ["XLA_FLAGS"] == "--xla_backend_extra_options=own"


def test_a_program_starts_again_at_most_once_and_only_on_glibc(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execv", lambda *command: started.append(command))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(cpu.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setenv("GLIBC_TUNABLES", "")  # so that it is put back
    monkeypatch.delenv("GLIBC_TUNABLES")
    cpu.restart_with_huge_pages()
    assert not started
    assert "GLIBC_TUNABLES" not in os.environ
    monkeypatch.setattr(cpu.platform, "libc_ver", lambda: ("glibc", "2.36"))
    cpu.restart_with_huge_pages()
    cpu.restart_with_huge_pages()
    assert len(started) == 1
    assert started[0][1][1:] == sys.orig_argv[1:]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_computed_again_has_the_same_gradient(dtype):
    def gated(gate, up, mask):
        return jnp.where(mask, jax.nn.silu(gate) * up, 0)

    gate, up = (jnp.asarray(np.random.default_rng(seed).normal(size=(3, 4)), dtype) for seed in (0, 1))
    mask = jnp.asarray(np.arange(12).reshape(3, 4) % 3 > 0)
    for ours, plain in zip(
        *(
            jax.grad(lambda *both, compute=compute: jnp.sum(compute(*both, mask).astype(jnp.float32)), (0, 1))(gate, up)
            for compute in (from_inputs(gated), gated)
        ),
        strict=True,
    ):
        assert ours.dtype == dtype
        np.testing.assert_array_equal(np.asarray(ours, np.float32), np.asarray(plain, np.float32))


def test_what_is_kept_has_the_same_bits():
    arrays = (jnp.asarray([1.5, -0.0, jnp.inf], jnp.bfloat16), jnp.arange(3), None)
    assert jax.tree.map(lambda x: x.dtype, kept(arrays))[0] == jnp.uint16
    for given, back in zip(jax.tree.leaves(arrays), jax.tree.leaves(restored(kept(arrays))), strict=True):
        assert given.dtype == back.dtype
        assert given.tobytes() == back.tobytes()
