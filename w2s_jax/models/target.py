"""What programs are compiled for: the devices that are there, or others that are pretended to be."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import NamedTuple

import jax
from jaxtyping import Array


class Target(NamedTuple):
    """What a program is compiled for.

    Attributes:
      platform: `cpu`, `cuda`, `rocm` or `tpu`.
      capability: of a CUDA device, such as 9.0; 0 elsewhere.
    """

    platform: str
    capability: float = 0.0


Flash = Callable[..., Array]
_PRETENDED: ContextVar[tuple[Target, Flash] | None] = ContextVar("pretended", default=None)


@contextlib.contextmanager
def pretending(target: Target, flash: Flash) -> Iterator[None]:
    """Programs are traced as for a target that is not here, to be looked at: none of them can run.

    Args:
      flash: `(query, key, value, lengths, *, form)`, in place of the target's kernel.
    """
    token = _PRETENDED.set((target, flash))
    try:
        yield
    finally:
        _PRETENDED.reset(token)


def target() -> Target:
    """The devices of the mesh that is set, which need not be here, or else this process's."""
    if (pretended := _PRETENDED.get()) is not None:
        return pretended[0]
    device = jax.sharding.get_abstract_mesh().abstract_device
    platform = jax.default_backend() if device is None else device.platform
    if platform != "gpu":
        return Target(platform)
    local = jax.local_devices(backend="gpu")[0]
    if "cuda" not in local.client.platform_version:
        return Target("rocm")
    return Target("cuda", float(local.compute_capability))


def pretended_flash() -> Flash | None:
    """What stands for attention kernels while another target is pretended to be here; else None."""
    pretended = _PRETENDED.get()
    return None if pretended is None else pretended[1]
