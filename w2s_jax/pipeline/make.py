"""Makes stages: gathers what each is given, and trains, prompts, combines or simulates."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax import config, label_transforms, models
from w2s_jax.config import Advised, Decomposed, Ensemble, Errors, Given, Recursive, TaskConfig
from w2s_jax.data import arrays
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.data.tokens import Text
from w2s_jax.models import Pretrained
from w2s_jax.pipeline import experiment, inputs, materials, questionnaire
from w2s_jax.pipeline.experiment import Stage, StageSplits
from w2s_jax.pipeline.inputs import StageInputs
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import errors, processes
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.supervisors import advice, recursion
from w2s_jax.train import generative, probing, prompting
from w2s_jax.train.finetune import Outcome, finetune, softmax
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History
from w2s_jax.train.probing import Body, Features, Problem
from w2s_jax.train.restore import restore

LEAST = 1e-7  # of a probability whose logarithm is a logit


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where stages are made: finished stages, devices, who is told of progress, and where training is profiled."""

    store: Store
    reporter: Reporter
    mesh: Mesh | None = None
    traces: Path | None = None

    def read(self, stage: Stage) -> Predictions:
        return _read(self.store, stage.folder)

    def features(self, learner: Learner, task: TaskConfig, texts: tuple[Text, ...], body: Stage | None) -> Features:
        root = self.store.root.parent / "features"
        return _features(_reading(learner), texts, root, None if body is None else body.key, _Unhashed((self, body)))

    def evidence(self, stage: Stage, name: str, split: Split) -> Any:
        """What a step of label work asks to see of the training rows; see `w2s_jax.label_transforms`."""
        assert stage.learner is not None
        match name:
            case "seed":
                return stage.seed
            case "features":
                found = self.features(stage.learner, stage.task, feature_texts(stage), stage.body)
                return found.matrix[found.rows(split.texts)]
            case "members":
                assert stage.teacher is not None
                tables = [self.read(member) for member in stage.teacher.members]
                if len(tables) < 2 or isinstance(stage.teacher.maker, Errors):
                    raise UserError("this label work needs several supervisors; make the supervisor an Ensemble")
                return np.stack([table.for_split("transfer", split.ids) for table in tables])
            case "student":
                assert stage.previous is not None
                return self.read(stage.previous).for_split("transfer", split.ids)
            case "views":
                answers = materials.answers(stage.task, materials.splits(stage.task, stage.seed).n_classes)
                probs = prompting.views(
                    stage.learner, split.texts, answers, materials.templates(stage.task), mesh=self.mesh
                )
                prompting.forget()
                return probs
        raise errors.unknown("what label work asks for:", name, label_transforms.CONTEXT)

    def profile(self, stage: Stage) -> Path | None:
        """Where a trace of the stage's steps goes, if it is wanted; of several processes the first traces."""
        if self.traces is None or not processes.is_leader():
            return None
        folder = self.traces / stage.folder
        self.reporter.note(f"a profile of some of its steps: {folder}")
        return folder

    def body(self, stage: Stage) -> Body:
        """The backbone that a finished stage trained."""
        return Body(stage.key, functools.partial(self._trained, stage))

    def pretrained(self, stage: Stage) -> Pretrained:
        """What the stage starts from."""
        assert stage.learner is not None
        if stage.body is not None:
            return self._trained(stage.body)
        return models.load_sharded(stage.learner.model, self.mesh, read_layer=stage.learner.read_layer)

    def _trained(self, stage: Stage) -> Pretrained:
        learner = stage.learner
        assert learner is not None
        read = functools.partial(self.store.params_sharded, stage.folder)
        start = functools.partial(self.pretrained, stage)
        return restore(learner, read, start, self.mesh, adapted=stage.role == "body")


def make(stages: Sequence[Stage], workshop: Workshop) -> list[Outcome]:
    """Makes one stage, or probes all at once: those of one `batch_key`."""
    first = stages[0]
    match first.maker:
        case Ensemble(how=how):
            return [_labelled(stage, inputs.combine(stage, how, workshop.read)) for stage in stages]
        case Errors(kind=kind):
            return [_labelled(stage, inputs.simulate(stage, kind, workshop.read)) for stage in stages]
        case Decomposed():
            return [_labelled(stage, inputs.aggregate(stage, workshop.read)) for stage in stages]
        case Given(probs=probs):
            return [_labelled(stage, given_labels(stage, probs)) for stage in stages]
    given = [inputs.stage_inputs(stage, workshop.read, functools.partial(workshop.evidence, stage)) for stage in stages]
    advised = config.advice(first.maker) is not None
    if advised:
        given = [_advised(stage, each, workshop) for stage, each in zip(stages, given, strict=True)]
    if first.role == "body":
        return [_adapt(stage, each, workshop) for stage, each in zip(stages, given, strict=True)]
    if first.method.learn == "prompt":
        return [_prompt(stage, each, workshop) for stage, each in zip(stages, given, strict=True)]
    if first.method.learn == "ccs":
        return [_ccs(stage, each, workshop) for stage, each in zip(stages, given, strict=True)]
    learner = first.learner
    assert learner is not None
    if learner.parameters == "probe":
        texts = _texts(given) if advised else feature_texts(first)
        found = workshop.features(learner, first.task, texts, first.body)
        problems = [Problem(**_data(stage, each)) for stage, each in zip(stages, given, strict=True)]
        return probing.probe(learner, found, materials.loss(first.method), problems)
    return [_finetune(stage, each, workshop) for stage, each in zip(stages, given, strict=True)]


