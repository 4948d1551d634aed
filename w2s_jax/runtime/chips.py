"""Accelerators as their makers describe them, and slices of them by name."""

import math
import os
import re
from dataclasses import dataclass

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

GIB = 2**30


# Of a GPU's memory JAX takes this share, unless the variable that JAX reads says another.
MEMORY_FRACTION, FRACTION_VARIABLE = 0.75, "XLA_PYTHON_CLIENT_MEM_FRACTION"


@dataclass(frozen=True)
class Chip:
    """One accelerator, or, of a chip that JAX sees as several devices, one of these.

    Attributes:
      kind: JAX's `device_kind`.
      hbm: bytes of memory. Of TPUs: what the compiler of libtpu 0.0.42 says that a program may use.
      hbm_bandwidth: bytes/s.
      flops: bfloat16 matrix FLOP/s, without sparsity; a float32 product in JAX's default precision is as fast on a TPU.
      link: bytes/s of one link between chips, in one direction; of a GPU, of all its links together.
      dimensions: of the grid of chips; 0 is no grid.
      wraps: an axis whose size is a multiple of this is a ring.
      cubes: only where all axes are: optical switches close the rings, and join whole cubes of chips.
      devices: of one chip.
      compiler: what libtpu calls it, if not `name`.
      capability: of a CUDA device; 0 is a TPU.
      node: how many GPUs one machine joins by `link`.
      between: bytes/s of a GPU's share of the network between machines, in one direction.
    """

    name: str
    kind: str
    hbm: int
    hbm_bandwidth: float
    flops: float
    link: float
    dimensions: int = 0
    wraps: int = 0
    cubes: bool = False
    devices: int = 1
    compiler: str = ""
    capability: float = 0.0
    node: int = 8
    between: float = 0.0

    @property
    def is_gpu(self) -> bool:
        return self.capability > 0

    @property
    def available(self) -> int:
        """Bytes that programs may use."""
        if not self.is_gpu:
            return self.hbm
        return int(float(os.environ.get(FRACTION_VARIABLE, MEMORY_FRACTION)) * self.hbm)


# TPUs: docs.cloud.google.com/tpu/docs/v5e, /v5p, /v6e, /tpu7x (a chip of which is two devices, that share its links);
# links (one-way) and rings as in jax-ml.github.io/scaling-book/tpus.
# GPUs: NVIDIA's data sheets "A100 Tensor Core GPU" (SXM, 80 GB), "H100 Tensor Core GPU" (SXM), "H200 Tensor Core GPU"
# (SXM) and "DGX B200" (an eighth of it): memory, its bandwidth, dense bfloat16 FLOP/s, and half of NVLink's total, as
# that is of both directions. Between machines: the user guides of DGX A100 (an adapter of 200 Gb/s for each GPU), H100,
# H200 and B200 (400 Gb/s).
CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("v5e", "TPU v5 lite", int(15.75 * GIB), 8.19e11, 1.97e14, 4.5e10, 2, 16),
        Chip("v5p", "TPU v5", int(95.74 * GIB), 2.765e12, 4.59e14, 9e10, 3, 4, cubes=True),
        Chip("v6e", "TPU v6 lite", int(31.25 * GIB), 1.64e12, 9.18e14, 9e10, 2, 16),
        Chip(
            "v7x", "TPU7x", int(94.75 * GIB), 3.69e12, 1.1535e15, 4.5e10, 3, 4, cubes=True, devices=2, compiler="tpu7x"
        ),
        Chip("a100", "NVIDIA A100-SXM4-80GB", 80 * GIB, 2.039e12, 3.12e14, 3e11, capability=8.0, between=2.5e10),
        Chip("h100", "NVIDIA H100 80GB HBM3", 80 * GIB, 3.35e12, 9.89e14, 4.5e11, capability=9.0, between=5e10),
        Chip("h200", "NVIDIA H200", int(141e9), 4.8e12, 9.89e14, 4.5e11, capability=9.0, between=5e10),
        Chip("b200", "NVIDIA B200", int(180e9), 8e12, 2.25e15, 9e11, capability=10.0, between=5e10),
    )
}


def peak(kind: str) -> float | None:
    """bfloat16 matrix FLOP/s of a device, by JAX's `device_kind`; None where it is not known."""
    return next((chip.flops / chip.devices for chip in CHIPS.values() if chip.kind == kind), None)


@dataclass(frozen=True)
class Topology:
    """A slice of a pod such as `v5e:4x4`, GPUs such as `h100:8`, or `local`: the devices of this machine, whose sizes
    are not yet known."""

    name: str
    chip: Chip | None
    sizes: tuple[int, ...]

    @property
    def devices(self) -> int:
        return math.prod(self.sizes) * (1 if self.chip is None else self.chip.devices)

    @property
    def is_estimated(self) -> bool:
        """Whether its compiler works only where the chips are."""
        return self.chip is not None and self.chip.is_gpu

    @property
    def compiler(self) -> str:
        """What libtpu calls it."""
        return self.name if self.chip is None else f"{self.chip.compiler or self.chip.name}:{self.name.split(':')[1]}"

    @property
    def host(self) -> tuple[int, int, int]:
        """The grid of chips that one host has."""
        first, second = self.sizes[:2]
        return min(first, 2), min(second, 2), 1

    @property
    def bandwidth(self) -> float:
        """Bytes/s into the device with the fewest links: one along an axis, two if it is a ring."""
        assert self.chip is not None
        if self.chip.is_gpu:
            return self.chip.link if self.devices <= self.chip.node else self.chip.between
        rings = [size % self.chip.wraps == 0 for size in self.sizes]
        if self.chip.cubes:
            rings = [all(rings)] * len(rings)
        return self.chip.link * sum(2 if ring else size > 1 for size, ring in zip(self.sizes, rings, strict=True))


def topology(name: str) -> Topology:
    """A slice or GPUs by name: `v5e:4x4`, `v5p:2x2x4`, `h100:8`; or `local`.

    Raises:
      UserError: an unknown chip, or sizes that it does not come in.
    """
    if name == "local":
        return Topology(name, None, ())
    chip_name, _, grid = name.partition(":")
    if chip_name not in CHIPS:
        raise errors.unknown("chip", chip_name, [*CHIPS, "local"])
    chip = CHIPS[chip_name]
    if chip.is_gpu:
        if not re.fullmatch(r"[1-9]\d*", grid):
            raise UserError(f"topology {name!r}: say how many GPUs, such as {chip.name}:8")
        return Topology(name, chip, (int(grid),))
    example = "x".join("4" * chip.dimensions)
    if not re.fullmatch("x".join([r"[1-9]\d*"] * chip.dimensions), grid):
        raise UserError(
            f"topology {name!r}: {chip.name} comes in {chip.dimensions} dimensions, such as {chip.name}:{example}"
        )
    sizes = tuple(int(size) for size in grid.split("x"))
    if any(size > 1 and size % 2 for size in sizes):
        raise UserError(f"topology {name!r}: every size is 1 or even, such as {chip.name}:{example}")
    return Topology(name, chip, sizes)
