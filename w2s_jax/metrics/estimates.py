"""Means over seeds of several models, with the covariance of their errors: what intervals and p-values are made of.

Two things are drawn by chance, seeds and test examples, and seeds may share examples. The mean over S seeds of a
statistic t_s has the variance

    Var(t_s) / S  +  the mean over pairs of seeds of their covariance

less that covariance / S, of which the sample variance over seeds is already free. So, without bias,

    V = s^2 / S + c,    c = sum over pairs of seeds r != s, and groups g of test examples, of u_rg u_sg / (S (S - 1))

with s^2 the sample variance over seeds and u_sg the influence of group g on t_s (see `influence`). It is the variance
clustered by seeds and by examples (Cameron, Gelbach & Miller 2011), corrected for few seeds. Where seeds have test
examples of their own, c is 0. One seed says nothing of other seeds: V is then `sum_g u_g^2 G / (G - 1)`, over examples.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.metrics.influence import STATISTICS, Measured, Statistic

# What an interval is over: all that was drawn by chance, or only one of the two.
Over = Literal["seeds and examples", "examples", "seeds", "participants and questions", "questions"]
SAME = 12  # decimals: two scores that differ by less are equal, and the difference is rounding


class Part(NamedTuple):
    """A part of the covariance of the models' means [M, M], and the degrees of freedom that it was estimated with."""

    covariance: Float[np.ndarray, "m m"]
    freedom: float


class Linear(NamedTuple):
    """Linear combinations of the means [K]: their values, variances and degrees of freedom."""

    value: Float[np.ndarray, " k"]
    variance: Float[np.ndarray, " k"]
    freedom: Float[np.ndarray, " k"]


