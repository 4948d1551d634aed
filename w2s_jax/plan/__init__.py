"""Does an experiment fit an accelerator, and what does a step of it cost? Compiled ahead of time, without one."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from w2s_jax import materials
from w2s_jax.config import Advised, Decomposed, Ensemble, Errors, Experiment, Given, Method, Recursive, Supervisor
from w2s_jax.data import arrays
from w2s_jax.plan.chips import topology
from w2s_jax.plan.compilation import Compiled, Request, compile_for
from w2s_jax.plan.roofline import Roofline, roofline
from w2s_jax.plan.search import Nearest, nearest
from w2s_jax.train.learner import Learner

__all__ = ["PlannedStep", "Program", "plan", "programs"]

TRUTH = Method()


@dataclass(frozen=True)
class Program:
    """A learner with a loss: the stages that share it compile once.

    Attributes:
      stages: such as `student gpt2-xl`.
    """

    stages: tuple[str, ...]
    learner: Learner
    method: Method


@dataclass(frozen=True)
class PlannedStep:
    """A training or a labelling step.

    Attributes:
      compiled: the setting that was asked for.
      roofline: None where it does not fit, or the chip is not known.
      reason: why it does not fit, or None.
      nearest: where it does not fit, a setting that does; None if none was found.
    """

    stages: tuple[str, ...]
    kind: Literal["train", "label"]
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

    Where a training step does not fit, its labelling step is compiled for the nearest setting that does.

    Args:
      where: a slice of a TPU pod, such as `v5e:4x4`, or `local` for the devices of this machine.

    Raises:
      UserError: see `compile_for`, `chips.topology` and `architectures.architecture`.
    """
    slice_ = topology(where)
    n_classes = materials.named_task(experiment.tasks[0].name).n_classes
    for program in programs(experiment):
        request = Request("train", program.learner, program.method, n_classes, experiment.mesh, slice_)
        if program.learner.parameters != "probe":
            step = _planned(program, request, compile_for)
            yield step
            if step.reason and not step.nearest:
                continue
            request = step.nearest.request if step.nearest else request
        yield _planned(program, dataclasses.replace(request, kind="label"), compile_for)


def programs(experiment: Experiment) -> list[Program]:
    """The distinct learners with a loss, in the order supervisors, students, ceilings.

    Of several methods the first that trains is taken: they differ in a loss of [B, C] logits, which costs nothing.
    """
    method = next((method for method in experiment.methods.values() if method.learn == "train"), TRUTH)
    trained = dataclasses.replace(method, labels=(), through=(), rounds=1, hint=False, readout="head")
    found: dict[tuple[str, Method], tuple[list[str], Learner, Method]] = {}
    stages = [
        *(
            (f"supervisor {name}", each, TRUTH)
            for name, made in experiment.supervisors.items()
            for each in _makers(made)
        ),
        *((f"student {name}", learner, trained) for name, learner in experiment.students.items()),
        *((f"ceiling {name}", learner, TRUTH) for name, learner in experiment.students.items()),
    ]
    for stage, learner, method in stages:
        if not arrays.is_array(learner.model):
            names, *_ = found.setdefault((repr(learner), method), ([], learner, method))
            names.append(stage)
    return [Program(tuple(dict.fromkeys(names)), learner, method) for names, learner, method in found.values()]


def _makers(supervisor: Supervisor) -> tuple[Learner, ...]:
    """The learners that a supervisor trains."""
    match supervisor:
        case Ensemble(members=members):
            return tuple(learner for member in members for learner in _makers(member))
        case Advised(judge=judge) | Decomposed(judge=judge):
            return (judge,)
        case Recursive(advised=advised, reward_model=reward_model):
            return (advised.judge, reward_model)
        case Errors(like=like):
            return (like,)
        case Given():
            return ()
    return (supervisor,)


def _planned(program: Program, request: Request, compile_for: Callable[[Request], Compiled]) -> PlannedStep:
    compiled = compile_for(request)
    step = PlannedStep(program.stages, request.kind, request, compiled, roofline(compiled, request.topology))
    if compiled.fits:
        return step
    found = nearest(request, compiled, compile_for)
    bound = roofline(found.compiled, request.topology) if found else None
    return dataclasses.replace(step, reason=reason(compiled), nearest=found, nearest_roofline=bound)


def reason(compiled: Compiled) -> str:
    """Why a program does not fit: what it needs of what there is, and its largest part."""
    assert compiled.available is not None
    held = compiled.parameters + compiled.optimizer
    if held > compiled.available:
        return f"parameters and optimizer alone are {_gib(held)} GiB, of {_gib(compiled.available)} on each chip"
    text = f"needs {_gib(compiled.used)} GiB of {_gib(compiled.available)} on each chip"
    return f"{text}; {_gib(compiled.used - held)} of it are activations, gradients and other temporaries"


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
