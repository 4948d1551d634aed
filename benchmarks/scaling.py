"""Weak scaling of the training step from 1 to 8 simulated devices, read from the compiled programs.

The batch grows with the devices, so perfect scaling is the same FLOPs and bytes on each device, however many there
are, and the collectives named here. Llama 3.2 1B's sizes, 4 texts of 512 tokens for each device; nothing is run, and
time is not estimated. `share` is to the same program on one device.

Command:  python benchmarks/scaling.py
"""

import jax

from w2s_jax import losses
from w2s_jax.plan import counting, lowering
from w2s_jax.plan.architectures import architecture
from w2s_jax.runtime import sharding
from w2s_jax.train.learner import Learner

ROWS, MODEL, DEVICES = 4, "llama-3.2-1b", (1, 2, 4, 8)
LOSS = losses.bind(losses.cross_entropy)


def main() -> None:
    jax.config.update("jax_num_cpu_devices", max(DEVICES))
    one = costs("data", 1)
    print("mesh      devices   TFLOPs  share       GB  share  collectives: times, GB received by each device")
    for axis in sharding.AXES:
        for devices in DEVICES:
            found = one if devices == 1 else costs(axis, devices)
            sent = ", ".join(f"{each.kind} {each.times} {each.received / 1e9:.3g}" for each in found.collectives)
            print(
                f"{axis:<8} {devices:>8} {found.flops / 1e12:8.3f} {found.flops / one.flops:6.3f} "
                f"{found.bytes / 1e9:8.1f} {found.bytes / one.bytes:6.3f}  {sent}",
                flush=True,
            )


def costs(axis: str, devices: int) -> counting.Costs:
    """Of one step on each device, with the batch or the matrices sharded over this axis of the mesh."""
    sizes = {name: devices if name == axis else 1 for name in sharding.AXES}
    mesh = sharding.make_mesh(**sizes, devices=jax.devices()[:devices])
    learner = Learner(MODEL, batch_size=ROWS * devices)
    lowered = lowering.lower("train", learner, architecture(MODEL), 2, 1, LOSS, mesh).traced.lower()
    return counting.costs(str(lowered.compile().as_text()), devices)


if __name__ == "__main__":
    main()
