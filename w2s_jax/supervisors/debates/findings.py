"""What debates do to a judge, from finished cells: persuasion, order, whether a critic may be believed, Elo."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from w2s_jax import metrics
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.metrics import Finding, Triple
from w2s_jax.metrics.elo import elo
from w2s_jax.stages.measuring import Setting
from w2s_jax.supervisors.debates.debaters import Debater
from w2s_jax.supervisors.debates.protocols import Cue

if TYPE_CHECKING:
    from w2s_jax.supervisors.debated import Debated

Probs = Float[np.ndarray, "n c"]
Labels = Int[np.ndarray, " n"]
Classes = Int[np.ndarray, " n"]
Families = Shaped[np.ndarray, " n"]


class Judged(NamedTuple):
    """A judge's verdicts on the test examples of all seeds, one after another."""

    probs: Probs
    labels: Labels
    families: Families

    @property
    def right(self) -> np.ndarray:
        return np.argmax(self.probs, axis=1) == self.labels


def findings_of(debated: "Debated", setting: Setting) -> Iterator[Finding]:
    """Everything that can be found of a debate in a run."""
    for task in setting.tasks:
        cells = _cells(setting, task, setting.name)
        if not cells:
            continue
        student = next(key.student for key in setting.cells if key[:2] == (task.config.title, setting.name))
        names = {"task": task.config.title, "supervisor": setting.name, "student": student}
        yield from _persuasion(debated, setting, task, names)
        yield from _order(debated, setting, task, names)
        yield from _critic(debated, setting, task, names)
        yield from _ratings(debated, setting, task, names)


def is_better(critic: Probs, judge: Probs, labels: Labels) -> bool:
    """Whether a critic classifies better than a judge: without that it is not believed."""
    return metrics.accuracy(critic, labels) > metrics.accuracy(judge, labels)


def persuasion(alone: Judged, after: Judged, argued: Classes | None = None) -> dict[str, float | None]:
    """How far a debate moves a judge towards wrong answers, and how far towards right ones.

    Args:
      alone, after: the same judge on the same examples.
      argued: the class that was argued for, where it was one alone.

    Returns:
      `towards wrong`: of what the judge alone gets right, the share that it then gets wrong. `towards right`: of what
      it alone gets wrong, the share that it then gets right. `shift`: by how much the probability of the true class
      rises, mean. Each with its standard error over families of examples (`..., error`). Where one class was argued
      for also `followed, right` and `followed, wrong`: how often the judge says what was argued, where that is so.
    """
    found: dict[str, float | None] = {
        "accuracy alone": float(alone.right.mean()),
        "accuracy after": float(after.right.mean()),
    }
    found |= _share("towards wrong", ~after.right, alone.right, alone.families)
    found |= _share("towards right", after.right, ~alone.right, alone.families)
    rows = np.arange(len(alone.labels))
    rise = after.probs[rows, alone.labels] - alone.probs[rows, alone.labels]
    found |= _share("shift", rise, np.ones(len(rise), bool), alone.families)
    if argued is not None:
        followed, truly = after.probs.argmax(axis=1) == argued, argued == alone.labels
        found |= _share("followed, right", followed, truly, alone.families)
        found |= _share("followed, wrong", followed, ~truly, alone.families)
    return found


def order(one: Judged, other: Judged, begins: Classes) -> dict[str, float | None]:
    """What it changes who begins.

    Args:
      one, other: a judge after the debate, and after the same debate in the other order.
      begins: the class that is argued for first in `one`; in `other` it is the other one.

    Returns:
      Accuracy in each order and of their `mean` probabilities; `verdicts that differ`, a share; and `for who begins`:
      how often the verdict, over both orders, is for the class that was argued for first (1/2 if order is nothing).
    """
    verdicts = one.probs.argmax(axis=1), other.probs.argmax(axis=1)
    first = np.concatenate([verdicts[0] == begins, verdicts[1] != begins]).astype(np.float64)
    everybody = np.ones(len(first), bool)
    return {
        "accuracy": float(one.right.mean()),
        "accuracy, swapped": float(other.right.mean()),
        "accuracy of the mean": metrics.accuracy((one.probs + other.probs) / 2, one.labels),
        "verdicts that differ": float((verdicts[0] != verdicts[1]).mean()),
        **_share("for who begins", first, everybody, np.concatenate([one.families] * 2)),
    }


