"""The statistics of one kind of participants and of the models, all estimated together, and what they say."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from w2s_jax.data.answers import NO_CHOICE, Answer, ModelAnswer
from w2s_jax.metrics import PGR, Interval, bounded
from w2s_jax.metrics.crossed import NOBODY, Sample, constant, crossed
from w2s_jax.metrics.estimates import SAME, Estimates
from w2s_jax.metrics.intervals import certain, interval
from w2s_jax.metrics.performance_gap import pgr_from
from w2s_jax.study import statistics
from w2s_jax.study.design import Design
from w2s_jax.study.found import Kind, Pace, Recovered, Reliance, Row, Sandwich, Told
from w2s_jax.study.statistics import Columns, Numbers

LEVEL = 0.95
QUARTERS = 4  # of a session, whose accuracies are listed


class Name(NamedTuple):
    """Of a statistic: what it is, and of which condition or model."""

    what: str
    of: str


@dataclass(frozen=True)
class Measured:
    """The statistics of one kind of participants, and of the models, all estimated together."""

    played: str
    design: Design
    conditions: Mapping[str, Columns]
    votes: Mapping[str, statistics.Vote]
    alone: Mapping[str, statistics.Alone]
    place: Mapping[Name, int]
    units: Mapping[Name, int]
    found: Estimates

    @classmethod
    def of(
        cls,
        played: str,
        answers: Sequence[Answer],
        models: Sequence[ModelAnswer],
        key: Mapping[str, int],
        design: Design,
        numbers: Numbers,
        draws: int,
    ) -> "Measured":
        names = sorted({answer.condition for answer in answers}, key=lambda name: (name != design.unassisted, name))
        conditions = {
            name: statistics.columns([a for a in answers if a.condition == name], key, numbers) for name in names
        }
        votes = {name: statistics.vote(rows) for name, rows in conditions.items()}
        votes = {name: each for name, each in votes.items() if each.most > 1}
        arms = dict.fromkeys(each.arm for each in models)
        alone = {arm: statistics.alone([m for m in models if m.arm == arm], key, numbers) for arm in arms}
        samples = dict(_samples(conditions, votes, alone, design))
        inside = sorted({int(each) for rows in conditions.values() for each in rows.participant})
        among = {number: place for place, number in enumerate(inside)}
        samples = {name: _renumbered(sample, among) for name, sample in samples.items()}
        found = crossed(list(samples.values()), _kinds(conditions, inside), draws=draws)
        place = {name: number for number, name in enumerate(samples)}
        units = {name: len(np.unique(sample.group)) for name, sample in samples.items()}
        return cls(played, design, conditions, votes, alone, place, units, found)

    def people(self) -> Iterator[Row]:
        for name, rows in self.conditions.items():
            kind: Kind = "unassisted" if name == self.design.unassisted else "assisted"
            given, people = rows.given, len(np.unique(rows.participant))
            plain = Row(
                name=name,
                kind=kind,
                played=self.played,
                vote=False,
                accuracy=self._share("accuracy", name),
                calibration=self._if_there("calibration", name),
                confidence=float(given.confidence.mean()) if len(given.choice) else None,
                participants=people,
                questions=len(np.unique(rows.question)),
                answers=len(rows.choice),
                timeouts=len(rows.choice) - len(given.choice),
                ties=0,
                over=self.found.over if people > 1 else "questions",
                theirs=kind,
            )
            yield plain
            if name in self.votes:
                yield dataclasses.replace(
                    plain,
                    vote=True,
                    accuracy=self._share("vote accuracy", name),
                    calibration=self._share("vote calibration", name),
                    confidence=None,
                    ties=self.votes[name].ties,
                    theirs=f"{kind}, weighted vote",
                )

    def models(self) -> Iterator[Row]:
        for arm, said in self.alone.items():
            scores = self._share("model accuracy", arm), self._share("model calibration", arm)
            count = said.questions
            yield Row(arm, "model", "", False, *scores, said.confidence, 0, count, count, 0, 0, "questions", arm)

    def expert(self) -> Iterator[Row]:
        if self.design.expert is not None:
            at = Interval(*[self.design.expert] * 3)
            yield Row("expert", "expert", "", False, at, None, None, 0, 0, 0, 0, 0, "nothing", "expert")

    def recovered(self) -> Iterator[Recovered]:
        if self.design.unassisted not in self.conditions:
            return
        alone = self.place[Name("accuracy", self.design.unassisted)]
        for name in self.conditions:
            if name == self.design.unassisted:
                continue
            mine = self.place[Name("accuracy", name)]
            gain = self._difference(mine, alone)
            yield Recovered(name, self.played, self._recovered(alone, mine), gain)

    def _recovered(self, alone: int, mine: int) -> PGR:
        if self.design.expert is None:
            return PGR(None, None, None, "no expert's accuracy is known")
        expert = self.place[Name("expert", "expert")]
        gap = self._difference(expert, alone)
        share = bounded(
            pgr_from(self.found.of([alone, mine, expert]), LEVEL, between="expert and unassisted participants")
        )
        if gap.low <= 0 and share.value is not None:  # nothing varies, but so few questions say nothing
            reason = f"too few answers to tell expert and unassisted participants apart: gap {gap.value:.3f}"
            return PGR(None, None, None, reason)
        return share

    def sandwiches(self) -> Iterator[Sandwich]:
        if self.design.unassisted not in self.conditions:
            return
        alone = self.place[Name("accuracy", self.design.unassisted)]
        for arm in self.alone:
            model = self.place[Name("model accuracy", arm)]
            below = self._difference(model, alone)
            above = None
            if self.design.expert is not None:
                above = self._difference(self.place[Name("expert", "expert")], model)
            yield Sandwich(arm, self.played, below, above, _told(below, above))

    def reliance(self) -> Iterator[Reliance]:
        for name, rows in self.conditions.items():
            known = rows.suggested != NO_CHOICE
            if not known.any():
                continue
            yield Reliance(
                name,
                self.played,
                int(known.sum()),
                int((~known).sum()),
                self._share("suggestions", name),
                self._if_there("where right", name),
                self._if_there("where wrong", name),
                self._if_there("followed wrong", name),
                self._share("appropriate", name),
            )

    def pace(self) -> Iterator[Pace]:
        for name, rows in self.conditions.items():
            slope = self.place.get(Name("slope", name))
            learning = None if slope is None else Interval(*(10 * end for end in self._interval(slope)))
            yield Pace(
                name,
                self.played,
                self._at_least_0("seconds", name),
                float(np.median(rows.seconds)),
                self._at_least_0("turns", name),
                float(rows.changes.mean()),
                learning,
                tuple(_quarters(rows)),
            )

    def _interval(self, place: int) -> Interval:
        return interval(self.found, np.eye(len(self.place))[place], LEVEL)

    def _share(self, what: str, of: str) -> Interval:
        """Of something between 0 and 1."""
        name = Name(what, of)
        value, low, high = self._interval(self.place[name])
        if self.units[name] and high - low < 10**-SAME and min(value, 1 - value) < 10**-SAME:
            return certain(round(value), self.units[name], LEVEL)
        return Interval(value, max(low, 0.0), min(high, 1.0))

    def _if_there(self, what: str, of: str) -> Interval | None:
        return self._share(what, of) if Name(what, of) in self.place else None

    def _at_least_0(self, what: str, of: str) -> Interval:
        value, low, high = self._interval(self.place[Name(what, of)])
        return Interval(value, max(low, 0.0), high)

    def _difference(self, a: int, b: int) -> Interval:
        """Of two accuracies. Where neither varies in the sample, it is as far as the ends of both allow."""
        weights = np.zeros(len(self.place))
        weights[a], weights[b] = 1.0, -1.0
        found = interval(self.found, weights, LEVEL)
        if found.high - found.low > 10**-SAME:
            return found
        names = {place: name for name, place in self.place.items()}
        ours, theirs = (self._share(*names[each]) for each in (a, b))
        down = float(np.hypot(ours.value - ours.low, theirs.high - theirs.value))
        up = float(np.hypot(ours.high - ours.value, theirs.value - theirs.low))
        return Interval(found.value, found.value - down, found.value + up)


def _samples(
    conditions: Mapping[str, Columns],
    votes: Mapping[str, statistics.Vote],
    alone: Mapping[str, statistics.Alone],
    design: Design,
) -> Iterator[tuple[Name, Sample]]:
    """Every statistic that has something to be made of."""
    for name, rows in conditions.items():
        yield Name("accuracy", name), statistics.mean(rows, rows.right)
        if len(rows.given.choice):
            yield Name("calibration", name), statistics.calibration(rows)
        yield Name("seconds", name), statistics.mean(rows, rows.seconds)
        yield Name("turns", name), statistics.mean(rows, rows.turns)
        if len(np.unique(rows.position)) > 1:
            yield Name("slope", name), statistics.slope(rows)
        if name in votes:
            yield Name("vote accuracy", name), votes[name].accuracy
            yield Name("vote calibration", name), votes[name].calibration
        known = rows.take(rows.suggested != NO_CHOICE)
        if len(known.choice):
            right, follows = known.suggested == known.label, known.choice == known.suggested
            yield Name("suggestions", name), statistics.mean(known, right.astype(float))
            yield Name("appropriate", name), statistics.mean(known, (follows == right).astype(float))
            for what, among, value in (
                ("where right", right, known.right),
                ("where wrong", ~right, known.right),
                ("followed wrong", ~right, follows.astype(float)),
            ):
                if among.any():
                    yield Name(what, name), statistics.mean(known.take(among), value[among])
    for arm, said in alone.items():
        yield Name("model accuracy", arm), said.accuracy
        yield Name("model calibration", arm), said.calibration
    if design.expert is not None:
        yield Name("expert", "expert"), constant(design.expert)


def _renumbered(sample: Sample, among: Mapping[int, int]) -> Sample:
    """With participants numbered among those of their kind; nobody stays nobody."""
    return sample._replace(participant=np.array([among.get(int(each), NOBODY) for each in sample.participant], int))


def _kinds(conditions: Mapping[str, Columns], inside: Sequence[int]) -> np.ndarray:
    """The number of every participant's kind: those who did the same conditions.

    Somebody who is alone of a kind, as who left early is, counts to the largest kind that shares a condition.
    """
    did = {
        number: frozenset(name for name, rows in conditions.items() if number in rows.participant) for number in inside
    }
    sizes: dict[frozenset[str], int] = {}
    for each in did.values():
        sizes[each] = sizes.get(each, 0) + 1
    for number, mine in did.items():
        shared = [other for other, size in sizes.items() if size > 1 and other & mine]
        if sizes[mine] == 1 and shared:
            did[number] = max(shared, key=lambda other: (sizes[other], sorted(other)))
    order = {kind: place for place, kind in enumerate(dict.fromkeys(did.values()))}
    return np.array([order[did[number]] for number in inside])


def _told(below: Interval, above: Interval | None) -> Told:
    if below.high < 0 or (above is not None and above.high < 0):
        return "no"
    if above is None:
        return "not known"
    return "yes" if below.low > 0 and above.low > 0 else "not told apart"


def _quarters(rows: Columns) -> Iterator[tuple[int, int, float, int]]:
    edges = np.linspace(0, rows.position.max() + 1, QUARTERS + 1).round().astype(int)
    for first, end in itertools.pairwise(edges):
        here = (rows.position >= first) & (rows.position < end)
        if here.any():
            yield int(first), int(end) - 1, float(rows.right[here].mean()), int(here.sum())
