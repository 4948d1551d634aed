"""What the page shows of some runs, in parts that it asks for by name. Nothing here is not in results or stages.

runs           the runs, and the sets of test examples that cells of one task, pair of models and seed share
results-R      all of results.json of run R
texts-R-K      ids, texts, ground truth and groups of the test examples of one task and seed
answers-R-K    what supervisor, ceiling and every student said of them, in one set
stages-R       every stage and what became of it, read anew whenever it is asked for
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from w2s_jax import serialize
from w2s_jax.data.splits import Split
from w2s_jax.data.tokens import flatten
from w2s_jax.evaluation import storage
from w2s_jax.evaluation.results import Cell, Results
from w2s_jax.evaluation.tested import Tested, predicted
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.supervise import Kept, Supervise
from w2s_jax.supervisors import supervisor
from w2s_jax.view import progress

SCALE = 10_000  # probabilities and margins are whole numbers of 1 / SCALE


class Key(NamedTuple):
    """What the cells of one set of examples have in common."""

    task: str
    supervisor: str
    student: str
    seed: int


@dataclass(frozen=True)
class Viewed:
    """One run.

    Attributes:
      name: what the page calls it: of runs of the same name, the folder.
      results: None while it has none.
    """

    name: str
    folder: Path
    results: Results | None

    @functools.cached_property
    def sets(self) -> dict[Key, dict[str, Cell]]:
        """The cells of each set, by method."""
        found: dict[Key, dict[str, Cell]] = {}
        for cell in self.results.cells if self.results else ():
            found.setdefault(Key(cell.task, cell.supervisor, cell.student, cell.seed), {})[cell.method] = cell
        return found

    @functools.cached_property
    def drawn(self) -> list[tuple[str, int]]:
        """Tasks and seeds of the sets: those of one read the same texts."""
        return list(dict.fromkeys((key.task, key.seed) for key in self.sets))

    @functools.cached_property
    def tested(self) -> Tested:
        """Its tasks, read again."""
        assert self.results is not None
        return Tested(self.results)

    @property
    def store(self) -> Store:
        """Its stages, which lie beside its folder."""
        return Store.beside_runs(self.folder.parent)


class Content:
    """The parts of the page, each made when it is asked for.

    Attributes:
      runs: as they were when they were read.
      version: of the results that were read: changes whenever these do.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """
        Raises:
          UserError: a folder is of no run, or its results cannot be read.
        """
        self._folders = list(dict.fromkeys(Path(folder).resolve() for folder in folders))
        self.version = ""
        self.refresh()

    def refresh(self) -> bool:
        """Reads the results again if they have changed, and returns whether: a run that was going on may have some."""
        # Before they are read: what changes meanwhile is read again.
        version = files.sha256_text(repr([files.version(folder / storage.FILE) for folder in self._folders]))[:12]
        if version == self.version:
            return False
        self.runs = self._read()
        self.version = version
        return True

    @property
    def finished(self) -> list[Results]:
        """The results of the runs that have some, by the names that the page gives them."""
        return [run.results for run in self.runs if run.results is not None]

    def names(self) -> list[str]:
        """Every part there is."""
        found = ["runs"]
        for number, run in enumerate(self.runs):
            found += [f"results-{number}"] if run.results else []
            if run.results and not _without_examples(run):
                found += [f"texts-{number}-{place}" for place in range(len(run.drawn))]
                found += [f"answers-{number}-{place}" for place in range(len(run.sets))]
            found.append(f"stages-{number}")
        return found

    def part(self, name: str) -> Any:
        """A part, as JSON values.

        Raises:
          KeyError: there is none of this name.
          UserError: what it is made from cannot be read.
        """
        if name == "runs":
            return self._runs()
        said = re.fullmatch(r"(results|texts|answers|stages)-(\d+)(?:-(\d+))?", name)
        if said is None or int(said[2]) >= len(self.runs):
            raise KeyError(name)
        run = self.runs[int(said[2])]
        if said[1] == "stages":
            return {"version": self.version, "stages": progress.stages(run.folder, run.store, run.results)}
        if run.results is None or (said[1] == "results") == (said[3] is not None):
            raise KeyError(name)
        if said[1] == "results":
            return storage.as_json(run.results)
        place, kind = int(said[3]), _texts if said[1] == "texts" else _answers
        if place >= len(run.drawn if said[1] == "texts" else run.sets):
            raise KeyError(name)
        return kind(run, place)

    def _read(self) -> list[Viewed]:
        found = [(folder, self._results(folder)) for folder in self._folders]
        names = [folder.name if results is None else results.name for folder, results in found]
        apart = len(set(names)) == len(names)
        runs = []
        for name, (folder, results) in zip(names, found, strict=True):
            shown = name if apart else str(folder)
            runs.append(Viewed(shown, folder, None if results is None else results.renamed(shown)))
        return runs

    @staticmethod
    def _results(folder: Path) -> Results | None:
        """None of a run that goes on and has none yet."""
        if not (folder / storage.FILE).exists() and progress.has_begun(folder):
            return None
        return storage.load(folder)

    def _runs(self) -> Any:
        return [
            {
                "name": run.name,
                "folder": run.folder.name,
                "finished": run.results is not None,
                "why_no_examples": _without_examples(run),
                "sets": [
                    {**key._asdict(), "methods": list(cells), "texts": run.drawn.index((key.task, key.seed))}
                    for key, cells in run.sets.items()
                ],
            }
            for run in self.runs
        ]


