"""A judge of the parts of a task's texts."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from w2s_jax import metrics
from w2s_jax.data import formulas
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.metrics import Finding, in_words
from w2s_jax.stages.base import SoftLabels, Stage
from w2s_jax.stages.measuring import CellKey, Setting
from w2s_jax.stages.supervise import Inputs, Kept, Said, Supervise, Supervisor
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.resolve import supervisor
from w2s_jax.train.learner import Learner


@SUPERVISORS.register
@dataclass(frozen=True)
class Decomposed(Supervisor):
    """A supervisor that decomposes each text, labels the parts, and combines their labels.

    The one step of task decomposition that a task's own grammar makes exact (Christiano et al. 1810.08575, section 2;
    "part-to-complete generalization", Mai 2503.13621). The judge learns ground truth of parts instead of whole texts:
    of at most as many of the supervisor split's as that has examples, so that it knows no more labels than it would
    without. An example of m parts costs m of its labels. The parts count as independent of each other.

    Attributes:
      judge: of the parts: a learner, or another kind of supervisor. The task says what the parts are
        (`data.tasks.Task.parts`).
    """

    judge: Any

    asks = False
    parses = True

    def needs(self, task: TaskData, seed: int) -> tuple[Stage, ...]:
        return (Supervise(task.parts, seed, supervisor(self.judge)),)

    def identity(self, task: TaskData) -> dict[str, Any]:
        return {"decomposed": True}

    def check(self, task: TaskData, seed: int) -> None:
        task.parts.splits(seed)

    def label(self, inputs: Inputs) -> SoftLabels:
        (judge,) = inputs.needs
        found = {}
        for name, split in inputs.splits.items():
            statements = judge.shown.predict[name]
            probs = inputs.read(judge, name, statements.ids).astype(float)[:, 1]
            true = dict(zip(map(str, statements.texts), probs.tolist(), strict=True))
            whole = np.array([formulas.probability(inputs.trees[text], true) for text in split.texts])
            found[name] = np.stack([1 - whole, whole], axis=1)
        return found

    def shows(self, stage: Supervise, kept: Kept) -> dict[Text, list[Said]]:
        (judge,) = stage.own_needs
        parts = judge.shown.predict["test"]
        true = dict(zip(map(str, parts.texts), kept.read(judge).for_split("test", parts.ids)[:, 1], strict=True))
        return {
            text: [Said(f"part, true with {true[atom]:.2f}", atom) for atom in formulas.atoms(stage.trees[text])]
            for text in stage.shown.predict["test"].texts
        }

    def learners(self) -> tuple[Learner, ...]:
        return supervisor(self.judge).learners()

    def describe(self) -> str:
        return f"{supervisor(self.judge).describe()} by parts"

    def measures(self, setting: Setting) -> Iterator[Finding]:
        """What every student of these labels learns, compared with the same judge of whole texts if the run has it."""
        judge = supervisor(self.judge)
        flat = next((name for name, each in setting.supervisors.items() if each == judge), None)
        names = itertools.product(setting.tasks, setting.students, setting.methods)
        for task, student, method in names:
            yield from self._measured(setting, task, student, method, flat)

    def _measured(
        self, setting: Setting, task: TaskData, student: str, method: str, flat: str | None
    ) -> Iterator[Finding]:
        title = task.config.title

        def key(who: str) -> Callable[[int], CellKey]:
            return functools.partial(CellKey, title, who, student, method)

        seeds = setting.seeds_with(key(setting.name), *([key(flat)] if flat else []))
        if not seeds:
            return
        queries, accurate = [], []
        for seed in seeds:
            (judge,) = setting.stage(task, setting.name, seed).needs
            test = task.parts.splits(seed).test
            assert test.labels is not None
            accurate.append(metrics.accuracy(setting.read(judge).for_split("test", test.ids), test.labels))
            texts = task.splits(seed).transfer.texts
            queries.append(float(np.mean([len(formulas.atoms(task.trees[text])) for text in texts])))
        names = {"task": title, "supervisor": setting.name, "student": student, "method": method}
        whole = [cell.supervisor for cell in setting.of(key(flat), seeds)] if flat else []
        yield decomposition(names, flat, seeds, queries, accurate, setting.of(key(setting.name), seeds), whole)


def decomposition(
    names: Mapping[str, str],
    flat: str | None,
    seeds: Sequence[int],
    queries: Sequence[float],
    parts: Sequence[float],
    cells: Sequence[metrics.Triple],
    whole: Sequence[np.ndarray] = (),
) -> Finding:
    """What labels of parts are worth, over seeds.

    Args:
      names: task, supervisor (the decomposed one), student, method.
      flat: the same judge of whole texts, by name; None where the run has none.
      queries, parts: for each seed, parts of a text and the accuracy of their labels.
      cells: for each seed, the decomposed supervisor, its student, and the ceiling.
      whole: for each seed, the flat judge's probabilities of whole texts [N, C]; empty where it is not there.

    Returns:
      Values: `queries`, parts of a text, mean over transfer: labels that the judge gives for one; means over seeds of
      the accuracy on test: of the labels of `parts`, each different one of a split once; of the `decomposed` labels of
      whole texts; of the `student`; of the `ceiling`; and, where it is there, of the `flat` judge. The PGR is
      `(student - flat) / (ceiling - flat)`; None without the flat judge.
    """
    compared = [replace(cell, supervisor=probs) for cell, probs in zip(cells, whole, strict=True)] if whole else []
    roles = [("decomposed", cells, "supervisor"), ("student", cells, "student"), ("ceiling", cells, "ceiling")]
    values: dict[str, float | None] = {"queries": float(np.mean(queries)), "parts": float(np.mean(parts))}
    for name, of, role in roles + ([("flat", compared, "supervisor")] if whole else []):
        values[name] = float(np.mean([metrics.accuracy(getattr(cell, role), cell.labels) for cell in of]))
    pgr = metrics.bounded(metrics.pgr(compared)) if whole else None
    sentence = (
        f"{names['method']}: {values['queries']:.2f} parts an example, labelled with accuracy {values['parts']:.3f}; "
        f"whole examples put together from them {values['decomposed']:.3f}, student {values['student']:.3f}"
    )
    if pgr is not None:
        sentence += (
            f"; compared with {flat}, which judges whole examples with accuracy {values['flat']:.3f}: "
            f"(student - flat) / (ceiling - flat) = {in_words(pgr)}"
        )
    return Finding("decomposition", **names, seeds=tuple(seeds), values=values, pgr=pgr, sentence=sentence)
