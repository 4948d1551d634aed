"""Runs the stages that are missing, each after those it needs, and never one that another process is making.

Several processes of one job (`processes`) walk the same stages in the same order, on one mesh of all their devices.
Process 0 alone claims stages, decides what is missing, and writes. A stage that fails in one fails in all.
"""

import contextlib
import functools
import time
import traceback
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from w2s_jax.data.predictions import Predictions
from w2s_jax.pipeline import origins, telling
from w2s_jax.pipeline.session import Session
from w2s_jax.pipeline.store import Store
from w2s_jax.runtime import files, processes, provenance
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.stages.base import Stage
from w2s_jax.train.finetune import Outcome, softmax
from w2s_jax.train.memory import OutOfMemoryError, advice_for

WAIT_SECONDS = 1.0
AT_ONCE = 256  # stages claimed and made together
LAST_LINES = 20  # of a traceback, kept with a stage that failed


class Failure(NamedTuple):
    """A stage that could not be made, and why, in one line."""

    stage: Stage
    reason: str


def check(stages: Sequence[Stage], mesh: Mesh | None) -> None:
    """Finds what would stop a stage, before any is made: that a model is there, and that it can read every text.

    Raises:
      UserError: the first problem.
    """
    for stage in stages:
        stage.check(mesh)


def check_one_job(stages: Sequence[Stage], store: Store) -> None:
    """That several processes were given the same experiments, and one folder.

    Raises:
      UserError: they were not.
    """
    if not processes.several():
        return
    asked = processes.gather(files.sha256_text(files.canonical([stage.name for stage in stages])))
    if len(set(asked)) > 1:
        raise UserError("the processes of this job have different experiments, or files that differ; give all the same")
    token = store.root / ".together"
    processes.lead(lambda: files.write_text(token, asked[0]))
    shared = all(processes.gather(token.exists()))
    processes.lead(token.unlink)
    if not shared:
        raise UserError(f"{store.root} is not one folder for all processes; set --out to storage that they share")


def missing(stages: Sequence[Stage], store: Store) -> list[Stage]:
    """The stages that are not done, as the first process sees it."""
    names = processes.lead(lambda: [stage.name for stage in stages if not store.done(stage.name)])
    return [stage for stage in stages if stage.name in names]


def run_stages(stages: Sequence[Stage], session: Session, keep_params: Collection[str] = ()) -> list[Failure]:
    """Makes every stage that is not done. One that fails does not stop the rest; those that need it are not tried.

    Args:
      keep_params: names of the stages whose parameters are kept; those that another stage starts from always are.

    Returns:
      The failures, empty when everything is done.
    """
    crew = _Crew(stages, session, keep_params)
    waiting = False
    while crew.pending:
        crew.give_up_on_orphans()
        worked = [crew.work_on(group) for group in crew.ready()]
        if not any(worked) and crew.pending:
            if not waiting:
                session.reporter.note(f"waiting for another process to finish {len(crew.pending)} stages")
            waiting = True
            time.sleep(WAIT_SECONDS)
    return list(crew.failures.values())


