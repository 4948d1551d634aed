"""How fast a program can be at most: the slowest of computing, reading memory and communicating."""

from dataclasses import dataclass

from w2s_jax.plan.compilation import Compiled
from w2s_jax.runtime.chips import Topology


@dataclass(frozen=True)
class Roofline:
    """Seconds of one execution if each of the three were all there is, and what they bound.

    Attributes:
      seconds: the largest of the three: everything else is hidden behind it (Williams et al. 2009).
      limit: which one that is.
      mfu: model FLOPs utilisation, at most: what the model needs by what the chips could do in these seconds.
    """

    compute: float
    memory: float
    network: float
    seconds: float
    limit: str
    mfu: float


def roofline(compiled: Compiled, topology: Topology) -> Roofline | None:
    """The bound of a program that fits; None if it does not, or its chip is not known.

    Communication is what each device receives, over all links of the chip that has the fewest of them. On devices of
    this machine, links are those of the chip's table.
    """
    chip, costs = compiled.chip, compiled.costs
    if chip is None or costs is None:
        return None
    received = sum(each.received for each in costs.collectives)
    link = chip.link if topology.chip is None else topology.bandwidth
    times = {
        "compute": costs.flops / chip.flops,
        "memory": costs.bytes / chip.hbm_bandwidth,
        "network": received / link if received else 0.0,
    }
    limit = max(times, key=lambda name: times[name])
    mfu = compiled.model_flops / (compiled.devices * chip.flops * times[limit])
    return Roofline(**times, seconds=times[limit], limit=limit, mfu=mfu)