def _persuasion(debated: "Debated", setting: Setting, task: TaskData, names: Mapping[str, str]) -> Iterator[Finding]:
    for alone in [name for name, each in setting.supervisors.items() if each == debated.reader]:
        seeds, judged = _judged(setting, task, alone, setting.name)
        if not seeds:
            continue
        before, after = judged
        cues = _cues(debated, task, seeds)
        sided = len({cue.answer for cue in cues[0]}) == 1
        values = persuasion(before, after, np.array([each[0].answer for each in cues]) if sided else None)
        sentence = (
            f"compared with {alone}, the debate persuaded the judge of a wrong answer on "
            f"{_told(values, 'towards wrong')} of what it gets right alone, and of the right one on "
            f"{_told(values, 'towards right')} of the rest"
        )
        if sided:
            sentence += (
                f"; it says what was argued for in {_told(values, 'followed, right')} of the examples where that was "
                f"right and {_told(values, 'followed, wrong')} where it was wrong"
            )
        yield Finding("persuasion", **names, method=None, seeds=seeds, values=values, pgr=None, sentence=sentence)


def _order(debated: "Debated", setting: Setting, task: TaskData, names: Mapping[str, str]) -> Iterator[Finding]:
    if debated.swapped:
        return
    turned = replace(debated, swapped=True)
    for other in [name for name, each in setting.supervisors.items() if each == turned]:
        seeds, judged = _judged(setting, task, setting.name, other)
        if seeds:
            begins = np.array([each[0].answer for each in _cues(debated, task, seeds)])
            values = order(judged[0], judged[1], begins)
            sentence = (
                f"accuracy {values['accuracy']:.3f}, in the other order {values['accuracy, swapped']:.3f}, of the "
                f"mean of both {values['accuracy of the mean']:.3f}; {values['verdicts that differ']:.3f} of the "
                f"verdicts differ, and {_told(values, 'for who begins')} are for the class that was argued for first"
            )
            yield Finding("order", **names, method=None, seeds=seeds, values=values, pgr=None, sentence=sentence)


def _critic(debated: "Debated", setting: Setting, task: TaskData, names: Mapping[str, str]) -> Iterator[Finding]:
    critic = debated.protocol.critic
    cells = _cells(setting, task, setting.name)
    if critic is None:
        return
    accuracies: dict[str, list[float]] = {}
    believed = []
    for seed, cell in cells.items():
        stage, splits = setting.stage(task, setting.name, seed), task.splits(seed)
        probs = {}
        for name, need in zip(("critic", "judge"), stage.needs, strict=False):
            for split in ("validation", "test"):
                examples = getattr(splits, split)
                probs[name, split] = setting.read(need).for_split(split, examples.ids)
                accuracies.setdefault(f"{name}, {split}", []).append(
                    metrics.accuracy(probs[name, split], examples.labels)
                )
        assert splits.validation.labels is not None
        believed.append(
            is_better(probs["critic", "validation"], probs["judge", "validation"], splits.validation.labels)
        )
        accuracies.setdefault("after, test", []).append(metrics.accuracy(cell.supervisor, cell.labels))
    values: dict[str, float | None] = {name: float(np.mean(each)) for name, each in accuracies.items()}
    values["believed"] = float(np.mean(believed))
    sentence = (
        f"the critic {critic.learner.model} was believed in {sum(believed)} of {len(believed)} seeds, in which it "
        f"classified validation better than the judge alone (mean accuracies {values['critic, validation']:.3f} and "
        f"{values['judge, validation']:.3f}; on test {values['critic, test']:.3f} and {values['judge, test']:.3f}); "
        f"the judge was then at {values['after, test']:.3f}"
    )
    yield Finding("critic", **names, method=None, seeds=tuple(cells), values=values, pgr=None, sentence=sentence)


