"""Coverage of intervals and uniformity of p-values, from simulated experiments whose truth is known.

In an experiment supervisor, student, ceiling and a second student answer test examples of two classes. What makes an
example hard is shared by all models in part; every seed moves a model's accuracy with a given standard deviation.
Seeds are tested on the same examples, on examples of their own, or on draws that overlap (1,000 of 2,000, say), and
examples come alone or in groups of four that are alike.

For each setting the table says how often a 95% interval holds the truth, of the gap, of PGR (where it is defined), of
the difference of two students and of the difference of two PGRs with ceilings of their own; and of two equal students
how often p is below .05, and the p-value of a Kolmogorov-Smirnov test of "p is uniform".

Command:  python benchmarks/coverage.py                       # the whole table: half an hour on one core
          python benchmarks/coverage.py --runs 200 --quick    # a corner of it, in a minute
"""

import argparse
import itertools
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from w2s_jax import metrics
from w2s_jax.metrics import Triple

DEVIATIONS = (0.005, 0.013, 0.027, 0.045, 0.067)  # .045 is what the quickstart's students show
SEEDS = (3, 5, 10, 16)
COLUMNS = ("SD", "examples", "groups of", "gap", "seeds", "gap covered", "PGR defined", "covered", "difference covered")
COLUMNS += ("PGR difference defined", "covered", "p < .05", "KS p")
SHARED, ALIKE = 0.4, 0.2  # parts of the variance of "is it answered right": of the example, of example and model
OVERLAP = 2  # pools are so many times as large as a seed's draw from them


@dataclass(frozen=True)
class Setting:
    """One row: a kind of experiment.

    Attributes:
      deviation: of accuracy over seeds, of every model.
      seeds: how many.
      examples: of seeds: `shared`, `apart`, `overlapping`.
      group: how many examples are alike.
      gap: accuracy of the ceiling, .86, less that of the supervisor.
      n: test examples of a seed.
    """

    deviation: float
    seeds: int
    examples: str = "shared"
    group: int = 1
    gap: float = 0.16
    n: int = 500

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Of supervisor, student, ceiling, a second student as good as the first, and a second ceiling."""
        weak = 0.86 - self.gap
        return weak, weak + 0.4 * self.gap, weak + self.gap, weak + 0.4 * self.gap, weak + 1.25 * self.gap


def simulate(setting: Setting, rng: np.random.Generator) -> tuple[list[Triple], list[Triple]]:
    """Two methods' triples: one supervisor, two students, and two ceilings."""
    groups = setting.n // setting.group
    pool = groups * {"shared": 1, "apart": setting.seeds, "overlapping": OVERLAP}[setting.examples]
    quantiles = stats.norm.ppf(setting.accuracies)
    moved = setting.deviation / stats.norm.pdf(quantiles)
    centre = quantiles * np.sqrt(1 + moved**2)  # so that the mean over seeds is the accuracy that was asked for
    skill = centre + moved * rng.normal(size=(setting.seeds, len(quantiles)))
    shape = (len(quantiles), pool)
    easy = np.sqrt(SHARED) * rng.normal(size=pool) + np.sqrt(ALIKE) * rng.normal(size=shape)
    found: tuple[list[Triple], list[Triple]] = ([], [])
    for seed in range(setting.seeds):
        drawn = {
            "shared": np.arange(groups),
            "apart": np.arange(groups) + seed * groups,
            "overlapping": rng.permutation(pool)[:groups],
        }[setting.examples]
        rows = np.repeat(drawn, setting.group)
        noise = np.sqrt(1 - SHARED - ALIKE) * rng.normal(size=(len(quantiles), len(rows)))
        right = skill[seed][:, None] + easy[:, rows] + noise > 0
        labels = rng.integers(0, 2, len(rows))
        answers = np.eye(2)[np.where(right, labels, 1 - labels)]
        weak, student, ceiling, second, higher = answers
        found[0].append(Triple(weak, student, ceiling, labels, rows))
        found[1].append(Triple(weak, second, higher, labels, rows))
    return found


def one(setting: Setting, run: int) -> list[float]:
    """What one experiment shows: NaN where it is undefined."""
    a, b = simulate(setting, np.random.default_rng([run, zlib.crc32(repr(setting).encode())]))
    weak, student, ceiling, _, higher = setting.accuracies
    found = metrics.pgr(a)
    assert found.gap is not None
    difference, pgrs = metrics.paired_difference(a, b), metrics.paired_pgr(a, b)
    true = (student - weak) / (ceiling - weak), (student - weak) / (ceiling - weak) - (student - weak) / (higher - weak)
    return [
        found.gap.low <= setting.gap <= found.gap.high,
        _covered(found, true[0]),
        _covered(difference, 0.0),
        _covered(pgrs, true[1]),
        np.nan if difference.p is None else difference.p,
    ]


def _covered(found: metrics.PGR | metrics.PairedDifference, true: float) -> float:
    if found.value is None or found.low is None or found.high is None:
        return float("nan")
    return float(found.low <= true <= found.high)


def row(setting: Setting, runs: int) -> list[str]:
    """The setting's row of the table."""
    gap, pgr, difference, pgrs, p = np.array([one(setting, run) for run in range(runs)], np.float64).T
    kept = p[np.isfinite(p)]
    words = [f"{setting.deviation:.3f}", setting.examples, f"{setting.group}", f"{setting.gap:.2f}", f"{setting.seeds}"]
    return [
        *words,
        f"{gap.mean():.3f}",
        *_share(pgr),
        f"{difference.mean():.3f}",
        *_share(pgrs),
        f"{np.mean(kept < 0.05):.3f}" if len(kept) else "no p",
        f"{stats.kstest(kept, 'uniform').pvalue:.3f}" if len(kept) else "",
    ]


def _share(covered: np.ndarray) -> tuple[str, str]:
    defined = np.isfinite(covered)
    return f"{defined.mean():.2f}", f"{covered[defined].mean():.3f}" if defined.sum() >= 100 else "-"


def settings(quick: bool) -> Iterator[Setting]:
    """The rows of the table."""
    if quick:
        yield from (Setting(0.045, seeds) for seeds in (1, 3, 5))
        return
    for seeds in SEEDS:
        yield from (Setting(deviation, seeds) for deviation in DEVIATIONS)
        pairs = itertools.product((0.027, 0.067), ("apart", "overlapping"))
        yield from (Setting(deviation, seeds, examples) for deviation, examples in pairs)
        if seeds <= 5:
            yield from (Setting(0.027, seeds, gap=gap) for gap in (0.04, 0.08, 0.3))
            yield from (Setting(0.027, seeds, examples, group=4) for examples in ("shared", "apart"))
    yield from (Setting(deviation, 1) for deviation in (0.005, 0.027))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="experiments for each row")
    parser.add_argument("--quick", action="store_true", help="three rows")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    options = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n" + "| --- " * len(COLUMNS) + "|", flush=True)
    with ProcessPoolExecutor(options.workers) as pool:
        for found in pool.map(partial(row, runs=options.runs), settings(options.quick)):
            print("| " + " | ".join(found) + " |", flush=True)


if __name__ == "__main__":
    main()