def _without_examples(run: Viewed) -> str | None:
    """Why there are no examples to show; None where there are."""
    if run.results is None:
        return "The run has no results yet."
    if any(not cell.stages for cell in run.results.cells):
        return "These results were imported: there are no predictions to show."
    if not run.store.root.exists():
        return f"The stages of this run are not at {run.store.root}."
    return None


def _texts(run: Viewed, place: int) -> Any:
    """Columns of one entry for each example."""
    title, seed = run.drawn[place]
    task, test = run.tested.task(title), run.tested.split(title, seed)
    assert test.labels is not None
    return {
        "ids": list(test.ids),
        "texts": [list(flatten([text])) for text in test.texts],
        "truth": test.labels.tolist(),
        "groups": list(test.groups) if len(set(test.groups)) < len(test.groups) else None,
        "classes": [] if any(isinstance(text, tuple) for text in test.texts) else list(task.answers),
    }


def _answers(run: Viewed, place: int) -> Any:
    """For each model columns as `_said` has them; and what belongs to an example besides its text."""
    key, cells = list(run.sets.items())[place]
    test = run.tested.split(key.task, key.seed)
    first = next(iter(cells.values()))

    def of(cell: Cell, role: str) -> Any:
        return _said(predicted(cell, role, test, run.store.read(cell.stages[role])), test)

    return {
        "supervisor": of(first, "supervisor"),
        "ceiling": of(first, "ceiling"),
        "students": {method: of(cell, "student") for method, cell in cells.items()},
        "beside": _beside(run, key, test),
    }


def _said(probs: np.ndarray, test: Split) -> dict[str, list[int]]:
    """What a model says of each example.

    Returns:
      `says`: the class of the largest probability, and `sure`, that probability. `right`: the probability of the true
      class. `margin`: that minus the largest of the others, above 0 where the model is right.
    """
    assert test.labels is not None
    rows = np.arange(len(probs))
    right = probs[rows, test.labels]
    others = probs.copy()
    others[rows, test.labels] = -1
    columns = {"sure": probs.max(axis=1), "right": right, "margin": right - others.max(axis=1)}
    whole = {name: np.round(column.astype(float) * SCALE).astype(int).tolist() for name, column in columns.items()}
    return {"says": probs.argmax(axis=1).tolist(), **whole}


def _beside(run: Viewed, key: Key, test: Split) -> dict[str, list[tuple[str, str]]]:
    """What the supervisor shows of an example, by the example's place: a debate, or parts."""
    assert run.results is not None
    config: Mapping[str, Any] = run.results.config.get("supervisors", {})
    if key.supervisor not in config:
        return {}
    kind = supervisor(serialize.from_json(config[key.supervisor]))
    stage = Supervise(run.tested.task(key.task), key.seed, kind)
    store = run.store
    kept = Kept(lambda need: store.read(need.name).predictions, store.transcripts)
    shown = kind.shows(stage, kept)
    return {
        str(place): [(each.title, each.text) for each in shown[text]]
        for place, text in enumerate(test.texts)
        if text in shown
    }


def reason(error: Exception) -> str:
    """Why a part cannot be shown, in one line."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
