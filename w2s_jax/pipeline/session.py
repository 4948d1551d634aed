"""What one run owns: tasks, finished stages, cached features and predictions, devices, and how stages are trained."""

import functools
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.task_data import Tasks, closed
from w2s_jax.data.tokens import Text
from w2s_jax.models import Pretrained
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import processes
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages.base import Fit, Stage
from w2s_jax.train import probing, restore
from w2s_jax.train.finetune import Outcome, finetune
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import Progress
from w2s_jax.train.probing import Body, Features, Problem


class Session:
    """What one run owns: nothing of it outlives the run, and nothing is computed twice within it.

    Args:
      traces: where a few steps of every stage that trains are profiled; None profiles none.
    """

    def __init__(
        self,
        store: Store,
        reporter: Reporter,
        mesh: Mesh | None = None,
        traces: Path | None = None,
        tasks: Tasks | None = None,
    ) -> None:
        self.store, self.reporter, self.mesh, self._traces = store, reporter, mesh, traces
        self.tasks = Tasks() if tasks is None else tasks
        self.progress: Progress = reporter.step
        self.transcripts = store.root.parent / "transcripts"
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
            root = self.store.root.parent / "features"
            start = None if body is None else Body(body.key, functools.partial(self.pretrained, learner, body))
            if len(self._features) >= 16:
                del self._features[next(iter(self._features))]
            self._features[key] = probing.features(key[0], texts, root, self.progress, start, self.mesh)
        return self._features[key]

    def pretrained(self, learner: Learner, body: Stage | None) -> Pretrained:
        """The parameters that a learner starts from, as far as it reads them: published ones, or those of a stage."""
        if body is None:
            return models.load_sharded(learner.model, self.mesh, read_layer=learner.read_layer, base=learner.lora_base)
        assert body.learner is not None
        trained = replace(body.learner, read_layer=learner.read_layer)
        read = functools.partial(self.store.params_sharded, body.name)
        start = functools.partial(self.pretrained, trained, body.body)
        return restore.restore(trained, read, start, self.mesh, adapted=body.role == "adapted")

    def folder(self, stage: Stage) -> Path:
        """Where unfinished work of a stage is checkpointed."""
        return self.store.progress(stage.name)

    def profile(self, stage: Stage) -> Path | None:
        """Where a trace of the stage's steps goes, if it is wanted; of several processes the first traces."""
        if self._traces is None or not processes.is_leader():
            return None
        folder = self._traces / stage.name
        self.reporter.note(f"a profile of some of its steps: {folder}")
        return folder

    def make(self, stages: Sequence[Stage]) -> list[Outcome]:
        """The outcomes of one stage, or of several of one group, which are fitted together."""
        for stage in stages:
            _check_unchanged(stage)
        made = [self._made(stage) for stage in stages]
        for stage in stages:
            _check_unchanged(stage)
        fits = [each for each in made if isinstance(each, Fit)]
        trained = iter(self._fit([s for s, each in zip(stages, made, strict=True) if isinstance(each, Fit)], fits))
        return [next(trained) if isinstance(each, Fit) else each for each in made]

    def _made(self, stage: Stage) -> Fit | Outcome:
        """What the stage gives, from nothing but what its hash covers."""
        self._readable = set(_ancestors(stage))
        try:
            with closed():
                return stage.make(self)
        finally:
            self._readable = None

    def _fit(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> list[Outcome]:
        if not fits:
            return []
        alike: dict[Hashable, list[int]] = {}  # a user's kind may train something else than its group
        for place, fit in enumerate(fits):
            alone = fit.learner.parameters != "probe"
            alike.setdefault(place if alone else (fit.learner, fit.loss, fit.texts is None), []).append(place)
        outcomes: dict[int, Outcome] = {}
        for places in alike.values():
            fitted = self._fit_alike([stages[place] for place in places], [fits[place] for place in places])
            outcomes |= dict(zip(places, fitted, strict=True))
        return [outcomes[place] for place in range(len(fits))]

    def _fit_alike(self, stages: Sequence[Stage], fits: Sequence[Fit]) -> list[Outcome]:
        """Of one learner and loss."""
        first = fits[0]
        if first.learner.parameters != "probe":
            return [self._finetune(stage, fit) for stage, fit in zip(stages, fits, strict=True)]
        texts = first.texts
        if texts is None:
            texts = tuple(text for fit in fits for text in fit.lesson.texts)
        found = self.features(first.learner, texts, stages[0].body)
        problems = [_problem(stage, fit) for stage, fit in zip(stages, fits, strict=True)]
        return probing.probe(first.learner, found, first.loss, problems)

    def _finetune(self, stage: Stage, fit: Fit) -> Outcome:
        return finetune(
            fit.learner,
            self.pretrained(fit.learner, stage.body),
            fit.loss,
            **_problem(stage, fit)._asdict(),
            mesh=self.mesh,
            folder=self.folder(stage),
            profile=self.profile(stage),
            progress=self.progress,
            answers=fit.answers,
        )


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