class _Crew:
    """What remains of a list of stages, and what failed.

    Groups are decided by the whole list and not by what remains of it: which texts are read together can change the
    last bits of their features, and a run that was killed must end with the same ones.
    """

    def __init__(self, stages: Sequence[Stage], session: Session, keep_params: Collection[str]) -> None:
        self.pending = {stage.name: stage for stage in stages}
        self.failures: dict[str, Failure] = {}
        self._total, self._session, self._store = len(stages), session, session.store
        self._kept = {*keep_params, *(stage.body.name for stage in stages if stage.body is not None)}
        self._kept |= {stage.name for stage in stages if stage.keeps}
        self._stages = {stage.name: stage for stage in stages}
        self._groups = [[self._stages[name] for name in group] for group in processes.lead(self._names)]

    def _names(self) -> list[list[str]]:
        cut = groups(list(self._stages.values()), self._session.at_once, self._store)
        return [[stage.name for stage in group] for group in cut]

    def give_up_on_orphans(self) -> None:
        for stage in list(self.pending.values()):
            lost = next((need for need in stage.needs if need.name in self.failures), None)
            if lost is not None:
                self.failures[stage.name] = Failure(stage, f"a stage that it needs failed: {lost.title}")
                del self.pending[stage.name]

    def ready(self) -> list[list[Stage]]:
        """The groups of stages of which some are to be made, and all can be."""
        alive = [[stage for stage in group if stage.name not in self.failures] for group in self._groups]
        return [alive[place] for place in processes.lead(lambda: self._ready(alive))]

    def _ready(self, alive: list[list[Stage]]) -> list[int]:
        done = functools.cache(self._store.done)
        return [
            place
            for place, group in enumerate(alive)
            if any(stage.name in self.pending for stage in group)
            and all(need.name not in self.pending and done(need.name) for stage in group for need in stage.needs)
        ]

    def work_on(self, group: list[Stage]) -> bool:
        """Makes of the group what is missing and no other process is making. Whether there was anything."""
        with contextlib.ExitStack() as claims:
            claimed, missing = processes.lead(lambda: self._claim(group, claims))
            if missing:
                todo = [stage for stage in group if stage.name in missing]
                self._make(self._jobs(group, todo) if are_jobs(group) else group, todo)
        for name in claimed:
            self.pending.pop(name, None)
        return bool(claimed)

    def _claim(self, group: list[Stage], claims: contextlib.ExitStack) -> tuple[list[str], list[str]]:
        """The names of those that are now this process's, and of those among them that are not done."""
        pending = [stage for stage in group if stage.name in self.pending]
        claimed = [stage for stage in pending if claims.enter_context(self._store.claim(stage.name))]
        return [stage.name for stage in claimed], [stage.name for stage in claimed if not self._store.done(stage.name)]

    def _jobs(self, group: list[Stage], missing: list[Stage]) -> list[Stage]:
        """The finetunings that train together: those that are missing; all, for their bits, if they began together."""
        began = processes.lead(lambda: self._store.begun(missing[0].name))
        return group if began == [stage.name for stage in group] else missing

    def _make(self, group: list[Stage], missing: list[Stage], tried: int = 0) -> None:
        """Makes a group, and writes what of it is missing.

        Args:
          tried: how many of its stages were made before these, because they failed together.
        """
        first = self._total - len(self.pending) + 1 + tried
        title = f"[{first}/{self._total}] {missing[0].title}"
        if len(missing) > 1:
            last = first + len(missing) - 1
            title = f"[{first}-{last}/{self._total}] {missing[0].title} and {len(missing) - 1} more"
        started = time.monotonic()
        together = [stage.name for stage in group] if len(group) > 1 and are_jobs(group) else []
        processes.lead(lambda: self._store.begin(together))
        try:
            with processes.together(), self._explained(missing[0]):
                with self._session.reporter.stage(title):
                    outcomes = self._session.make(group, self._kept)
                seconds = (time.monotonic() - started) / len(group)
                for stage, outcome in zip(group, outcomes, strict=True):
                    if isinstance(outcome, UserError):
                        self._fail(stage, stage.title, outcome)
                    elif stage in missing:
                        self._write(stage, outcome, seconds)
        except UserError as error:
            if len(group) == 1:
                self._fail(group[0], title, error)
                return
            # One of them may have spoiled it for the others; or together they are too large.
            processes.lead(lambda: self._store.end(together))
            size = max(1, len(missing) // 2) if isinstance(error, OutOfMemoryError) and together else 1
            for place in range(0, len(missing), size):
                part = missing[place : place + size]
                self._make(part, part, tried + place)
            return
        processes.lead(lambda: self._store.end(together))
        shares = [each.padding_share for each in outcomes if isinstance(each, Outcome)]
        share = shares[0] if shares else None
        padding = "" if share is None else f", {share:.0%} of positions were padding"
        self._session.reporter.note(f"{title}: done in {time.monotonic() - started:.0f} s{padding}")

    def _fail(self, stage: Stage, title: str, error: UserError) -> None:
        self.failures[stage.name] = Failure(stage, str(error))
        self._session.reporter.note(f"{title}: failed: {error}")

    @contextlib.contextmanager
    def _explained(self, stage: Stage) -> Iterator[None]:
        """Turns an unexpected error into one line; its last lines are kept in the stage's folder.

        Raises:
          UserError: with that line.
        """
        try:
            yield
        except (UserError, Interrupted, processes.LostError):
            raise
        except Exception as error:
            lines = "".join(traceback.format_exception(error)).splitlines()
            path = self._store.failed(stage.name)
            files.write_text(path, "\n".join(lines[-LAST_LINES:]) + "\n")
            first = (str(error).strip().splitlines() or [""])[0]
            advice = advice_for(error)
            kind = UserError if advice is None else OutOfMemoryError
            reason = advice or f"{type(error).__name__}: {first}"
            raise kind(f"{reason} (its last lines are in {path})") from error

    def _write(self, stage: Stage, outcome: Outcome, seconds: float) -> None:
        made = provenance.made() | {"seconds": round(seconds, 3), "padding_share": outcome.padding_share}
        made["origins"] = origins.facts(stage)
        made["read"] = {need.name: self._store.predictions_hash(need.name) for need in stage.needs}
        params = outcome.params if stage.name in self._kept else None
        self._store.write(stage.name, _predictions(stage, outcome), outcome.history, stage.identity, made, params)
        telling.whole(self._session.reporter.trackers, stage.name, outcome.history)  # probes report none as they go


def groups(stages: Sequence[Stage], at_once: Callable[[Stage], int], store: Store) -> list[list[Stage]]:
    """Stages that are made together: of one group and one depth in the graph, in the order of the list.

    Of finetunings, those that began together stay together, and those that are done by now fill no place.

    Args:
      at_once: how many jobs like a stage train together, at most.
    """
    depth: dict[str, int] = {}
    found: dict[Hashable, list[Stage]] = {}
    for stage in stages:
        depth[stage.name] = 1 + max((depth[need.name] for need in stage.needs if need.name in depth), default=0)
        group = stage.group
        found.setdefault((depth[stage.name], stage.name if group is None else group), []).append(stage)
    cut = []
    for alike in found.values():
        parts, most = [alike], AT_ONCE
        if are_jobs(alike):
            parts, most = _begun(alike, store), at_once(alike[0])
        cut += [part[at : at + most] for part in parts[-1:] for at in range(0, len(part), most)] + parts[:-1]
    return cut


def _begun(alike: list[Stage], store: Store) -> list[list[Stage]]:
    """Finetunings as they began together, those that are done, and, last, the others."""
    by_name = {stage.name: stage for stage in alike}
    parts = []
    for stage in alike:
        together = store.begun(stage.name)
        if stage.name in by_name and together and all(name in by_name for name in together):
            parts.append([by_name.pop(name) for name in together])
    rest = list(by_name.values())
    done = [stage for stage in rest if store.done(stage.name)]
    return [*parts, *([done] if done else []), [stage for stage in rest if stage not in done]]


def are_jobs(stages: Sequence[Stage]) -> bool:
    """Whether a group is of finetunings."""
    group = stages[0].group
    return group is not None and group.jobs


def _predictions(stage: Stage, outcome: Outcome) -> Predictions:
    splits = stage.shown.predict
    if not splits:
        nothing = np.zeros((0, 2), np.float32)
        return Predictions([], [], nothing, nothing)
    ids = [identifier for split in splits.values() for identifier in split.ids]
    names = [name for name, split in splits.items() for _ in split.ids]
    logits = np.concatenate([outcome.logits[name] for name in splits])
    return Predictions(ids, names, softmax(logits), logits)