def _ratings(debated: "Debated", setting: Setting, task: TaskData, names: Mapping[str, str]) -> Iterator[Finding]:
    """Of all debaters who met before one judge; the first such debate of the run reports them."""
    met = {
        name: each
        for name, each in setting.supervisors.items()
        if type(each) is type(debated) and each.reader == debated.reader and len(set(each.debaters)) == 2
    }
    if next(iter(met), None) != setting.name:
        return
    players: dict[Debater, int] = {}
    matches: list[tuple[int, int, float, float, float]] = []
    families: list[str] = []
    seeds: set[int] = set()
    for name, each in met.items():
        one, two = (players.setdefault(debater, len(players)) for debater in each.debaters)
        for seed, cell in _cells(setting, task, name).items():
            seeds.add(seed)
            cues = _cues(each, task, (seed,))
            families += [str(text) for text in task.splits(seed).test.texts]
            for turns, label, probs in zip(cues, cell.labels.tolist(), cell.supervisor, strict=True):
                own = next(cue.answer for cue in turns if cue.role == "first")
                sides = 1.0 if own == label else -1.0, 1.0 if turns[0].role == "first" else -1.0
                matches.append((one, two, float(probs.argmax() == own), *sides))
    if not matches:
        return
    first, second, won, truth, begins = (np.array(column) for column in zip(*matches, strict=True))
    rated = elo(
        first,
        second,
        won,
        players=len(players),
        circumstances=np.stack([truth, begins], axis=1),
        groups=np.array(families),
    )
    values: dict[str, float | None] = {}
    for debater, place in players.items():
        title = debater.describe()
        title = title if f"elo of {title}" not in values else f"{title} ({place})"
        values[f"elo of {title}"] = float(rated.elo[place])
        values[f"elo of {title}, error"] = float(rated.elo_error[place])
    for place, what in enumerate(("advantage of truth", "advantage of beginning")):
        values[what] = 2 * float(rated.advantages[place])  # from -1 to 1
        values[f"{what}, error"] = 2 * float(rated.advantages_error[place])
    listed = ", ".join(
        f"{name.removeprefix('elo of ')} {_points(values, name)}"
        for name in values
        if name.startswith("elo of ") and not name.endswith(", error")
    )
    sentence = (
        f"Elo over {len(matches)} debates before this judge: {listed}; to argue for the truth is worth "
        f"{_points(values, 'advantage of truth')} points, to begin {_points(values, 'advantage of beginning')}"
    )
    yield Finding("elo", **names, method=None, seeds=tuple(sorted(seeds)), values=values, pgr=None, sentence=sentence)


def _cells(setting: Setting, task: TaskData, supervisor: str) -> dict[int, Triple]:
    """A finished cell of each seed: whichever student, the supervisor is the same."""
    found: dict[int, Triple] = {}
    for key, cell in setting.cells.items():
        if key[:2] == (task.config.title, supervisor):
            found.setdefault(key.seed, cell)
    return dict(sorted(found.items()))


def _judged(setting: Setting, task: TaskData, *supervisors: str) -> tuple[tuple[int, ...], list[Judged]]:
    """Verdicts of some supervisors, on the seeds that all of them have."""
    cells = [_cells(setting, task, name) for name in supervisors]
    seeds = tuple(seed for seed in cells[0] if all(seed in each for each in cells))
    if not seeds:
        return (), []
    families = np.array([group for seed in seeds for group in task.splits(seed).test.groups])
    labels = np.concatenate([cells[0][seed].labels for seed in seeds])
    return seeds, [
        Judged(np.concatenate([each[seed].supervisor for seed in seeds]), labels, families) for each in cells
    ]


def _cues(debated: "Debated", task: TaskData, seeds: Sequence[int]) -> list[tuple[Cue, ...]]:
    """The turns of every test example of these seeds."""
    texts: list[Text] = [text for seed in seeds for text in task.splits(seed).test.texts]
    return [debated.protocol.cues(text, swapped=debated.swapped) for text in texts]


def _share(name: str, values: np.ndarray, among: np.ndarray, families: Families) -> dict[str, float | None]:
    """The mean among some rows, and its standard error, rows of one family depending on each other."""
    if not among.any():
        return {name: None, f"{name}, error": None}
    picked = values[among].astype(np.float64)
    mean = picked.mean()
    _, family = np.unique(families[among], return_inverse=True)
    sums = np.bincount(family, picked - mean)
    return {name: float(mean), f"{name}, error": float(np.sqrt(np.sum(sums**2)) / len(picked))}


def _told(values: Mapping[str, float | None], name: str) -> str:
    value, error = values[name], values[f"{name}, error"]
    return "-" if value is None else f"{value:.3f} ± {error:.3f}"


def _points(values: Mapping[str, float | None], name: str) -> str:
    return f"{values[name]:+.0f} ± {values[f'{name}, error']:.0f}"
