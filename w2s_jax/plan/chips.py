"""Accelerators as their makers describe them, and slices of them by name."""

import math
import re
from dataclasses import dataclass

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """One accelerator.

    Attributes:
      kind: JAX's `device_kind`.
      hbm: bytes that a program may use. Of TPUs: what the compiler of libtpu 0.0.42 says is available.
      hbm_bandwidth: bytes/s.
      flops: bfloat16 matrix FLOP/s, without sparsity; a float32 product in JAX's default precision is as fast on a TPU.
      link: bytes/s of one link between chips, in one direction.
      dimensions: of the grid of chips; 0 is no grid.
      wraps: an axis whose size is a multiple of this is a ring.
      cubes: only where all axes are: optical switches close the rings, and join whole cubes of chips.
    """

    name: str
    kind: str
    hbm: int
    hbm_bandwidth: float
    flops: float
    link: float
    dimensions: int
    wraps: int = 0
    cubes: bool = False


# docs.cloud.google.com/tpu/docs/v5e, /v5p, /v6e; links (one-way) and rings as in jax-ml.github.io/scaling-book/tpus.
# NVIDIA's data sheets of the A100 and H100 (SXM, 80 GB) and the H200 (SXM), NVLink in one direction; of their memory
# a plan takes what the device itself says is available.
CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip("v5e", "TPU v5 lite", int(15.75 * GIB), 8.19e11, 1.97e14, 4.5e10, 2, 16),
        Chip("v5p", "TPU v5", int(95.74 * GIB), 2.765e12, 4.59e14, 9e10, 3, 4, cubes=True),
        Chip("v6e", "TPU v6 lite", int(31.25 * GIB), 1.64e12, 9.18e14, 9e10, 2, 16),
        Chip("a100", "NVIDIA A100-SXM4-80GB", 80 * GIB, 2.04e12, 3.12e14, 3e11, 0),
        Chip("h100", "NVIDIA H100 80GB HBM3", 80 * GIB, 3.35e12, 9.89e14, 4.5e11, 0),
        Chip("h200", "NVIDIA H200", int(141e9), 4.8e12, 9.89e14, 4.5e11, 0),
    )
}


@dataclass(frozen=True)
class Topology:
    """A slice of a pod such as `v5e:4x4`, or `local`: the devices of this machine, whose sizes are not yet known."""

    name: str
    chip: Chip | None
    sizes: tuple[int, ...]

    @property
    def devices(self) -> int:
        return math.prod(self.sizes)

    @property
    def host(self) -> tuple[int, int, int]:
        """The grid of chips that one host has."""
        first, second = self.sizes[:2]
        return min(first, 2), min(second, 2), 1

    @property
    def bandwidth(self) -> float:
        """Bytes/s into the chip with the fewest links: one along an axis, two if it is a ring."""
        assert self.chip is not None
        if self.chip.dimensions == 0:
            return self.chip.link
        rings = [size % self.chip.wraps == 0 for size in self.sizes]
        if self.chip.cubes:
            rings = [all(rings)] * len(rings)
        return self.chip.link * sum(2 if ring else size > 1 for size, ring in zip(self.sizes, rings, strict=True))


def topology(name: str) -> Topology:
    """A slice by name: `v5e:4x4`, `v5p:2x2x4`; or `local`.

    Raises:
      UserError: an unknown chip, or sizes that it does not come in.
    """
    if name == "local":
        return Topology(name, None, ())
    chip_name, _, grid = name.partition(":")
    tpus = [chip.name for chip in CHIPS.values() if chip.dimensions]
    if chip_name not in tpus:
        raise errors.unknown("chip", chip_name, [*tpus, "local"])
    chip = CHIPS[chip_name]
    example = "x".join("4" * chip.dimensions)
    if not re.fullmatch("x".join([r"[1-9]\d*"] * chip.dimensions), grid):
        raise UserError(
            f"topology {name!r}: {chip.name} comes in {chip.dimensions} dimensions, such as {chip.name}:{example}"
        )
    sizes = tuple(int(size) for size in grid.split("x"))
    if any(size > 1 and size % 2 for size in sizes):
        raise UserError(f"topology {name!r}: every size is 1 or even, such as {chip.name}:{example}")
    return Topology(name, chip, sizes)
