"""Tiny models and a tiny task, made on the spot: a whole experiment in seconds, offline."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from w2s_jax.config import Experiment, Method
from w2s_jax.data.task_config import TaskConfig
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


def experiment(folder: Path, checkpoint_seconds: float = 1e9, **changes: object) -> Experiment:
    """One task, one pair, two methods, one seed; no checkpoints within a stage unless a test kills it."""
    weak, strong = llama(folder / "weak", layers=1, width=8), llama(folder / "strong", seed=1)
    task = reviews(folder / "reviews.jsonl")
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


@pytest.fixture
def tiny(tmp_path: Path) -> Experiment:
    return experiment(tmp_path)
