"""A task as people look at it before anything runs: what was understood, what was left out, and what models read."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from w2s_jax.data import arrays
from w2s_jax.data.example import Example
from w2s_jax.data.records import brief
from w2s_jax.data.splits import SplitSizes
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import flatten
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import reading
from w2s_jax.train.learner import Learner

SHOWN = 2  # examples of a task, each of another class
WIDTH = 300  # characters of each
MOST_CLASSES = 12


def describe(task: TaskData, seed: int, learners: Sequence[Learner]) -> list[str]:
    """Lines about a task; one of them says so where its splits cannot be drawn.

    Args:
      seed: whose splits are drawn.
      learners: the models that would read it.

    Raises:
      UserError: the task cannot be read.
    """
    read = [each for each in dict.fromkeys(learners) if not arrays.is_array(each.model)]
    lines = [f"{task.config.title}: {task.reading.describe()}", *(f"  {line}" for line in _inside(task, seed, read))]
    first = {example.label: example for example in reversed(task.examples)}  # of each class
    for label in sorted(first)[:SHOWN]:
        example = first[label]
        lines += [f"  {line}" for line in _shown(task, example, read)]
    return lines


def _inside(task: TaskData, seed: int, learners: Sequence[Learner]) -> Iterator[str]:
    origin = task.reading.origin
    if origin is not None and origin.describe() != task.config.title:
        files = f" ({', '.join(list(origin.files)[:8])})" if origin.files else ""
        yield f"from {origin.describe()}{files}"
    yield from task.reading.layout
    if not task.examples:
        yield "no examples: every group is larger than the pool"
        return
    counts = Counter(example.label for example in task.examples)
    named = [f"{_label(task, k)} {counts[k]:,}" for k in range(min(task.n_classes, MOST_CLASSES))]
    what = "classes" if task.definition.candidates == 1 else "candidates, of which the right one is"
    if not (task.reading.layout and task.reading.is_whole and what == "classes"):  # else the layout says it
        yield f"{task.n_classes} {what}: {', '.join(named)}{', ...' if task.n_classes > MOST_CLASSES else ''}"
    groups = Counter(example.group for example in task.examples)
    name, most = groups.most_common(1)[0]
    if most > 1:
        yield f"{len(groups):,} groups; the largest, {brief(name)}, has {most:,} examples"
    else:
        yield "no groups: each example stands alone; if some belong together, columns={'group': ...} says which"
    texts = flatten(task.texts)
    yield f"characters: {_spread([len(text) for text in texts])}"
    for learner in learners:
        lengths = [len(row) for row in reading.tokenizer_of(learner.model, learner.chat).encode(texts)]
        longest = reading.longest(learner)
        cut = sum(length > longest for length in lengths)
        what = f"cuts {cut:,} of {len(texts):,} texts" if cut else "cuts none"
        yield f"tokens of {learner.model}: {_spread(lengths)}; it reads {longest:,} and {what}"
    try:
        drawn = task.splits(seed)
    except UserError as error:
        yield f"splits of seed {seed}: none can be drawn: {error}"
        return
    yield f"splits of seed {seed}: {', '.join(f'{len(getattr(drawn, each))} {each}' for each in SplitSizes._fields)}"


def _label(task: TaskData, number: int) -> str:
    """A class, with its name; or a candidate's place."""
    return f"{number} {brief(task.answers[number])}" if task.definition.candidates == 1 else str(number)


def _spread(values: Sequence[int]) -> str:
    middle, high = np.percentile(values, [50, 95])
    return f"median {middle:.0f}, 95% have at most {high:.0f}, longest {max(values):,}"


def _shown(task: TaskData, example: Example, learners: Sequence[Learner]) -> Iterator[str]:
    yield f"example {brief(example.id)}, label {_label(task, example.label)}:"
    for text in flatten([example.text]):
        yield f"  {_short(text)}"
        for learner in learners:
            tokenizer = reading.tokenizer_of(learner.model, learner.chat)
            (ids,) = tokenizer.encode([text])
            yield f"  as {learner.model} reads it: {_short(tokenizer.spell(ids[: reading.longest(learner)]))}"


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= WIDTH else f"{shown[:WIDTH]}..."
