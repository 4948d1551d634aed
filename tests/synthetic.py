"""Results of made-up models whose true accuracy is known: a student's errors are partly its supervisor's."""

import numpy as np
from scipy.stats import norm

from w2s_jax import metrics
from w2s_jax.evaluation import across, one_cell, summarise
from w2s_jax.evaluation.one_cell import Measured
from w2s_jax.evaluation.results import Results, TaskFacts

STEPS = (25, 50, 75, 100)


def probabilities(labels: np.ndarray, accuracy: float, noise: np.ndarray) -> np.ndarray:
    """Two classes, right for the share `accuracy` of many examples: `noise` is standard normal."""
    score = (2 * labels - 1) * norm.ppf(accuracy) + noise
    positive = 1 / (1 + np.exp(-2 * score))
    return np.stack([1 - positive, positive], axis=-1)


def cell(
    weak: float,
    student: float,
    ceiling: float,
    *,
    task: str = "cities",
    pair: tuple[str, str] = ("minilm-l6", "smollm2-135m"),
    method: str = "naive",
    seed: int = 0,
    n: int = 800,
    steps: tuple[int, ...] = STEPS,
    selected: int = -1,
) -> Measured:
    """One cell; supervisor, ceiling and examples depend on the seed alone, as in a real run."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 2)
    weak_noise, own_noise, ceiling_noise = rng.normal(size=(3, n))
    student_noise = 0.6 * weak_noise + 0.8 * np.random.default_rng([seed, len(method)]).normal(size=n)
    supervisor = probabilities(labels, weak, weak_noise)
    rising = [0.5 + (student - 0.5) * (1 - 0.6 ** (i + 1)) for i in range(len(steps))]
    curve = np.stack([probabilities(labels, at, 0.6 * weak_noise + 0.8 * own_noise)[:200] for at in rising])
    return one_cell.measure(
        names={"task": task, "supervisor": pair[0], "student": pair[1], "method": method, "seed": seed},
        stages={role: f"{role}-{task}-s{seed}-0123456789ab" for role in metrics.ROLES},
        test=metrics.Triple(
            supervisor=supervisor,
            student=probabilities(labels, student, student_noise),
            ceiling=probabilities(labels, ceiling, ceiling_noise),
            labels=labels,
            groups=np.arange(n) // 2,
        ),
        weak_validation=supervisor[:200],
        ceiling_validation=probabilities(labels, ceiling, ceiling_noise)[:200],
        truth_validation=labels[:200],
        steps=list(steps),
        curve=curve,
        selected=selected,
    )


def of(measured: list[Measured], name: str = "synthetic", parameters: dict[str, int] | None = None) -> Results:
    """A run that found these cells."""
    summarised = summarise.summarise(measured)
    tasks = dict.fromkeys(item.cell.task for item in measured)
    sizes = {"supervisor": 1000, "transfer": 1000, "validation": 200, "test": 800}
    return Results(
        name=name,
        config={"name": name, "seeds": sorted({item.cell.seed for item in measured})},
        made={
            "command": "w2s run configs/synthetic.py",
            "date": "2026-01-01T00:00:00+00:00",
            "w2s_jax": "0.1.0",
            "git": "0123456789ab",
            "python": "3.11.7",
            "packages": {"jax": "0.10.2", "flax": "0.12.8", "optax": "0.2.8"},
            "hardware": "Some CPU, 2 cores",
            "devices": ["cpu"],
            "seconds": 12.0,
            "peak_memory_bytes": 2**30,
        },
        tasks=tuple(TaskFacts(task, sizes, 2, (0.5, 0.5)) for task in tasks),
        metrics=metrics.facts(),
        cells=tuple(item.cell for item in measured),
        **summarised._asdict(),
        parameters=parameters or {},
        across=across.over_tasks(summarised.summaries),
    )


def three_tasks(seeds: int = 3) -> Results:
    """One where students help, one where ceiling and supervisor are equal, one where students fall below both."""
    accuracies = {
        "cities": {"naive": (0.70, 0.78, 0.85), "confidence": (0.70, 0.81, 0.85)},
        "coin flips": {"naive": (0.50, 0.50, 0.50), "confidence": (0.50, 0.50, 0.50)},
        "negations": {"naive": (0.70, 0.62, 0.90), "confidence": (0.70, 0.60, 0.90)},
    }
    return of(
        [
            cell(*triple, task=task, method=method, seed=seed)
            for task, methods in accuracies.items()
            for method, triple in methods.items()
            for seed in range(seeds)
        ]
    )


def scaling(tasks: tuple[str, ...] = ("cities", "reviews"), seeds: int = 3) -> Results:
    """Two supervisors, four students of rising size."""
    sizes = {"70m": 70_000_000, "160m": 160_000_000, "410m": 410_000_000, "1b": 1_000_000_000, "1.4b": 1_400_000_000}
    students = {"160m": 0.72, "410m": 0.78, "1b": 0.84, "1.4b": 0.88}
    measured = []
    for supervisor, weak in (("70m", 0.66), ("160m", 0.72)):
        for student, ceiling in students.items():
            for method, share in (("naive", 0.35), ("confidence", 0.6)):
                reached = weak + share * (ceiling - weak)
                measured += [
                    cell(weak, reached, ceiling, pair=(supervisor, student), method=method, seed=seed, task=task)
                    for task in tasks
                    for seed in range(seeds)
                ]
    return of(measured, "scaling", sizes)
