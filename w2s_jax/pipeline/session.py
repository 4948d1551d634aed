"""What one run owns: tasks, finished stages, cached features and predictions, devices, and how stages are trained."""

import functools
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.task_data import Tasks, closed
from w2s_jax.data.tokens import Text
from w2s_jax.models import Pretrained
from w2s_jax.pipeline import telling
from w2s_jax.pipeline.store import Store
from w2s_jax.pipeline.telling import Telling
from w2s_jax.runtime import processes, sharding
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages.base import Adapt, Fit, Stage
from w2s_jax.train import generative, probing, restore
from w2s_jax.train.finetune import Outcome, Problem, finetune_together
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Progress
from w2s_jax.train.probing import Body, Features


class Session:
    """What one run owns: nothing of it outlives the run, and nothing is computed twice within it.

    Args:
      traces: where a few steps of every stage that trains are profiled; None profiles none.
      jobs: how many finetunings train together, at most; None is as many as suit the devices.
      holds: how many jobs like a stage one device trains at once.
    """

    def __init__(
        self,
        store: Store,
        reporter: Reporter,
        mesh: Mesh | None = None,
        traces: Path | None = None,
        tasks: Tasks | None = None,
        jobs: int | None = None,
        holds: Callable[[Stage], int] = lambda stage: 1,
    ) -> None:
        self._jobs, self._holds = jobs, holds
        self.store, self.reporter, self.mesh, self._traces = store, reporter, mesh, traces
        self.tasks = Tasks() if tasks is None else tasks
        self.progress: Progress = functools.partial(telling.plain, reporter)
        self.transcripts = store.transcripts
        self._read = functools.lru_cache(maxsize=256)(lambda name: store.read(name).predictions)
        self._readable: set[str] | None = None  # while a stage is made: the names of what it may read
        self._features: dict[tuple[Learner, tuple[Text, ...], str | None], Features] = {}

    def read(self, stage: Stage) -> Predictions:
        """The predictions of a finished stage.

        Raises:
          AssertionError: a stage that is being made does not need it.
        """
        assert self._readable is None or stage.name in self._readable, f"{stage.title} is not among what it needs"
        return self._read(stage.name)

    def features(self, learner: Learner, texts: tuple[Text, ...], body: Stage | None) -> Features:
        """The pooled hidden states of these texts, computed once and cached. The last few are kept in memory."""
        key = _reading(learner), texts, None if body is None else body.key
        if key not in self._features:
            start = None if body is None else Body(body.key, functools.partial(self.pretrained, learner, body))
            if len(self._features) >= 16:
                del self._features[next(iter(self._features))]
            self._features[key] = probing.features(key[0], texts, self.store.features, self.progress, start, self.mesh)
        return self._features[key]

    def pretrained(self, learner: Learner, body: Stage | None, mesh: Mesh | None = None) -> Pretrained:
        """The parameters that a learner starts from, as far as it reads them: published ones, or those of a stage.

        Args:
          mesh: where they are placed; None is on all devices.
        """
        mesh = self.mesh if mesh is None else mesh
        if body is None:
            return models.load_sharded(learner.model, mesh, read_layer=learner.read_layer, base=learner.lora_base)
        assert body.learner is not None
        trained = replace(body.learner, read_layer=learner.read_layer)
        read = functools.partial(self.store.params_sharded, body.name)
        start = functools.partial(self.pretrained, trained, body.body, mesh)
        return restore.restore(trained, read, start, mesh, adapted=body.role == "adapted")

    def profile(self, stage: Stage) -> Path | None:
        """Where a trace of the stage's steps goes, if it is wanted; of several processes the first traces."""
        if self._traces is None or not processes.is_leader():
            return None
        folder = self._traces / stage.name
        self.reporter.note(f"a profile of some of its steps: {folder}")
        return folder

    def at_once(self, stage: Stage) -> int:
        """How many jobs like this stage train together, at most."""
        if self._jobs is not None:
            return self._jobs
        return max(1, self._holds(stage) * (1 if self.mesh is None else self.mesh.shape["data"]))

    def make(self, stages: Sequence[Stage], keep: Collection[str] = ()) -> list[Outcome | UserError]:
        """The outcomes of one stage, or of several of one group, which train together; of a job that failed, and left
        the others alone, the error.

        Args:
          keep: names of stages whose parameters are wanted.
        """
        for stage in stages:
            _check_unchanged(stage)
        made = [self._made(stage) for stage in stages]
        for stage in stages:
            _check_unchanged(stage)
        alike: dict[Hashable, list[int]] = {}
        for place, each in enumerate(made):
            if not isinstance(each, Outcome):
                alike.setdefault(_program(each), []).append(place)
        outcomes: dict[int, Outcome | UserError] = {
            place: each for place, each in enumerate(made) if isinstance(each, Outcome)
        }
        for places in alike.values():
            trained = self._train([stages[place] for place in places], [made[place] for place in places], keep)
            outcomes |= dict(zip(places, trained, strict=True))
        return [outcomes[place] for place in range(len(stages))]

    def _made(self, stage: Stage) -> Fit | Adapt | Outcome:
        """What the stage gives, from nothing but what its hash covers."""
        self._readable = set(_ancestors(stage))
        try:
            with closed():
                return stage.make(self)
        finally:
            self._readable = None

    def _train(
        self, stages: Sequence[Stage], made: Sequence[Any], keep: Collection[str]
    ) -> Sequence[Outcome | UserError]:
        """Trains what is of one program."""
        if isinstance(made[0], Adapt):
            return self._adapt(stages, made)
        if made[0].learner.parameters == "probe":
            return self._fit(stages, made)
        return self._finetune(stages, made, keep)

    def _fit(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> list[Outcome]:
        """Fits probes of one learner and loss."""
        first = fits[0]
        texts = first.texts
        if texts is None:
            texts = tuple(text for fit in fits for text in fit.lesson.texts)
        found = self.features(first.learner, texts, stages[0].body)
        problems = [_problem(stage, fit) for stage, fit in zip(stages, fits, strict=True)]
        return probing.probe(first.learner, found, first.loss, problems)

    def _finetune(
        self, stages: Sequence[Stage], fits: Sequence[Fit], keep: Collection[str]
    ) -> list[Outcome | UserError]:
        mesh, how = self._together(stages, [fit.learner for fit in fits])
        bodies = [None if stage.body is None else stage.body.key for stage in stages]
        one = stages[:1] if len(set(bodies)) == 1 else stages
        starts = [functools.partial(self.pretrained, fits[0].learner, stage.body, mesh) for stage in one]
        return finetune_together(
            [fit.learner for fit in fits],
            starts,
            [fit.loss for fit in fits],
            [_problem(stage, fit) for stage, fit in zip(stages, fits, strict=True)],
            answers=fits[0].answers,
            keep=[stage.name in keep for stage in stages],
            **how,
        )

    def _adapt(self, stages: Sequence[Stage], made: Sequence[Adapt]) -> list[Outcome | UserError]:
        mesh, how = self._together(stages, [generative.objective(each.learner).learner for each in made])
        learner, seeds = made[0].learner, [stage.seed for stage in stages]
        start = functools.partial(self.pretrained, replace(learner, read_layer=None), None, mesh)
        found = generative.adapt_together(learner, start, [each.texts for each in made], seeds=seeds, **how)
        nothing = np.zeros((1, 0, made[0].n_classes), np.float32)
        return [
            each
            if isinstance(each, UserError)
            else Outcome({}, History(each.losses, [len(each.losses)], [0.0], nothing, 0), each.params)
            for each in found
        ]

    def _together(self, stages: Sequence[Stage], learners: Sequence[Learner]) -> tuple[Mesh | None, dict[str, Any]]:
        """The devices that these train on, and how else.

        Args:
          learners: theirs, as they are trained.
        """
        names = [stage.name for stage in stages]
        mesh = self.mesh if len(stages) == 1 else sharding.job_mesh(self.mesh, len(stages))
        return mesh, {
            "mesh": mesh,
            "folder": self.store.progress(names),
            "profile": self.profile(stages[0]),
            "progress": Telling(self.reporter, names, learners, mesh),
        }


def _program(made: Fit | Adapt) -> Hashable:
    """What is equal for all that train as one program; a user's kind may train something else than its group."""
    if isinstance(made, Adapt):
        return made.learner, len(made.texts)
    learner, train = made.learner, made.lesson.train.targets
    if learner.parameters == "probe":
        return learner, made.loss, made.texts is None
    return learner.program, made.answers, train.shape


def _ancestors(stage: Stage) -> dict[str, Stage]:
    """The stages that it needs, those that these need, and so on, by name: its hash covers them all."""
    found: dict[str, Stage] = {}
    waiting = list(stage.needs)
    while waiting:
        need = waiting.pop()
        if need.name not in found:
            found[need.name] = need
            waiting += need.needs
    return found


def _check_unchanged(stage: Stage) -> None:
    """That what decides a stage is still what its name is the hash of.

    Raises:
      UserError: somebody edited a file of code, labels or weights since the run began.
    """
    if any(stage.identity[name] != value for name, value in stage.own_identity().items()):
        raise UserError(f"a file that decides {stage.title} was edited during the run; run the same command again")


def _problem(stage: Stage, fit: Fit) -> Problem:
    lesson = fit.lesson
    return Problem(
        train=(lesson.train.split.texts, lesson.train.targets),
        validation=(lesson.validation.split.texts, lesson.validation.targets),
        predict={name: split.texts for name, split in lesson.predict.items()},
        seed=stage.seed,
    )


def _reading(learner: Learner) -> Learner:
    """The fields that decide features, all others at their defaults: learners that differ elsewhere share them."""
    names = ("model", "read_layer", "pooling", "max_tokens", "too_long", "dtype", "chat")
    return replace(Learner(parameters="probe"), **{name: getattr(learner, name) for name in names})
