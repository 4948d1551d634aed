"""The model alone on a study's questions: zero-shot, few-shot, and best of n chains of thought.

These are the arms of Bowman et al. 2022 (arXiv 2211.03540, section 3): a model that is asked for a letter, the same
after examples, and the most confident of n samples that think before they answer.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import softmax

from w2s_jax import models
from w2s_jax.data.answers import MODELS, ModelAnswer, write_models
from w2s_jax.data.questions import LETTERS
from w2s_jax.runtime.checks import check_count, check_range
from w2s_jax.runtime.errors import UserError
from w2s_jax.study import assignment, questions
from w2s_jax.study.config import Study
from w2s_jax.study.questions import Question, written
from w2s_jax.train import streaming
from w2s_jax.train.learner import Learner
from w2s_jax.train.prompting import Asking
from w2s_jax.train.writing import Writer

ZERO_SHOT, FEW_SHOT, BEST_OF_N = "zero-shot", "few-shot", "best-of-n"
THINKING, ANSWER = "\nThinking:", "\nAnswer:"
Tell = Callable[[str], None]


class Shot(NamedTuple):
    """A question with its right choice, which is shown before others."""

    question: Question
    label: int


@dataclass(frozen=True)
class Unaided:
    """A decoder, and how it is asked.

    Attributes:
      model: a name from `w2s models`, a folder or .gguf file, or a Hub id.
      shots: examples before each question, few-shot; 0 leaves that arm out.
      samples: chains of thought for each question, best-of-n; 0 leaves that arm out.
      tokens: of a chain, at most; a newline ends it.
      temperature: of sampling chains.
      chat: a question is a user's message in the model's chat template.
      calibrate: letters are made equally probable over the questions (`prompting.Asking.logits`): small models prefer
        some letters, whatever is asked.
      max_tokens: the longest prompt, with examples and a chain.
      seed: of chains, and of which examples are shown.

    Raises:
      UserError: a number is out of range.
    """

    model: str = "smollm2-135m"
    shots: int = 5
    samples: int = 20
    tokens: int = 128
    temperature: float = 1.0
    chat: bool = False
    calibrate: bool = False
    max_tokens: int = 2048
    dtype: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("shots", self.shots, 0)
        check_count("samples", self.samples, 0)
        check_count("tokens", self.tokens)
        check_range("temperature", self.temperature, 0.01, 10)
        self.learner  # noqa: B018 (checks max_tokens)

    @property
    def learner(self) -> Learner:
        return Learner(self.model, chat=self.chat, max_tokens=self.max_tokens, dtype=self.dtype)


def write(study: Study, kind: Unaided, tell: Tell = lambda said: None) -> Path:
    """Asks the model all of a study's questions, and writes `models.parquet` into its folder.

    Examples are of the task's other questions, of groups of which the study asks none.

    Raises:
      UserError: the task cannot be read or has too few other questions, or the model cannot be asked.
    """
    every, key = questions.read(study.task, study.options)
    asked = [question for block in assignment.draw_blocks(study, every) for question in block]
    taken = {question.group or question.id for question in asked}
    others = [Shot(each, key[each.id]) for each in every if (each.group or each.id) not in taken]
    path = study.folder / MODELS
    path.parent.mkdir(parents=True, exist_ok=True)
    write_models(path, answers(kind, asked, others, tell))
    return path


def answers(
    kind: Unaided, asked: Sequence[Question], others: Sequence[Shot], tell: Tell = lambda said: None
) -> list[ModelAnswer]:
    """What the model says of each question, arm by arm.

    Args:
      others: that examples are taken from; of the same number of choices as a question.
      tell: is told what is being done.

    Raises:
      UserError: there are too few others, or the model cannot be asked: it is an encoder, or a prompt is too long.
    """
    streaming.check(kind.learner)
    shots = {count: _shots(kind, others, count) for count in sorted({len(each.choices) for each in asked})}
    chains: list[list[str]] = []
    if kind.samples:
        tell(f"{kind.samples} chains of thought of each of {len(asked)} questions ...")
        writer = Writer(kind.learner)
        thinking = [written(each) + THINKING for each in asked]
        for sample in range(kind.samples):
            seed = kind.seed + sample
            chains.append(writer(thinking, tokens=kind.tokens, temperature=kind.temperature, seed=seed))
        del writer  # its parameters: the model is in memory once
    tell(f"letters of {len(asked)} questions ...")
    asking = Asking(kind.learner, models.load_sharded(kind.model, None))
    found: dict[str, list[np.ndarray]] = {ZERO_SHOT: _letters(kind, asking, asked)}
    if kind.shots:
        found[FEW_SHOT] = _letters(kind, asking, asked, shots=shots)
    if chains:
        found[BEST_OF_N] = _most_confident([_letters(kind, asking, asked, said) for said in chains])
    return [
        ModelAnswer(arm, question.id, tuple(map(float, probs)))
        for arm, rows in found.items()
        for question, probs in zip(asked, rows, strict=True)
    ]


def _shots(kind: Unaided, others: Sequence[Shot], count: int) -> list[Shot]:
    """Examples with so many choices, of different groups as far as there are."""
    known: dict[str, list[Shot]] = defaultdict(list)
    for each in others:
        if len(each.question.choices) == count:
            known[each.question.group or each.question.id].append(each)
    draw = np.random.default_rng([kind.seed, count])
    groups = [known[name] for name in draw.permutation(sorted(known))] if known else []
    rounds = range(max(map(len, groups), default=0))
    found = [group[place] for place in rounds for group in groups if place < len(group)][: kind.shots]
    if len(found) < kind.shots:
        raise UserError(
            f"{kind.shots} examples need as many questions of {count} choices that the study does not ask, nor others "
            f"of their group; the task has {len(found)}: give Unaided fewer shots, or the task a larger pool"
        )
    return found


def _letters(
    kind: Unaided,
    asking: Asking,
    asked: Sequence[Question],
    chains: Sequence[str] | None = None,
    shots: dict[int, list[Shot]] | None = None,
) -> list[np.ndarray]:
    """The probability of each question's letters, those with equally many choices at a time."""
    found: list[np.ndarray] = [np.empty(0)] * len(asked)
    by_count: dict[int, list[int]] = defaultdict(list)
    for place, question in enumerate(asked):
        by_count[len(question.choices)].append(place)
    for count, places in by_count.items():
        texts = [written(asked[i]) + ("" if chains is None else f"{THINKING} {chains[i]}") for i in places]
        examples = [(written(each.question), each.label) for each in (shots or {}).get(count, [])]
        logits = asking.logits(
            texts,
            examples,
            [f" {letter}" for letter in LETTERS[:count]],
            template=f"{{text}}{ANSWER}",
            calibrate=kind.calibrate,
        )
        for place, probs in zip(places, softmax(logits.astype(np.float64), axis=1), strict=True):
            found[place] = probs
    return found


def _most_confident(samples: Sequence[list[np.ndarray]]) -> list[np.ndarray]:
    """Of each question the sample whose most probable letter is the most probable."""
    return [max(each, key=lambda probs: float(probs.max())) for each in zip(*samples, strict=True)]