def batch_key(stage: Stage) -> Any:
    """Stages of one key are made together; every stage that is no probe has a key of its own."""
    if stage.learner is None or stage.learner.parameters != "probe" or stage.method.learn != "train":
        return stage.folder
    body = None if stage.body is None else (stage.body.key, stage.role == "supervisor")
    loss = config.asdict(stage.method)["options"]
    return stage.maker, stage.learner, stage.task, stage.method.hint, body, stage.method.loss, str(sorted(loss.items()))


def _advised(stage: Stage, given: StageInputs, workshop: Workshop) -> StageInputs:
    """The rows of a judge, or of a reward model, with the transcripts that it reads."""
    maker, answers = stage.maker, materials.answers(stage.task, 2)
    assert isinstance(maker, Advised | Recursive)
    root = workshop.store.root.parent / "transcripts"
    sampled = [
        advice.transcripts(each, _texts([given]), answers, root, workshop.reporter.step, workshop.mesh)
        for each in recursion.samples(maker)
    ]
    said = sampled[0]
    if isinstance(maker, Advised):
        return inputs.reread(given, lambda split: advice.with_transcripts(maker, split.texts, said, answers))
    for chooser in stage.members:
        rows = experiment.stage_splits(chooser).predict["candidates"]
        said = recursion.chosen(maker, rows, workshop.read(chooser), sampled)

    def read(split: Split) -> Sequence[Text]:
        if split is given.predict.get("candidates"):
            return recursion.readings(maker, split, said, sampled, answers)
        return advice.with_transcripts(maker.advised, split.texts, said, answers)

    return inputs.reread(given, read)


def _texts(given: Sequence[StageInputs | StageSplits]) -> tuple[Text, ...]:
    """All that some stages read."""
    parts = [part for each in given for part in (each.train, each.validation, *each.predict.values())]
    splits = [part if isinstance(part, Split) else part.split for part in parts]
    return tuple(text for split in splits for text in split.texts)


def feature_texts(stage: Stage) -> tuple[Text, ...]:
    """Every text whose features this stage may need: for any seed, or for its own if that trained the backbone."""
    texts = materials.texts(stage.task) if stage.body is None else _texts([experiment.stage_splits(stage)])
    return _feature_texts(stage.task, texts, stage.method.hint, stage.method.learn == "ccs")


@functools.lru_cache(maxsize=64)
def _feature_texts(task: TaskConfig, texts: tuple[Text, ...], hint: bool, contrast: bool) -> tuple[Text, ...]:
    answers = materials.answers(task, materials.named_task(task.name).n_classes)
    if hint:
        texts = tuple(inputs.with_every_hint(texts, answers))
    return tuple(text for texts in ccs_texts(texts, answers) for text in texts) if contrast else texts


def ccs_texts(texts: Sequence[Text], answers: Sequence[str]) -> list[tuple[Text, ...]]:
    """Every text with each of the two answers, by answer: contrast pairs (Burns et al. 2022)."""
    if len(answers) != 2 or not all(isinstance(text, str) for text in texts):
        raise UserError("CCS needs a task of two classes whose examples are one text each")
    return [tuple(f"{text} {answer}" for text in texts) for answer in answers]


