"""Recursive reward modelling: the arguments that a judge reads are chosen by the last level's reward model.

Leike et al. 2018 (arXiv 1811.07871, section 3.2): agents trained with one reward model help to evaluate the next. Here
the agent is an advisor, and its policy best-of-n (Stiennon et al. 2020, arXiv 2009.01325; of arguments: Khan et al.
2024, arXiv 2402.06782): of several samples it says what the reward model finds most persuasive.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.config import Advised, Recursive
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.splits import Split
from w2s_jax.data.tokens import Text
from w2s_jax.supervisors import advice
from w2s_jax.supervisors.advice import Transcript

Sampled = Sequence[Mapping[Text, Transcript]]  # each text's transcript, by candidate


def samples(maker: Advised | Recursive) -> tuple[Advised, ...]:
    """The advisors whose transcripts hold each side's candidates; level 0 shows the first."""
    if isinstance(maker, Advised):
        return (maker,)
    plain = dataclasses.replace(maker.advised, shuffled=False)
    return tuple(dataclasses.replace(plain, seed=plain.seed + place) for place in range(maker.candidates))


def readings(
    maker: Recursive, rows: Split, said: Mapping[Text, Transcript], sampled: Sampled, answers: Sequence[str]
) -> list[Text]:
    """What a reward model reads to rate the candidates: its own transcript of the text with one argument replaced.

    Args:
      rows: those of `experiment.candidates`, n sides candidates of them.
      said: each text's transcript as the reward model knows it.

    Returns:
      As many texts.
    """
    read: list[Text] = []
    for identifier, text in zip(rows.ids, rows.texts, strict=True):
        side, candidate = map(int, identifier.rpartition("#")[2].split("."))
        changed = (*said[text][:side], sampled[candidate][text][side], *said[text][side + 1 :])
        read.append(str(text) + advice.spoken(changed, maker.advised, answers))
    return read


def rewards(maker: Recursive, rows: Split, rated: Predictions) -> Float[np.ndarray, "n sides candidates"]:
    """Each candidate's reward, in [0, 1]: how probable the reward model finds its class once it was argued so.

    Args:
      rows: those of `experiment.candidates`.
      rated: the reward model's predictions.

    Raises:
      UserError: it rated others.
    """
    shape = -1, maker.advised.sides, maker.candidates
    argued = [advice.speakers(maker.advised.protocol, str(text)) for text in texts(maker, rows)]
    probs = rated.for_split("candidates", rows.ids)
    return np.take_along_axis(probs.reshape(*shape, 2), np.array(argued)[:, :, None, None], axis=3)[..., 0]


def best(rewards: Float[np.ndarray, "n sides candidates"]) -> Int[np.ndarray, "n sides"]:
    """Each side's candidate of the highest reward; of several the first."""
    return rewards.argmax(axis=2)


def chosen(maker: Recursive, rows: Split, rated: Predictions, sampled: Sampled) -> dict[Text, Transcript]:
    """Each text's transcript at the level that these ratings decide."""
    picks = best(rewards(maker, rows, rated)).tolist()
    return {
        text: tuple(sampled[candidate][text][side] for side, candidate in enumerate(of_text))
        for text, of_text in zip(texts(maker, rows), picks, strict=True)
    }


def texts(maker: Recursive, rows: Split) -> tuple[Text, ...]:
    """The n texts whose candidates these rows are."""
    return rows.texts[:: maker.advised.sides * maker.candidates]
