"""Answers of a study that nobody took part in, drawn from known accuracies."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from w2s_jax.data.answers import (
    ANSWERS,
    KEY,
    MODELS,
    Answer,
    ModelAnswer,
    write_answers,
    write_key,
    write_models,
)
from w2s_jax.data.example import Example

CHOICES = 4


class Tables(NamedTuple):
    """What a study's folder holds."""

    answers: list[Answer]
    models: list[ModelAnswer]
    key: dict[str, int]

    def write(self, folder: Path) -> Path:
        write_answers(folder / ANSWERS, self.answers)
        write_models(folder / MODELS, self.models)
        write_key(folder / KEY, [Example(name, "", label, name) for name, label in self.key.items()])
        return folder


def drawn(
    *,
    participants: int = 10,
    questions: int = 60,
    alone: float = 0.5,
    assisted: float = 0.75,
    model: float = 0.65,
    simulated: str = "",
    seed: int = 0,
    groups: int = 20,
) -> Tables:
    """Everybody answers half of the questions alone and the other half with an assistant.

    Accuracies are those of the population. The assistant is right as often as the model; people follow it in part.
    """
    rng = np.random.default_rng(seed)
    names = [f"q{number:03d}" for number in range(questions)]
    key = {name: int(rng.integers(CHOICES)) for name in names}
    answers = []
    for person in range(participants):
        order = rng.permutation(questions)
        for position, number in enumerate(order):
            condition = "alone" if (number + person) % 2 else "chat"
            label = key[names[number]]
            right = rng.random() < (alone if condition == "alone" else assisted)
            choice = label if right else int((label + rng.integers(1, CHOICES)) % CHOICES)
            suggested = -1
            if condition == "chat":
                suggested = label if rng.random() < model else int((label + rng.integers(1, CHOICES)) % CHOICES)
            answers.append(
                Answer(
                    participant=f"{'s' if simulated else 'p'}{person + 1:03d}",
                    simulated=simulated,
                    condition=condition,
                    question=names[number],
                    group=f"g{number % groups}",
                    position=position,
                    n_choices=CHOICES,
                    choice=choice,
                    confidence=float(np.round(0.25 + 0.75 * rng.random(), 2)),
                    seconds=float(20 + 40 * rng.random()),
                    read_seconds=10.0,
                    away_seconds=0.0,
                    turns=0 if condition == "alone" else int(rng.integers(1, 8)),
                    changes=int(rng.integers(0, 2)),
                    suggested=suggested,
                )
            )
    models = []
    for arm, accuracy in (("zero-shot", model), ("few-shot", model + 0.05)):
        for name in names:
            said = key[name] if rng.random() < accuracy else (key[name] + 1) % CHOICES
            models.append(ModelAnswer(arm, name, tuple(0.7 if k == said else 0.1 for k in range(CHOICES))))
    return Tables(answers, models, key)
