"""Compiles one program for a topology, in a process of its own.

The TPU's compiler is a library that looks for TPUs, writes logs and, at worst, ends its process; none of this may
happen to the process that asked.
"""

import dataclasses
import importlib.util
import multiprocessing
import os
import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from w2s_jax.config import MeshConfig
from w2s_jax.plan.accounting import Account
from w2s_jax.plan.counting import Costs
from w2s_jax.runtime.chips import CHIPS, Chip, Topology
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train
from w2s_jax.train.learner import Learner

if TYPE_CHECKING:
    from w2s_jax.plan.lowering import Setting

# No metadata server is asked and no log is kept. Several processes may load the library: none of them uses a chip.
ENVIRONMENT = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_LOG_DIR": "disabled",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class Request:
    """A program of a stage, or of several `jobs` that train together: everything that decides it; `n_classes` and
    `candidates` are the task's."""

    kind: Literal["train", "label", "adapt"]
    learner: Learner
    learn: Train
    n_classes: int
    mesh: MeshConfig
    topology: Topology
    candidates: int = 1
    jobs: int = 1

    def setting(self) -> "Setting":
        """What is traced for it; the model need not be here."""
        from w2s_jax.plan.architectures import architecture
        from w2s_jax.plan.lowering import Setting

        config, loss = architecture(self.learner.model), self.learn.bound()
        return Setting(self.kind, self.learner, config, self.n_classes, self.candidates, loss, self.jobs)


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a program, or, where that is not here, our own account, in bytes on each device.

    Attributes:
      mesh: the sizes of its axes, none of them -1.
      rows, length: of its batch, over all devices.
      parameters, optimizer: what its arguments hold of them.
      resident: what else training holds while the program runs; see `lowering.LoweredStep`.
      used: arguments, temporaries, results that are no argument, and code. Where it does not fit, what the compiler
        asked for, or, where what is held alone is too much and nothing was compiled, parameters and optimizer.
      available: what a program and what is resident may use, if known.
      costs: of one execution; None where it does not fit.
      model_flops: what the model itself needs, over all devices; see `lowering.model_flops`.
      seconds: tracing and compiling took.
      assigned: of a program for TPUs, arguments and temporaries as XLA places them; its summary, `used`, says up to a
        fifth more, and why was not found. None is not known.
      account: where nothing was compiled, so that all of this is an estimate: what `used` has besides parameters and
        optimizer.
    """

    chip: Chip | None
    devices: int
    mesh: MeshConfig
    rows: int
    length: int
    parameters: int
    optimizer: int
    resident: int
    used: int
    available: int | None
    costs: Costs | None
    model_flops: float
    seconds: float
    assigned: int | None = None
    account: Account | None = None

    @property
    def is_estimate(self) -> bool:
        return self.account is not None

    @property
    def fits(self) -> bool:
        return self.costs is not None

    @property
    def held(self) -> int:
        """What training holds between two programs."""
        return self.parameters + self.optimizer + self.resident

    @property
    def needed(self) -> int:
        """What is compared with `available`."""
        return self.used + self.resident


def compile_for(request: Request) -> Compiled:
    """Compiles a program in a new process; for GPUs, whose compiler needs one, estimates it.

    Raises:
      UserError: libtpu is not installed, the setting is impossible, or the compiler fails.
    """
    if request.topology.is_estimated:
        from w2s_jax.plan.estimation import estimate

        return estimate(request)
    if request.topology.name != "local" and not _has_tpu_compiler():
        raise UserError("planning for a TPU needs its compiler: pip install 'w2s-jax[plan]' (libtpu; no TPU is needed)")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as worker:
        try:
            return worker.submit(compile_here, request).result()
        except BrokenProcessPool as error:
            raise UserError("the compiler ended its process; it may need more memory than this machine has") from error


def compile_here(request: Request) -> Compiled:
    """As `compile_for`, in this process, which loads the topology's compiler."""
    devices = _devices(request.topology)

    import jax

    from w2s_jax.plan import counting, lowering
    from w2s_jax.runtime.sharding import make_mesh

    started = time.monotonic()
    mesh = make_mesh(**dataclasses.asdict(request.mesh), devices=devices)
    step = lowering.lower(request.setting(), mesh)
    chip, available = _chip(request.topology, devices[0])
    used, costs, assigned = step.parameters + step.optimizer, None, None
    if available is None or used + step.resident <= available:
        dump = tempfile.TemporaryDirectory()  # goes when this function ends
        folder = Path(dump.name)
        options: dict[str, str | bool] = {}
        if request.topology.chip is not None:
            options = {"xla_dump_to": str(folder), "xla_dump_hlo_as_text": True}
        try:
            compiled = step.traced.lower().compile(compiler_options=options)
        except jax.errors.JaxRuntimeError as error:
            needed = memory_needed(str(error), used)
            if needed is None:
                first = str(error).splitlines()[0]
                raise UserError(f"the compiler fails on the {request.kind} step: {first}") from error
            used = needed
        else:
            used, assigned = _used(compiled.memory_analysis()), _assigned(folder)
            if available is None or used + step.resident <= available:
                costs = counting.costs(_text(compiled, folder), len(devices))
    return Compiled(
        chip=chip,
        devices=len(devices),
        mesh=MeshConfig(**{name: int(size) for name, size in mesh.shape.items()}),
        rows=step.rows,
        length=step.length,
        parameters=step.parameters,
        optimizer=step.optimizer,
        resident=step.resident,
        used=used,
        available=available,
        costs=costs,
        model_flops=step.model_flops,
        seconds=time.monotonic() - started,
        assigned=assigned,
    )


