"""Does an experiment fit an accelerator, and what does a step of it cost? Compiled ahead of time, without one.

`lowering` traces the steps that training runs, from shapes; `compilation` compiles them in a process of their own, for
the chips of `runtime.chips`; `hlo`, `execution`, `kernels` and `counting` read the compiled program, `roofline` makes
time of it; `search` finds the nearest setting that fits; `architectures` knows published models; `table` prints.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from w2s_jax.config import Experiment
from w2s_jax.data import arrays
from w2s_jax.data.task_data import definition_of
from w2s_jax.plan.compilation import Compiled, Request, compile_for
from w2s_jax.plan.roofline import Roofline, roofline
from w2s_jax.plan.search import Nearest, nearest
from w2s_jax.runtime.chips import topology
from w2s_jax.students import Train
from w2s_jax.supervisors import supervisor
from w2s_jax.train.learner import Learner

__all__ = ["PlannedStep", "Workload", "plan", "workloads"]

TRUTH = Train()


@dataclass(frozen=True)
class Workload:
    """A learner with a loss, or its generative finetuning: the stages that share it compile once.

    Attributes:
      stages: such as `student gpt2-xl`.
    """

    stages: tuple[str, ...]
    learner: Learner
    learn: Train
    adapts: bool = False


@dataclass(frozen=True)
class PlannedStep:
    """A step of training, of labelling or of generative finetuning.

    Attributes:
      compiled: the setting that was asked for.
      roofline: None where it does not fit, or the chip is not known.
      reason: why it does not fit, or None.
      nearest: where it does not fit, a setting that does; None if none was found.
    """

    stages: tuple[str, ...]
    kind: Literal["train", "label", "adapt"]
    request: Request
    compiled: Compiled
    roofline: Roofline | None
    reason: str | None = None
    nearest: Nearest | None = None
    nearest_roofline: Roofline | None = None


def plan(
    experiment: Experiment, where: str, compile_for: Callable[[Request], Compiled] = compile_for
) -> Iterator[PlannedStep]:
    """Compiles the steps of every distinct learner, one after the other.

    With `jobs` in the experiment a step is that of so many that train together. Where a training step does not fit,
    its labelling step is compiled for the nearest setting that does.

    Args:
      where: a slice of a TPU pod, such as `v5e:4x4`, or `local` for the devices of this machine.

    Raises:
      UserError: see `compile_for`, `chips.topology` and `architectures.architecture`.
    """
    slice_ = topology(where)
    task = definition_of(experiment.tasks[0])
    for workload in workloads(experiment):
        stage = workload.learner, workload.learn, task.n_classes
        jobs = 1 if workload.learner.parameters == "probe" else experiment.jobs or 1
        request = Request("train", *stage, experiment.mesh, slice_, task.candidates, jobs)
        if workload.adapts:
            yield _planned(workload, dataclasses.replace(request, kind="adapt"), compile_for)
            continue
        if workload.learner.parameters != "probe":
            step = _planned(workload, request, compile_for)
            yield step
            if step.reason and not step.nearest:
                continue
            request = step.nearest.request if step.nearest else request
        yield _planned(workload, dataclasses.replace(request, kind="label"), compile_for)


def workloads(experiment: Experiment) -> list[Workload]:
    """The distinct learners with a loss, in the order supervisors, students, ceilings; before each the generative
    finetuning that it begins with.

    Of several methods the first that trains is taken: they differ in a loss of [B, C] logits, which costs nothing.
    """
    trained = next((each.learn for each in experiment.methods.values() if _planned_loss(each.learn)), TRUTH)
    supervisors = {name: supervisor(each) for name, each in experiment.supervisors.items()}
    stages = [
        *(("supervisor", name, each, TRUTH) for name, kind in supervisors.items() for each in kind.learners()),
        *(("student", name, learner, trained) for name, learner in experiment.students.items()),
        *(("ceiling", name, learner, TRUTH) for name, learner in experiment.students.items()),
    ]
    found: dict[tuple[str, Train, bool], Workload] = {}

    def add(stage: str, learner: Learner, loss: Train, adapts: bool) -> None:
        key = repr(learner), loss, adapts
        names = found[key].stages if key in found else ()
        found[key] = Workload(tuple(dict.fromkeys((*names, stage))), learner, loss, adapts)

    for what, name, learner, loss in stages:
        if arrays.is_array(learner.model):
            continue
        if learner.generative is not None:
            add(f"generative {name}", learner, TRUTH, True)
        add(f"{what} {name}", learner, loss, False)
    return list(found.values())


def _planned_loss(learn: object) -> bool:
    """Whether this is training with a loss that another process can find by its name."""
    return isinstance(learn, Train) and isinstance(learn.loss, str)


def _planned(workload: Workload, request: Request, compile_for: Callable[[Request], Compiled]) -> PlannedStep:
    compiled = compile_for(request)
    step = PlannedStep(workload.stages, request.kind, request, compiled, roofline(compiled, request.topology))
    if compiled.fits:
        return step
    found = nearest(request, compiled, compile_for)
    bound = roofline(found.compiled, request.topology) if found else None
    return dataclasses.replace(step, reason=reason(compiled), nearest=found, nearest_roofline=bound)


def reason(compiled: Compiled) -> str:
    """Why a program does not fit: what it needs of what there is, and its largest part."""
    assert compiled.available is not None
    held = compiled.held
    if held > compiled.available:
        return f"what training holds is {_gib(held)} GiB alone, of {_gib(compiled.available)} on each chip"
    text = f"needs {_gib(compiled.needed)} GiB of {_gib(compiled.available)} on each chip"
    return f"{text}; {_gib(compiled.needed - held)} of it are activations, gradients and other temporaries"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
