"""The three models of one comparison on the same test examples: what PGR and paired tests are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_jax.metrics import base
from w2s_jax.metrics.base import Groups, Labels, Probs
from w2s_jax.runtime.errors import UserError

ROLES = ("supervisor", "student", "ceiling")


@dataclass(frozen=True, eq=False)
class Triple:
    """What supervisor, student and ceiling predict for the same test examples, for one seed.

    Attributes:
      supervisor, student, ceiling: probabilities [N, C].
      labels: ground truth [N].
      groups: [N], which examples belong together (the answers of one question) and are drawn together. The same
        group in two seeds is the same question. None: every example is its own group, example i the same in all seeds.
    """

    supervisor: Probs
    student: Probs
    ceiling: Probs
    labels: Labels
    groups: Groups | None = None

    def __post_init__(self) -> None:
        for probs in (self.supervisor, self.student, self.ceiling):
            base.check(probs, self.labels)
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise UserError(f"{len(self.groups)} groups for {len(self.labels)} labels; there must be one for each")


def tested_on(triples: Sequence[Triple]) -> list[tuple[Labels, Groups]]:
    """Labels and groups of each seed's test examples, as `estimate` takes them."""
    return [(triple.labels, groups_of(triple)) for triple in triples]


def groups_of(triple: Triple) -> Groups:
    """The group of every example."""
    return np.arange(len(triple.labels)) if triple.groups is None else triple.groups


def check(triples: Sequence[Triple], level: float) -> None:
    """Refuses what gives no interval.

    Raises:
      UserError: there are no triples, or `level` is not in (0, 1).
    """
    if not triples:
        raise UserError("there is nothing to measure: want a triple for each seed")
    if not 0 < level < 1:
        raise UserError(f"level must be between 0 and 1, not {level:g}")


def check_pair(a: Sequence[Triple], b: Sequence[Triple], level: float) -> None:
    """Refuses what cannot be compared in pairs.

    Raises:
      UserError: as `check`, or the two are not of the same seeds and test examples.
    """
    check(a, level)
    if len(a) != len(b):
        raise UserError(f"{len(a)} seeds against {len(b)}; a paired comparison needs the same seeds")
    for ours, theirs in zip(a, b, strict=True):
        if not (np.array_equal(ours.labels, theirs.labels) and np.array_equal(groups_of(ours), groups_of(theirs))):
            raise UserError("the two methods were tested on different examples; a paired comparison needs the same")