def _text(compiled: Any, dumped: Path) -> str:
    """The program's HLO, as the compiler for TPUs itself wrote it.

    Programs that use a chip's SparseCores (v5p) have instructions that another package's XLA, jaxlib's, cannot read.
    """
    files = sorted(dumped.glob("*.after_optimizations.txt"), key=lambda file: file.stat().st_size)
    return files[-1].read_text() if files else str(compiled.as_text())


def _assigned(dumped: Path) -> int | None:
    """What the compiler for TPUs itself wrote of the program's memory."""
    reports = sorted(dumped.glob("*-memory-usage-report.txt"), key=lambda file: file.stat().st_size)
    total = re.search(r"Total bytes: (\d+)", reports[-1].read_text()) if reports else None
    return int(total[1]) if total else None


def memory_needed(message: str, arguments: int) -> int | None:
    """What a program that does not fit asked for, from the compiler's message; None if that is about something else.

    Args:
      message: the compiler gives up early, where temporaries alone are too many, or late, with all of it counted.
      arguments: bytes of the program's arguments.
    """
    if early := re.search(r"temporaries \(([\d.]+)([KMGT])\) exceeds available HBM", message):
        return int(float(early.group(1)) * UNITS[early.group(2)]) + arguments
    if late := re.search(r"Used ([\d.]+)([KMGT]) of [\d.]+[KMGT] hbm", message):
        return int(float(late.group(1)) * UNITS[late.group(2)])
    return None


def _has_tpu_compiler() -> bool:
    return "TPU_LIBRARY_PATH" in os.environ or importlib.util.find_spec("libtpu") is not None


def _devices(topology: Topology) -> list[Any]:
    import jax

    if topology.name == "local":
        return jax.devices()
    jax.config.update("jax_platforms", "cpu")
    os.environ.update(ENVIRONMENT)
    from jax.experimental import topologies

    try:
        return topologies.get_topology_desc(topology.compiler, "tpu", chips_per_host_bounds=topology.host).devices
    except jax.errors.JaxRuntimeError as error:
        raise UserError(f"libtpu cannot describe {topology.name}: {str(error).splitlines()[0]}") from error


def _chip(topology: Topology, device: Any) -> tuple[Chip | None, int | None]:
    if topology.chip is not None:
        return topology.chip, topology.chip.hbm
    chip = next((chip for chip in CHIPS.values() if chip.kind == device.device_kind), None)
    statistics = device.memory_stats() or {}
    return chip, statistics.get("bytes_limit")


def _used(memory: Any) -> int:
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.argument_size_in_bytes + memory.temp_size_in_bytes + results + memory.generated_code_size_in_bytes
