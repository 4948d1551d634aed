"""Tiny models and a tiny task, made on the spot: a whole experiment in seconds, offline."""

import dataclasses
import functools
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from rich.console import Console
from safetensors.numpy import load_file, save_file

from w2s_jax import api
from w2s_jax.config import Experiment, Method
from w2s_jax.data.predictions import Predictions
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.evaluation.results import Results
from w2s_jax.pipeline.graph import CellStages
from w2s_jax.pipeline.session import Session
from w2s_jax.runtime.progress import Reporter
from w2s_jax.stages.base import Stage
from w2s_jax.students import Train
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

WORDS = ["good", "fine", "great", "bad", "poor", "awful", "film", "plot", "the", "a", "was", "is", "very", "not"]


def llama(folder: Path, *, layers: int = 2, width: int = 16, vocabulary: int = len(WORDS) + 1, seed: int = 0) -> Path:
    """A Llama folder of random weights, in Hugging Face's own layout."""
    rng, heads, kv, mlp = np.random.default_rng(seed), 4, 2, 2 * width
    config = {
        "model_type": "llama",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "max_position_embeddings": 64,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }
    head = width // heads
    shapes = {"model.embed_tokens.weight": (vocabulary, width), "model.norm.weight": (width,)}
    for i in range(layers):
        prefix = f"model.layers.{i}."
        shapes |= {
            prefix + "self_attn.q_proj.weight": (heads * head, width),
            prefix + "self_attn.k_proj.weight": (kv * head, width),
            prefix + "self_attn.v_proj.weight": (kv * head, width),
            prefix + "self_attn.o_proj.weight": (width, heads * head),
            prefix + "mlp.gate_proj.weight": (mlp, width),
            prefix + "mlp.up_proj.weight": (mlp, width),
            prefix + "mlp.down_proj.weight": (width, mlp),
            prefix + "input_layernorm.weight": (width,),
            prefix + "post_attention_layernorm.weight": (width,),
        }
    tensors = {
        name: np.ones(shape, np.float32) if len(shape) == 1 else rng.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer(folder / "tokenizer.json")
    return folder


def rename(folder: Path, family: str, names: dict[str, str]) -> None:
    """Gives a checkpoint another family, and tensors other names."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": family}))
    tensors = load_file(folder / "model.safetensors")
    for old, new in names.items():
        tensors = {name.replace(old, new): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors")


def untied(folder: Path) -> Path:
    """The tiny Llama with an unembedding of its own."""
    llama(folder)
    tensors = load_file(folder / "model.safetensors")
    table = np.random.default_rng(7).normal(0, 0.3, tensors["model.embed_tokens.weight"].shape).astype(np.float32)
    save_file({**tensors, "lm_head.weight": table}, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return folder


def tokenizer(path: Path) -> None:
    """Words to ids, in Hugging Face's format."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: index for index, word in enumerate(["[UNK]", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.save(str(path))


@functools.lru_cache(maxsize=8)
def applied(module: Any) -> Callable[..., Any]:
    """`module.apply`, compiled as a whole: eagerly each of its operations would be compiled by itself."""
    return jax.jit(module.apply, static_argnames=("method", "packing"))


def slow(*values: object) -> list:
    """Cases of a parametrized test that the default suite leaves to those that it runs."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def reviews(path: Path, rows: int = 160) -> Path:
    """Sentences whose label is whether they hold more good words than bad ones."""
    rng = np.random.default_rng(0)
    lines = []
    while len(lines) < rows:
        words = rng.choice(WORDS, int(rng.integers(3, 9)))
        score = sum(word in WORDS[:3] for word in words) - sum(word in WORDS[3:6] for word in words)
        text = " ".join(words)
        if score and text not in [line["text"] for line in lines]:
            lines.append({"id": f"r{len(lines)}", "text": text, "label": int(score > 0)})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def pairs(folder: Path, rows: int = 160) -> str:
    """A task of two replies, of which the one with more good words is better."""
    source = reviews(folder / "replies.jsonl", rows)
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    good = [line["text"] for line in lines if line["label"]]
    bad = [line["text"] for line in lines if not line["label"]]
    file = folder / "pairs.py"
    file.write_text(
        "from w2s_jax.data.example import Example\n"
        "from w2s_jax.data.tasks import Task\n"
        "from w2s_jax.data.sources import BuiltIn\n"
        f"good, bad = {good!r}, {bad!r}\n"
        "def format(record):\n"
        "    i, label = record['i'], record['i'] % 2\n"
        "    both = (bad[i], good[i]) if label else (good[i], bad[i])\n"
        "    yield Example(f'p{i}', both, label, f'p{i}')\n"
        "records = lambda: ({'i': i} for i in range(min(len(good), len(bad))))\n"
        "task = Task('pairs', 'which is better?', BuiltIn(records, 'made here'), format)\n"
    )
    return f"{file}:task"


def arrays(folder: Path, classes: int = 3, rows: int = 200, seed: int = 0) -> Path:
    """Features of a strong model, `dino`, and probabilities of a weak one, `alexnet`, that is right for 80%."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    strong = rng.normal(0, 0.5, (rows, 6)) + 2 * np.eye(6)[labels]
    teacher = np.full((rows, classes), 0.2 / (classes - 1))
    said = np.where(rng.random(rows) < 0.3, rng.integers(0, classes, rows), labels)
    teacher[np.arange(rows), said] = 0.8
    path = folder / "vision.npz"
    np.savez(path, labels=labels, dino=strong, alexnet=teacher)
    return path


def experiment(folder: Path, checkpoint_seconds: float = 1e9, **changes: object) -> Experiment:
    """One task, one pair, two methods, one seed; no checkpoints within a stage unless a test kills it.

    Models and data that lie in the folder already are used as they are.
    """
    weak, strong, task = folder / "weak", folder / "strong", folder / "reviews.jsonl"
    if not task.exists():
        llama(weak, layers=1, width=8)
        llama(strong, seed=1)
        reviews(task)
    optimizer = OptimizerConfig(learning_rate=1e-2)
    loop = LoopSettings(evaluations=2, checkpoint_seconds=checkpoint_seconds)
    fields: dict = {
        "name": "tiny",
        "tasks": (TaskConfig(str(task), supervisor=32, transfer=32, validation=16, test=40),),
        "supervisors": {"weak": Learner(str(weak), batch_size=8, optimizer=optimizer, loop=loop)},
        "students": {"strong": Learner(str(strong), batch_size=8, optimizer=optimizer, loop=loop)},
        "methods": {"naive": Method(), "confidence": Method(Train("confidence"))},
        "seeds": (0,),
        "out": str(folder / "runs"),
    }
    return Experiment(**{**fields, **changes})


def probes(folder: Path, **changes: object) -> Experiment:
    """The tiny experiment with probes, of two seeds, and a middle student: every stage takes milliseconds."""
    plan = experiment(folder)
    weak, strong = (
        dataclasses.replace(learner, parameters="probe", epochs=3)
        for learner in (plan.supervisors["weak"], plan.students["strong"])
    )
    middle = dataclasses.replace(strong, read_layer=1)
    fields: dict = {"supervisors": {"weak": weak}, "students": {"middle": middle, "strong": strong}, "seeds": (0, 1)}
    return dataclasses.replace(plan, **{**fields, **changes})


class Finished(NamedTuple):
    """A run that several tests read. Whoever changes anything of it works on a copy.

    Attributes:
      build: gives the experiment, from its folder.
    """

    folder: Path
    build: Callable[[Path], Experiment]
    results: Results

    @property
    def experiment(self) -> Experiment:
        return self.build(self.folder)

    def copy(self, folder: Path) -> Experiment:
        """The same experiment in another folder, with every stage done: paths do not decide what a stage is."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return self.build(folder)


def finish(folder: Path, build: Callable[[Path], Experiment]) -> Finished:
    """Runs an experiment in a folder."""
    return Finished(folder, build, run(build(folder)))


def three_methods(folder: Path) -> Experiment:
    """The tiny experiment with a truth probe besides."""
    plan = experiment(folder)
    return dataclasses.replace(plan, methods={**plan.methods, "probed": Method(readout="truth_probe")})


def quiet() -> Reporter:
    """A reporter that nobody hears."""
    return Reporter(Console(file=io.StringIO()))


def attempt(plan: Experiment) -> api.Run:
    """Runs an experiment: its results and its failures."""
    (found,) = api.sweep([plan], quiet())
    return found


def run(plan: Experiment) -> Results:
    """Runs an experiment in which nothing may fail."""
    results, failures, *_ = attempt(plan)
    assert [(failure.stage.title, failure.reason) for failure in failures] == []
    assert results is not None
    return results


def cells(plan: Experiment) -> list[CellStages]:
    """Its cells, each with its three stages."""
    return api.Planned([plan]).cells[0]


def stages(plan: Experiment, role: str | None = None) -> list[Stage]:
    """Its distinct stages, each after those it needs; all, or those of one role."""
    return [stage for stage in api.Planned([plan]).stages if role in (None, stage.role)]


def students(plan: Experiment, name: str = "strong") -> list[Stage]:
    """The stages of one student, cell by cell."""
    return [cell.stages["student"] for cell in cells(plan) if cell.student == name]


def session(plan: Experiment, mesh: Mesh | None = None) -> Session:
    """What runs its stages."""
    return Session(api.open_store(plan), quiet(), mesh)


def read(plan: Experiment) -> Callable[[Stage], Predictions]:
    """Gives the predictions of its finished stages."""
    store = api.open_store(plan)
    return lambda stage: store.read(stage.name).predictions


def bits(plan: Experiment) -> dict[str, list[bytes]]:
    """Every stage's predictions and history, as bytes."""
    store = api.open_store(plan)
    return {
        stage.name: [
            (store.folder(stage.name) / name).read_bytes()
            for name in ("predictions.parquet", "history.json", "curve.npy")
        ]
        for stage in stages(plan)
    }
