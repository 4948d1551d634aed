"""Finetunes pretrained models on labelled text, one or several together, and labels other text with them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from w2s_jax.data.tokens import Text, Tokens
from w2s_jax.losses.base import BoundLoss
from w2s_jax.models import Pretrained
from w2s_jax.models.params import Params
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import answering, outputs, prepare, together
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import History, Job, Progress, fit


class Problem(NamedTuple):
    """What one model is trained on, (texts, class probabilities), and what it labels."""

    train: tuple[Sequence[Text], Float[np.ndarray, "n c"]]
    validation: tuple[Sequence[Text], Float[np.ndarray, "m c"]]
    predict: Mapping[str, Sequence[Text]]
    seed: int


class Outcome(NamedTuple):
    """A trained stage.

    Attributes:
      logits: of every split it was asked to label.
      padding_share: the fraction of the places of an epoch's batches that held no token; None where there are none.
    """

    logits: dict[str, Float[np.ndarray, "n c"]]
    history: History
    params: Params
    padding_share: float | None = None


def finetune(
    learner: Learner,
    pretrained: Pretrained,
    loss: BoundLoss,
    *,
    train: tuple[Sequence[Text], Float[np.ndarray, "n c"]],
    validation: tuple[Sequence[Text], Float[np.ndarray, "m c"]],
    predict: Mapping[str, Sequence[Text]],
    seed: int,
    mesh: Mesh | None = None,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
    answers: Sequence[str] = (),
) -> Outcome:
    """Trains `learner` on (texts, class probabilities) and labels the texts of `predict`; with `epochs=0` only labels.

    Where an example is not one text but candidates, one scalar head scores each, and the scores are the example's
    logits: with two, `P(second is better) = sigmoid(score of the second - score of the first)`, a reward model. With
    `learner.preference` the language model scores them itself.

    Args:
      pretrained: arrays on devices are consumed; so no device holds what trains twice.
      loss: from `losses.bind`.
      seed: of the batch order, the head's initial values and dropout.
      mesh: the devices that parameters and batches are sharded over; None is one device.
      folder: where unfinished work is checkpointed.
      profile: where a trace of a few steps is written.
      answers: what the classes are called, for a learner that writes them (`output="text"`).

    Raises:
      UserError: a text is too long and the learner does not truncate; the model, or the task, has no such output; the
        loss is not finite.
    """
    (found,) = finetune_together(
        [learner],
        [lambda: pretrained],
        [loss],
        [Problem(train, validation, predict, seed)],
        mesh=mesh,
        folder=folder,
        profile=profile,
        progress=progress,
        answers=answers,
    )
    if isinstance(found, UserError):
        raise found
    return found


def finetune_together(
    learners: Sequence[Learner],
    starts: Sequence[Callable[[], Pretrained]],
    losses: Sequence[BoundLoss],
    problems: Sequence[Problem],
    *,
    mesh: Mesh | None = None,
    folder: Path | None = None,
    profile: Path | None = None,
    progress: Progress | None = None,
    answers: Sequence[str] = (),
    keep: Sequence[bool] | None = None,
) -> list[Outcome | UserError]:
    """`finetune` of several learners of one `Learner.program` as one program: each gets what it would get alone, but
    for rounding. One whose loss is not finite has an error in the place of its outcome.

    Args:
      learners, losses, problems: of each. Problems have as many classes, candidates and training steps.
      starts: give what is trained: one for all, or one for each.
      mesh: of `runtime.sharding.job_mesh`, if several train.
      keep: whose parameters are wanted; None is everyone's.

    Raises:
      UserError: as `finetune`, but for the loss.
    """
    learner, n_classes = learners[0], problems[0].train[1].shape[-1]
    output = outputs.choose(learner, lambda: answering.answers(learner, answers))
    jobs, validations = [], []
    for each, problem in zip(learners, problems, strict=True):
        tokens, targets = output.lessons(output.tokens(learner, problem.train[0]), problem.train[1])
        batches = prepare.batches(each, tokens, problem.seed, mesh)
        jobs.append(Job(batches, targets, problem.validation[1]))
        validations.append(output.tokens(learner, problem.validation[0]))
    predict = [{name: output.tokens(learner, texts) for name, texts in problem.predict.items()} for problem in problems]
    prepared = prepare.from_pretrained(
        learners,
        output,
        starts,
        losses,
        n_classes=n_classes,
        candidates=jobs[0].batches.tokens.candidates,
        total_steps=len(jobs[0].batches),
        seeds=[problem.seed for problem in problems],
        mesh=mesh,
    )
    trained = fit(
        prepared.state,
        prepared.frozen,
        step=prepared.learn,
        jobs=jobs,
        evaluate=lambda params: list(map(softmax, prepared.label(params, validations, n_classes))),
        settings=learner.loop,
        folder=folder,
        profile=profile,
        progress=progress,
    )
    names = dict.fromkeys(name for splits in predict for name in splits)
    nothing = Tokens(np.zeros(0, np.int32), np.zeros(1, np.int32), jobs[0].batches.tokens.candidates)
    logits = {
        name: prepared.label(trained.params, [splits.get(name, nothing) for splits in predict], n_classes)
        for name in names
    }

    def outcome(place: int, history: History | UserError) -> Outcome | UserError:
        if isinstance(history, UserError):
            return history
        batches, params = jobs[place].batches, None
        if keep is None or keep[place]:
            params = trained.params if prepared.jobs is None else together.take(trained.params, place)
        share = batches.padding_share() if len(batches) else None
        return Outcome({name: logits[name][place] for name in predict[place]}, history, params, share)

    return [outcome(place, history) for place, history in enumerate(trained.histories)]


def softmax(logits: Float[np.ndarray, "*n c"]) -> Float[np.ndarray, "*n c"]:
    """Class probabilities, float32."""
    return np.asarray(jax.nn.softmax(jnp.asarray(logits, jnp.float32), axis=-1))
