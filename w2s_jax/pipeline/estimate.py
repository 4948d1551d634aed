"""About how long an experiment will take: from stages like it that are done, or else from its arithmetic."""

import functools
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from w2s_jax import config, models
from w2s_jax.data import arrays
from w2s_jax.data.tokens import flatten
from w2s_jax.pipeline import experiment, materials
from w2s_jax.pipeline.experiment import Stage
from w2s_jax.pipeline.make import feature_texts
from w2s_jax.pipeline.store import MANIFEST, Store
from w2s_jax.runtime import files
from w2s_jax.supervisors import recursion
from w2s_jax.train.learner import Learner

SAMPLE = 200  # texts, whose mean length stands for all
EFFICIENCY = 0.5  # of a plain matrix product's speed that a model reaches
PROBE_SECONDS = 0.05
# Passes over the parameters: two a token forward, two back to activations, two to the parameters that train.
FLOPS = {"full": 6, "lora": 4, "head": 2}


class Estimate(NamedTuple):
    """Stages in all and those done, and about how many seconds the others take."""

    stages: int
    done: int
    seconds: float


def estimate(stages: Sequence[Stage], store: Store) -> Estimate:
    """What is left of these stages. The first time, the speed of this machine is measured for a moment."""
    left = [stage for stage in stages if not store.done(stage.folder)]
    known = _known([stage for stage in stages if store.done(stage.folder)], store)
    kinds = [_kind(stage) for stage in left]
    unknown = [stage for stage, kind in zip(left, kinds, strict=True) if kind not in known]
    seconds = sum(known.get(kind, 0.0) for kind in kinds) + sum(map(_seconds, unknown))
    readings = {_reading(stage): stage for stage in unknown if _reading(stage) is not None}
    # Those of a kind that is known counted their transcripts; others count them once, kept ones too.
    advised = {_advice(maker, stage): (maker, stage) for stage in unknown for maker in _advisors(stage)}
    seconds += sum(map(_feature_seconds, readings.values()))
    seconds += sum(_advice_seconds(maker, stage) for maker, stage in advised.values())
    return Estimate(len(stages), len(stages) - len(left), seconds)


def _kind(stage: Stage) -> str:
    """Stages of one kind take equally long."""
    sizes = (stage.task.supervisor, stage.task.transfer, stage.task.validation, stage.task.test)
    maker = materials.maker_identity(stage.maker)
    return files.canonical([stage.role, stage.task.name, sizes, maker, config.asdict(stage.method), stage.part])


def _known(done: Sequence[Stage], store: Store) -> dict[str, float]:
    seconds: dict[str, list[float]] = {}
    for stage in done:
        made = files.read_json(store.folder(stage.folder) / MANIFEST)["made"]
        seconds.setdefault(_kind(stage), []).append(made["seconds"])
    return {kind: statistics.mean(found) for kind, found in seconds.items()}


def _seconds(stage: Stage) -> float:
    learner = stage.learner
    asked = stage.method.learn == "prompt"
    if learner is None or arrays.is_array(learner.model) or (learner.parameters == "probe" and not asked):
        return PROBE_SECONDS
    splits = experiment.stage_splits(stage)
    labelled = sum(map(len, splits.predict.values()))
    reference = 2 if learner.preference is not None and learner.preference.score == "dpo" else 0
    passes = (2 + reference) * (labelled + learner.loop.evaluations * len(splits.validation))
    if stage.method.learn == "train":
        passes += (FLOPS[learner.parameters] + reference) * learner.epochs * len(splits.train)
    text = materials.texts(stage.task)[0]
    candidates = 1 if isinstance(text, str) else len(text)
    return passes * candidates * _tokens_a_text(stage) * _parameters(learner) / _speed()


def _reading(stage: Stage) -> tuple[object, ...] | None:
    """What decides a matrix of features; None for a stage that reads none."""
    learner = stage.learner
    if learner is None or learner.parameters != "probe" or arrays.is_array(learner.model):
        return None
    advised = stage.maker if config.advice(stage.maker) is not None else None
    return (
        learner.model,
        learner.read_layer,
        advised,
        advised is not None and "candidates" in stage.predicts,
        stage.task,
        stage.method.hint,
        stage.method.learn == "ccs",
        stage.body,
    )


def _feature_seconds(stage: Stage) -> float:
    assert stage.learner is not None
    texts = len(flatten(feature_texts(stage)))
    if isinstance(stage.maker, config.Recursive) and "candidates" in stage.predicts:
        texts *= 1 + stage.maker.advised.sides * (stage.maker.candidates - 1)
    return 2 * texts * _tokens_a_text(stage) * _parameters(stage.learner) / _speed()


def _advisors(stage: Stage) -> tuple[config.Advised, ...]:
    """Those whose transcripts a stage reads."""
    return recursion.samples(stage.maker) if isinstance(stage.maker, config.Advised | config.Recursive) else ()


def _advice(maker: config.Advised, stage: Stage) -> tuple[object, ...]:
    """What decides transcripts."""
    return files.canonical(materials.advice_identity(maker)), stage.task


def _advice_seconds(maker: config.Advised, stage: Stage) -> float:
    """Every argument's prompt is read, with all that was said before it, and the argument written."""
    texts = materials.texts(stage.task)
    arguments = maker.turns * maker.sides
    length = _mean_length(maker.advisor.model, texts[:SAMPLE], maker.advisor.max_tokens)
    tokens = arguments * length + maker.tokens * arguments * (arguments + 1) / 2
    return 2 * len(texts) * tokens * models.size(maker.advisor.model, embeddings=True) / _speed()


def _tokens_a_text(stage: Stage) -> float:
    assert stage.learner is not None
    advised = config.advice(stage.maker)
    said = 0 if advised is None else advised.turns * advised.sides * advised.tokens
    return said + _mean_length(stage.learner.model, materials.texts(stage.task)[:SAMPLE], stage.learner.max_tokens)


@functools.lru_cache(maxsize=64)
def _mean_length(model: str, texts: tuple[str, ...], longest: int) -> float:
    _, tokenizer = models.outline(model)
    return statistics.mean(min(len(row), longest) for row in tokenizer.encode(flatten(texts)))


def _parameters(learner: Learner) -> int:
    """Those that multiply every token; the embeddings do where they, or a table like them, give probabilities."""
    return models.size(learner.model, read_layer=learner.read_layer, embeddings=learner.preference is not None)


@functools.cache
def _speed() -> float:
    """Useful FLOP/s of all devices together."""
    size = 1024
    product = jax.jit(lambda x: x @ x)
    x = jnp.ones((size, size))
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - started)
    devices = 1 if jax.default_backend() == "cpu" else jax.device_count()
    return EFFICIENCY * devices * 2 * size**3 / best
