"""The three models of one comparison on the same test examples: what PGR and paired tests are computed from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2s_jax.metrics.base import Groups, Labels, Probs, check
from w2s_jax.metrics.resampling import Bootstrap
from w2s_jax.runtime.errors import UserError

ROLES = ("supervisor", "student", "ceiling")


@dataclass(frozen=True, eq=False)
class Triple:
    """What supervisor, student and ceiling predict for the same test examples, for one seed.

    Attributes:
      supervisor, student, ceiling: probabilities [N, C].
      labels: ground truth [N].
      groups: [N], which examples belong together (the answers of one question) and are resampled together. The same
        group in two seeds is the same question. None: every example is its own group, example i the same in all seeds.
    """

    supervisor: Probs
    student: Probs
    ceiling: Probs
    labels: Labels
    groups: Groups | None = None

    def __post_init__(self) -> None:
        for probs in (self.supervisor, self.student, self.ceiling):
            check(probs, self.labels)
        if self.groups is not None and len(self.groups) != len(self.labels):
            raise UserError(f"{len(self.groups)} groups for {len(self.labels)} labels; there must be one for each")


def tested_on(triples: Sequence[Triple]) -> list[tuple[Labels, Groups]]:
    """Labels and groups of each seed's test examples, as `Bootstrap` takes them."""
    return [(triple.labels, groups_of(triple)) for triple in triples]


def groups_of(triple: Triple) -> Groups:
    """The group of every example."""
    return np.arange(len(triple.labels)) if triple.groups is None else triple.groups


def resampled(
    triples: Sequence[Triple], level: float, resamples: int, seed: int, bootstrap: Bootstrap | None
) -> Bootstrap:
    """Resamples of the triples' test examples: those given, or new ones.

    Raises:
      UserError: there are no triples, `level` is not in (0, 1), or the resamples are of other examples.
    """
    if not triples:
        raise UserError("there is nothing to resample: want a triple for each seed")
    if not 0 < level < 1:
        raise UserError(f"level must be between 0 and 1, not {level:g}")
    if bootstrap is None:
        return Bootstrap(tested_on(triples), resamples, seed)
    if not bootstrap.fits(tested_on(triples)):
        raise UserError("the resamples were drawn for other test examples")
    return bootstrap


def resampled_pair(
    a: Sequence[Triple], b: Sequence[Triple], level: float, resamples: int, seed: int, bootstrap: Bootstrap | None
) -> Bootstrap:
    """Resamples that serve both.

    Raises:
      UserError: as `resampled`, or the two are not of the same seeds and test examples.
    """
    both = resampled(a, level, resamples, seed, bootstrap)
    if len(a) != len(b):
        raise UserError(f"{len(a)} seeds against {len(b)}; a paired comparison needs the same seeds")
    for ours, theirs in zip(a, b, strict=True):
        if not (np.array_equal(ours.labels, theirs.labels) and np.array_equal(groups_of(ours), groups_of(theirs))):
            raise UserError("the two methods were tested on different examples; a paired comparison needs the same")
    return both
