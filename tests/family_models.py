"""Tiny models of random weights, one of each family that is registered, made and saved by transformers itself."""

from pathlib import Path
from typing import Any

import pytest

from tests import hub_models, tiny
from w2s_jax.models import families

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# By the names of all families at once: transformers keeps those that it does not know.
SETTINGS: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
}
GROUPED = {"num_key_value_heads": 2}
GEMMA = {**GROUPED, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": 3}
OWN: dict[str, dict[str, Any]] = {
    "llama": GROUPED,
    "mistral": GROUPED,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "gemma": {**GROUPED, "head_dim": 8},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.0},
    "olmo2": GROUPED,
    "olmo3": {**GROUPED, "sliding_window": 3},
    "phi3": GROUPED,
    "smollm3": GROUPED,
    "mixtral": {**GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {
        **GROUPED,
        "head_dim": 8,
        "moe_intermediate_size": 24,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
    },
    "distilbert": {"hidden_dim": 48},
    "deberta-v2": {
        "type_vocab_size": 0,
        "relative_attention": True,
        "share_att_key": True,
        "pos_att_type": "p2c|c2p",
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
        "position_buckets": 8,
    },
    "modernbert": {"local_attention": 4, "cls_token_id": 1, "sep_token_id": 2},
}
NAMES = [name for name in families.FAMILIES if name != "gemma3"]  # which is read as its text model, gemma3_text
GGUF = [name for name in NAMES if families.FAMILIES[name].gguf_name is not None]


def config(name: str, **more: Any) -> Any:
    """Of transformers."""
    return transformers.AutoConfig.for_model(name, **{**SETTINGS, **OWN.get(name, {}), **more})


def is_encoder(name: str) -> bool:
    return families.from_hf(config(name).to_dict()).is_encoder


def twin(name: str, kind: str | None = None, **more: Any) -> Any:
    """Of a class of transformers; by default a decoder with its language-model head, or an encoder alone."""
    torch.manual_seed(0)
    kind = kind or ("AutoModel" if is_encoder(name) else "AutoModelForCausalLM")
    found = getattr(transformers, kind).from_config(config(name, **more)).eval()
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # so that no norm or bias is 1 or 0
    return found


def saved(folder: Path, model: Any, shards: int = 1) -> str:
    """Its folder with a tokenizer of `tiny.WORDS`, its weights in so many files."""
    model.save_pretrained(folder)
    tiny.tokenizer(folder / "tokenizer.json")
    if shards > 1:
        for file, content in hub_models.in_shards({}, folder, shards).items():
            (folder / file).write_bytes(content)
        (folder / "model.safetensors").unlink()
    return str(folder)


def linear_maps(model: Any) -> list[str]:
    """The names of a backbone's linear maps, as PEFT's `all-linear` finds them."""
    kinds = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    inner = {id(module) for module in model.base_model.modules()}
    named = ((name, module) for name, module in model.named_modules() if isinstance(module, kinds))
    return [name for name, module in named if id(module) in inner and "pooler" not in name]


def usual(names: list[str], *like_another: str) -> list[Any]:
    """Cases of a test, of which those that are computed as another one is are left to the slow suite."""
    return [*(name for name in names if name not in like_another), *tiny.slow(*like_another)]
