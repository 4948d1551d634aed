"""Coverage and width of a study's intervals, from simulated studies whose truth is known.

Participants differ in skill and questions in ease, both normal on the probit scale; what is left is an answer's luck.
Everybody answers so many questions alone and as many, others, with an assistant. Three things are measured: how often
a 95% interval holds the truth, and how wide it is on average, of the assisted accuracy, of assisted - unassisted, and
of the accuracy of the weighted vote. The last two columns are of the percentile bootstrap that resamples participants
and questions at once, of the assisted accuracy, for comparison.

Command:  python benchmarks/study_coverage.py            # two minutes on one core
"""

import argparse
from typing import NamedTuple

import numpy as np
from scipy import stats

from w2s_jax.metrics.crossed import crossed
from w2s_jax.metrics.intervals import interval
from w2s_jax.report.table import markdown_table
from w2s_jax.study import statistics
from w2s_jax.study.statistics import Columns

ALONE, ASSISTED, CHOICES = 0.1, 0.8, 4  # probit of the average accuracies: .54 and .76 where nobody differs
DRAWS, TRUTH = 300, 400  # resamples of an interval; simulated studies for the truth of the vote
COLUMNS = ("participants", "questions", "each", "SD of people", "of questions", "accuracy covered", "width")
COLUMNS += ("difference covered", "width", "vote covered", "width", "percentiles covered", "width")


class Setting(NamedTuple):
    """A kind of study: `each` is how many questions a participant answers under each of the two conditions."""

    participants: int
    questions: int
    each: int
    people: float
    ease: float


SETTINGS = (
    Setting(5, 100, 40, 0.0, 0.8),
    Setting(5, 100, 40, 0.3, 0.8),
    Setting(5, 100, 40, 0.8, 0.3),
    Setting(10, 100, 20, 0.3, 0.8),
    Setting(20, 100, 20, 0.3, 0.8),
    Setting(20, 40, 20, 0.5, 0.5),
    Setting(40, 100, 20, 0.3, 0.8),
)


def drawn(setting: Setting, rng: np.random.Generator) -> tuple[Columns, Columns]:
    """The answers of a study, alone and assisted."""
    skill = rng.normal(0, setting.people, setting.participants)
    ease = rng.normal(0, setting.ease, setting.questions)
    orders = [rng.permutation(setting.questions)[: 2 * setting.each] for _ in range(setting.participants)]
    return tuple(  # type: ignore[return-value]
        _answers(setting, rng, [order[half::2] for order in orders], level + ease, skill)
        for half, level in enumerate((ALONE, ASSISTED))
    )


def _answers(
    setting: Setting, rng: np.random.Generator, asked: list[np.ndarray], ease: np.ndarray, skill: np.ndarray
) -> Columns:
    person, question = np.repeat(np.arange(setting.participants), setting.each), np.concatenate(asked)
    right = ease[question] + skill[person] + rng.normal(size=len(person)) > 0
    choice = np.where(right, 0, rng.integers(1, CHOICES, len(person)))
    sure = np.where(right, rng.uniform(0.4, 1, len(person)), rng.uniform(0.25, 0.9, len(person)))
    nothing = np.zeros(len(person))
    return Columns(
        *(person, question, question, nothing.astype(int), np.full(len(person), CHOICES), choice, sure),
        *(nothing, nothing, nothing, np.full(len(person), -1), nothing.astype(int), right.astype(float)),
    )


def percentiles(rows: Columns, setting: Setting, rng: np.random.Generator) -> tuple[float, float]:
    """The ends of the usual bootstrap, of participants and questions at once."""
    people, questions = (
        rng.multinomial(count, np.full(count, 1 / count), DRAWS) for count in (setting.participants, setting.questions)
    )
    weights = people[:, rows.participant] * questions[:, rows.question]
    low, high = np.nanquantile(weights @ rows.right / weights.sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def measured(setting: Setting, runs: int) -> tuple[str, ...]:
    """One row of the table."""
    rng = np.random.default_rng(0)
    spread = np.sqrt(1 + setting.people**2 + setting.ease**2)
    alone, assisted = (float(stats.norm.cdf(level / spread)) for level in (ALONE, ASSISTED))
    ones = np.ones((1, setting.participants * setting.each))
    votes = [statistics.vote(drawn(setting, rng)[1]).accuracy.statistic(ones, ones)[0] for _ in range(TRUTH)]
    truth = (assisted, assisted - alone, float(np.mean(votes)))
    weights = np.array([[0, 1, 0], [-1, 1, 0], [0, 0, 1.0]])
    ends = []
    for number in range(runs):
        plain, helped = drawn(setting, rng)
        samples = [statistics.mean(rows, rows.right) for rows in (plain, helped)]
        samples.append(statistics.vote(helped).accuracy)
        found = crossed(samples, np.zeros(setting.participants, int), draws=DRAWS, seed=number)
        ends.append([interval(found, row, 0.95)[1:] for row in weights] + [percentiles(helped, setting, rng)])
    low, high = np.moveaxis(np.array(ends), 2, 0)
    held = ((low <= [*truth, assisted]) & (high >= [*truth, assisted])).mean(axis=0)
    width = (high - low).mean(axis=0)
    cells = [text for pair in zip(held, width, strict=True) for text in (f"{pair[0]:.3f}", f"{pair[1]:.2f}")]
    return (*map(str, setting), *cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=400, help="simulated studies of each kind (default: %(default)s)")
    options = parser.parse_args()
    print(markdown_table(COLUMNS, [measured(setting, options.runs) for setting in SETTINGS]))


if __name__ == "__main__":
    main()