class Estimates(NamedTuple):
    """Means over seeds of M models [M], and their errors.

    Attributes:
      parts: the parts of their covariance.
      examples: their covariance by test examples alone, none of which is shared, for where the parts add up to 0: a few
        seeds that are exactly equal by chance must not look certain.
      units: how many independent things there are to draw: groups of test examples, or seeds.
      over: what is drawn.
      least: the share of the variance by examples below which their sum counts as that variance: 1 where parts are
        differences, whose estimates may be far too small; else what is only rounding.
    """

    values: Float[np.ndarray, " m"]
    parts: tuple[Part, ...]
    examples: Part
    units: int
    over: Over
    least: float = 1e-9

    def of(self, models: Sequence[int]) -> "Estimates":
        """Those of some of the models, in this order; one may be taken several times."""
        rows = np.asarray(models)

        def among(part: Part) -> Part:
            return Part(part.covariance[np.ix_(rows, rows)], part.freedom)

        return self._replace(
            values=self.values[rows], parts=tuple(map(among, self.parts)), examples=among(self.examples)
        )

    def linear(self, weights: Float[np.ndarray, "k m"]) -> Linear:
        """Combinations of the means.

        Degrees of freedom are `1 / sum_i (share_i / f_i)`, with share_i the i-th part's share of the variance.
        Satterthwaite has share_i^2, with which intervals over three seeds cover too little: .922 at worst, where these
        cover .942 to .963, whatever the shares (by integration; docs/results/coverage.md has simulations).
        """
        each = [_variance(weights, part.covariance) for part in self.parts]
        alone = _variance(weights, self.examples.covariance)
        known = np.sum(each, axis=0)
        each.append(np.where(known < self.least * alone, alone - known, 0.0))
        variance = np.sum(each, axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = [np.where(variance > 0, one / variance, 0.0) for one in each]
            inverse = np.sum([s / p.freedom for s, p in zip(shares, (*self.parts, self.examples), strict=True)], axis=0)
            freedom = 1 / np.asarray(inverse, np.float64)
        return Linear(weights @ self.values, variance, freedom)


def _variance(weights: Float[np.ndarray, "k m"], covariance: Float[np.ndarray, "m m"]) -> Float[np.ndarray, " k"]:
    """`w C w`, at least 0; what is only rounding, where models are the same, is 0."""
    absolute = np.abs(weights)
    found = ((weights @ covariance) * weights).sum(axis=1)
    size = ((absolute @ np.abs(covariance)) * absolute).sum(axis=1)
    return np.where(found > 1e-12 * size, found, 0.0)


def estimate(
    models: Sequence[Sequence[np.ndarray]], tests: Sequence[tuple[np.ndarray, np.ndarray]], statistic: Statistic
) -> Estimates:
    """The mean over seeds of each model, paired: the same seeds and test examples for all.

    Args:
      models: of each model its probabilities [N, C] for each seed.
      tests: for each seed the labels [N] and the groups [N] of its test examples. A group is drawn as a whole, and the
        same group in two seeds is the same draw.
    """
    measure = STATISTICS[statistic]
    each = [[measure(probs, labels) for probs, (labels, _) in zip(model, tests, strict=True)] for model in models]
    members, n_groups = _members([groups for _, groups in tests])
    values = np.array([[one.value for one in model] for model in each])
    seeds = len(tests)
    total = np.zeros((len(models), n_groups))
    apart = np.zeros((len(models), len(models)))  # what products within one seed add to the products of totals
    seen = np.zeros(n_groups, np.int64)
    for place, member in enumerate(members):
        names, grouped = _by_group([model[place] for model in each], member)
        total[:, names] += grouped
        apart += grouped @ grouped.T
        seen[names] += 1
    free = max(n_groups - 1, 1)
    examples = Part(apart / seeds**2 * n_groups / free, free)
    if seeds == 1:
        return Estimates(values[:, 0], (examples,), examples, n_groups, "examples")
    parts = [Part(np.atleast_2d(np.cov(values)) / seeds, seeds - 1)]
    shared = int((seen > 1).sum())
    if shared:
        freedom = max(shared - 1, 1)
        parts.append(Part((total @ total.T - apart) / (seeds * (seeds - 1)) * shared / freedom, freedom))
    return Estimates(values.mean(axis=1), tuple(parts), examples, n_groups, "seeds and examples")


def by_seed(
    model: Sequence[np.ndarray], tests: Sequence[tuple[np.ndarray, np.ndarray]], statistic: Statistic
) -> Float[np.ndarray, " s"]:
    """The statistic of one model for each seed."""
    measure = STATISTICS[statistic]
    return np.array([measure(probs, labels).value for probs, (labels, _) in zip(model, tests, strict=True)])


def of_seeds(models: Sequence[np.ndarray]) -> Estimates:
    """The mean over seeds of each model, each with seeds of its own [S], from the statistic of every seed alone.

    A model of one seed has no error here: it is taken as it is.
    """
    parts = []
    for place, values in enumerate(models):
        covariance = np.zeros((len(models), len(models)))
        if len(values) > 1:
            covariance[place, place] = np.var(values, ddof=1) / len(values)
        parts.append(Part(covariance, max(len(values) - 1, 1)))
    means = np.array([np.mean(values) for values in models])
    nothing = Part(np.zeros((len(models), len(models))), 1)
    return Estimates(means, tuple(parts), nothing, sum(map(len, models)), "seeds")


def _members(groups: Sequence[np.ndarray]) -> tuple[list[np.ndarray], int]:
    """The number of every example's group, for each seed, and how many groups there are in all seeds together."""
    names, index = np.unique(np.concatenate(groups), return_inverse=True)
    return np.split(index, np.cumsum([len(each) for each in groups])[:-1]), len(names)


def _by_group(
    models: Sequence[Measured], member: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " g"], Float[np.ndarray, "m g"]]:
    """The groups of one seed, and the influence of each on every model."""
    names, place = np.unique(member, return_inverse=True)
    return names, np.stack([np.bincount(place, one.influence, minlength=len(names)) for one in models])
