"""What a stage is given: texts and the class probabilities to learn, and no more truth than its role may know."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from w2s_jax import metrics
from w2s_jax.data import formulas
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.data.tokens import Text
from w2s_jax.pipeline import experiment, materials
from w2s_jax.pipeline.experiment import Stage
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import combining, error_structure

Read = Callable[[Stage], Predictions]


class Labelled(NamedTuple):
    """Texts, and the class probabilities to learn from them, float32 [N, C]."""

    split: Split
    targets: Float[np.ndarray, "n c"]


class StageInputs(NamedTuple):
    """All that making a stage may see."""

    train: Labelled
    validation: Labelled
    predict: dict[str, Split]


def stage_inputs(stage: Stage, read: Read, evidence: Callable[[str, Split], Any] | None = None) -> StageInputs:
    """The labelled data of a stage.

    Args:
      read: gives the predictions of a stage that it needs.
      evidence: gives what a step of label work asks to see, by its name, of the training rows.

    Raises:
      UserError: label work left nothing to learn from.
    """
    data = experiment.stage_splits(stage)
    if stage.role not in ("student", "body"):
        train = _with_truth(stage, data.train)
        if stage.draw is not None:
            rows = _drawn(stage, train, read)
            train = Labelled(train.split.take(rows), train.targets[rows])
        return StageInputs(train, _with_truth(stage, data.validation), data.predict)
    if stage.teacher is None:
        nothing = np.zeros((len(data.train), 0), np.float32)
        return StageInputs(Labelled(data.train, nothing), Labelled(data.validation, nothing[:0]), data.predict)
    weak = read(stage.teacher)

    def labelled(name: str, split: Split) -> Labelled:
        targets = weak.for_split(name, split.ids)
        return Labelled(hinted(split, targets, stage.task) if stage.method.hint else split, targets)

    predict = data.predict
    if stage.method.hint:
        predict = {name: labelled(name, split).split for name, split in predict.items()}
    train = _worked(stage, labelled("transfer", data.train), evidence)
    return StageInputs(train, labelled("validation", data.validation), predict)


def hinted(split: Split, weak: Float[np.ndarray, "n c"], task: Any) -> Split:
    """Every text with what the supervisor thinks of it appended (Burns et al. 2023, App. E)."""
    hints = hint_texts(materials.answers(task, weak.shape[1]))
    return replace(
        split,
        texts=tuple(_append(text, hints[label]) for text, label in zip(split.texts, weak.argmax(axis=1), strict=True)),
    )


def hint_texts(answers: Sequence[str]) -> list[str]:
    """What is appended, by class."""
    return [f"\nI think this is {answer}. What do you think?" for answer in answers]


def with_every_hint(texts: Sequence[Text], answers: Sequence[str]) -> list[Text]:
    """Every text with every hint that it could get, so that its features are computed once for all supervisors."""
    return [_append(text, hint) for text in texts for hint in hint_texts(answers)]


def reread(given: StageInputs, read: Callable[[Split], Sequence[Text]]) -> StageInputs:
    """The same rows with other texts."""

    def of(split: Split) -> Split:
        return replace(split, texts=tuple(read(split)))

    train, validation = (each._replace(split=of(each.split)) for each in (given.train, given.validation))
    return StageInputs(train, validation, {name: of(split) for name, split in given.predict.items()})


def _append(text: Text, suffix: str) -> Text:
    return text + suffix if isinstance(text, str) else tuple(part + suffix for part in text)


def _with_truth(stage: Stage, split: Split) -> Labelled:
    assert split.labels is not None
    n_classes = materials.splits(stage.task, stage.seed).n_classes
    return Labelled(split.without_truth(), materials.truth(split.labels, n_classes))


def _drawn(stage: Stage, train: Labelled, read: Read) -> np.ndarray:
    """The rows that a member of an ensemble is trained on."""
    assert stage.draw is not None
    seed = int(np.random.default_rng([stage.seed, stage.draw.member]).integers(2**31))
    if stage.draw.how == "bagging":
        return combining.bootstrap_rows(len(train.split), seed)
    weights, _ = boosting(stage.members, train, read)
    return np.random.default_rng(seed).choice(len(weights), len(weights), p=weights).astype(np.int32)


def boosting(members: Sequence[Stage], train: Labelled, read: Read) -> tuple[np.ndarray, list[float]]:
    """The weight of every row of the supervisor split after these members, and the vote of each member."""
    weights, votes = np.full(len(train.split), 1 / len(train.split)), []
    for member in members:
        probs = read(member).for_split("supervisor", train.split.ids)
        vote, weights = combining.boosting_round(probs, train.targets.argmax(axis=1), weights)
        votes.append(vote)
    return weights, votes


def combine(stage: Stage, how: str, read: Read) -> dict[str, Float[np.ndarray, "n c"]]:
    """What an ensemble says of every split that it labels."""
    data = experiment.stage_splits(stage)
    members = [read(member) for member in stage.members]
    votes = boosting(stage.members, _with_truth(stage, data.train), read)[1] if how == "boosting" else None
    found = {}
    for name, split in data.predict.items():
        probs = np.stack([member.for_split(name, split.ids) for member in members])
        found[name] = combining.average(probs) if votes is None else combining.vote(probs, np.array(votes))
    return found


def aggregate(stage: Stage, read: Read) -> dict[str, Float[np.ndarray, "n c"]]:
    """What the labels of its parts make of every row."""
    (judge,) = stage.members
    trees, parts = materials.trees(stage.task), experiment.stage_splits(judge).predict
    found = {}
    for name, split in experiment.stage_splits(stage).predict.items():
        labels = read(judge).for_split(name, parts[name].ids).astype(float)[:, 1]
        true = dict(zip(map(str, parts[name].texts), labels.tolist(), strict=True))
        probs = np.array([formulas.probability(trees[text], true) for text in split.texts])
        found[name] = np.stack([1 - probs, probs], axis=1)
    return found


def simulate(stage: Stage, kind: str, read: Read) -> dict[str, Float[np.ndarray, "n c"]]:
    """Labels as accurate and as confident as the real supervisor's on each split, wrong where `kind` says."""
    splits = materials.splits(stage.task, stage.seed)
    found: dict[str, np.ndarray] = {}
    for place, name in enumerate(stage.predicts):
        split = getattr(splits, name)
        real = read(stage.members[0]).for_split(name, split.ids)
        accuracy = metrics.accuracy(real, split.labels)
        seed = int(np.random.default_rng([stage.seed, place]).integers(2**31))
        if kind == "independent":
            said = error_structure.independent_errors(split.labels, splits.n_classes, accuracy, seed)
        else:
            lengths = np.array([sum(map(len, text)) for text in split.texts])
            key = {"longest": lengths, "shortest": -lengths, "unsure": -real.max(axis=1)}[kind]
            said = error_structure.errors_on(key, split.labels, splits.n_classes, accuracy)
        found[name] = error_structure.with_confidences(said, real, split.labels, seed)
    return found


def _worked(stage: Stage, weak: Labelled, evidence: Callable[[str, Split], Any] | None) -> Labelled:
    """The labels after every step of label work; a step that compares with a student waits for there to be one."""
    for step in stage.method.labels:
        context = materials.label_context(step)
        if "student" in context and stage.previous is None:
            continue
        assert evidence is not None
        given: Mapping[str, Any] = {name: evidence(name, weak.split) for name in context}
        rows, targets = materials.label_step(step)(weak.targets, **given)
        if len(rows) == 0:
            raise UserError(f"label work {step.name!r} kept none of {len(weak.split)} examples; loosen it")
        weak = Labelled(weak.split.take(rows), np.asarray(targets, np.float32))
    return weak