class _Unhashed:
    """What a cached function needs and its result does not depend on."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Unhashed)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=16)
def _features(learner: Learner, texts: tuple[Text, ...], root: Path, key: str | None, context: _Unhashed) -> Features:
    workshop, body = context.value
    start = None if body is None else workshop.body(body)
    return probing.features(learner, texts, root, workshop.reporter.step, start, workshop.mesh)


@functools.lru_cache(maxsize=256)
def _read(store: Store, folder: str) -> Predictions:
    return store.read(folder).predictions


def forget() -> None:
    """Drops the features and predictions that this process holds in memory."""
    _features.cache_clear()
    _read.cache_clear()


def _reading(learner: Learner) -> Learner:
    """The fields that decide features, all others at their defaults: learners that differ elsewhere share them."""
    fields = ("model", "read_layer", "pooling", "max_tokens", "too_long", "dtype")
    return Learner(parameters="probe", **{name: getattr(learner, name) for name in fields})


def _data(stage: Stage, given: StageInputs) -> dict[str, Any]:
    return {
        "train": (given.train.split.texts, given.train.targets),
        "validation": (given.validation.split.texts, given.validation.targets),
        "predict": {name: split.texts for name, split in given.predict.items()},
        "seed": stage.seed,
    }


def _finetune(stage: Stage, given: StageInputs, workshop: Workshop) -> Outcome:
    assert stage.learner is not None
    return finetune(
        stage.learner,
        workshop.pretrained(stage),
        materials.loss(stage.method),
        mesh=workshop.mesh,
        folder=workshop.store.progress(stage.folder),
        profile=workshop.profile(stage),
        progress=workshop.reporter.step,
        answers=materials.answers(stage.task, given.train.targets.shape[1]),
        **_data(stage, given),
    )


def _adapt(stage: Stage, given: StageInputs, workshop: Workshop) -> Outcome:
    learner = stage.learner
    assert learner is not None
    pretrained = models.load_sharded(learner.model, workshop.mesh)
    params, losses = generative.adapt(
        learner,
        pretrained,
        given.train.split.texts,
        seed=stage.seed,
        mesh=workshop.mesh,
        folder=workshop.store.progress(stage.folder),
        profile=workshop.profile(stage),
        progress=workshop.reporter.step,
    )
    nothing = np.zeros((1, 0, 2), np.float32)
    return Outcome({}, History(losses, [len(losses)], [0.0], nothing, 0), params)


def _prompt(stage: Stage, given: StageInputs, workshop: Workshop) -> Outcome:
    """Shots are drawn from the training rows, equally many of each class as they are labelled."""
    assert stage.learner is not None
    options: dict[str, Any] = {"template": materials.templates(stage.task)[0], **stage.method.options}
    options.pop("shown", None)
    labels = given.train.targets.argmax(axis=1)
    shots = _shots(labels, int(options.pop("shots", 0)), stage.seed)
    texts = given.train.split.texts
    answers = materials.answers(stage.task, given.train.targets.shape[1])
    logits = {
        name: prompting.prompt_logits(
            stage.learner,
            split.texts,
            [(texts[row], int(labels[row])) for row in shots],
            answers=[f" {answer}" for answer in answers],
            mesh=workshop.mesh,
            progress=workshop.reporter.step,
            **options,
        )
        for name, split in {**given.predict, "validation": given.validation.split}.items()
    }
    prompting.forget()
    return _predicted(stage, logits)


def _shots(labels: np.ndarray, count: int, seed: int) -> list[int]:
    order = np.random.default_rng([seed, 5]).permutation(len(labels))
    by_class = [[row for row in order if labels[row] == label] for label in np.unique(labels)]
    ranked = sorted((place, row) for rows in by_class for place, row in enumerate(rows))
    chosen = [int(row) for _, row in ranked[:count]]
    return [chosen[i] for i in np.random.default_rng([seed, 6]).permutation(len(chosen))]


def _ccs(stage: Stage, given: StageInputs, workshop: Workshop) -> Outcome:
    assert stage.learner is not None
    answers = materials.answers(stage.task, 2)
    found = workshop.features(stage.learner, stage.task, feature_texts(stage), stage.body)

    def pairs(texts: Sequence[Text]) -> list[Float[np.ndarray, "n d"]]:
        return [found.matrix[found.rows(column)] for column in ccs_texts(texts, answers)]

    training = pairs(given.train.split.texts)
    fitted = label_transforms.fit_ccs(*training, seed=stage.seed, **cast(Any, stage.method.options))
    fitted = label_transforms.oriented(fitted, label_transforms.predict_ccs(fitted, *training), given.train.targets)
    splits = {**given.predict, "validation": given.validation.split}
    return _labelled(
        stage, {name: label_transforms.predict_ccs(fitted, *pairs(split.texts)) for name, split in splits.items()}
    )


def given_labels(stage: Stage, reference: str) -> dict[str, Float[np.ndarray, "n c"]]:
    """A supervisor's labels from an array or a table.

    Raises:
      UserError: it holds no probabilities, or of another number of classes or rows than the task.
    """
    splits = materials.splits(stage.task, stage.seed)
    if not arrays.is_array(reference):
        ids = {name: getattr(splits, name).ids for name in stage.predicts}
        return {name: questionnaire.read(reference, of, splits.n_classes) for name, of in ids.items()}
    table = arrays.probabilities(reference)
    if table.shape[1] != splits.n_classes:
        raise UserError(f"{reference} has {table.shape[1]} classes; the task has {splits.n_classes}")
    return {name: table[arrays.rows(getattr(splits, name).texts, reference, len(table))] for name in stage.predicts}


def _labelled(stage: Stage, probs: Mapping[str, Float[np.ndarray, "n c"]]) -> Outcome:
    return _predicted(stage, {name: np.log(np.maximum(values, LEAST)) for name, values in probs.items()})


def _predicted(stage: Stage, logits: Mapping[str, Float[np.ndarray, "n c"]]) -> Outcome:
    """Labels that no training gave: a history of one evaluation, after no step."""
    logits = {name: np.asarray(values, np.float32) for name, values in logits.items()}
    history = History([], [0], [0.0], softmax(logits["validation"])[None], 0)
    return Outcome({name: logits[name] for name in stage.predicts}, history, None)
