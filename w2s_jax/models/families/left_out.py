"""Families that are not read, and what each would need here: for errors, and for docs/reference/models.md."""

from typing import NamedTuple


class LeftOut(NamedTuple):
    """A family that is not read.

    Attributes:
      name: as its publishers call it.
      needs: what would have to be implemented for it.
      types: its `model_type`s in config.json.
      gguf: its `general.architecture`s in GGUF files, where they are others.
    """

    name: str
    needs: str
    types: tuple[str, ...]
    gguf: tuple[str, ...] = ()


LEFT_OUT = (
    LeftOut(
        "Qwen3.5 and Qwen3-Next",
        "layers of linear attention (gated delta rule) between those of gated attention",
        ("qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text"),
        ("qwen3next", "qwen35", "qwen35moe"),
    ),
    LeftOut(
        "Gemma 3n",
        "embeddings in every layer, several residual streams (AltUp), and keys and values that layers share",
        ("gemma3n", "gemma3n_text"),
    ),
    LeftOut(
        "Gemma 4",
        "embeddings in every layer, keys and values that layers share, and heads of two sizes",
        ("gemma4", "gemma4_text", "gemma4_unified"),
    ),
    LeftOut(
        "GPT-OSS",
        "attention sinks, and experts with a clamped activation whose weights are MXFP4",
        ("gpt_oss",),
        ("gpt-oss",),
    ),
    LeftOut(
        "Llama 4",
        "layers without positions, attention in chunks, and a shared expert beside the routed ones",
        ("llama4", "llama4_text"),
    ),
    LeftOut(
        "DeepSeek V2 and V3",
        "latent attention, and experts that are routed in groups beside shared ones",
        ("deepseek_v2", "deepseek_v3", "deepseek_v32"),
        ("deepseek2",),
    ),
    LeftOut(
        "Qwen2-MoE and OLMoE",
        "their routers, and Qwen2's gated shared expert",
        ("qwen2_moe", "olmoe"),
        ("qwen2moe",),
    ),
    LeftOut(
        "T5 and BART",
        "an encoder and a decoder that reads it, and T5's relative positions",
        ("t5", "mt5", "umt5", "longt5", "bart", "mbart", "pegasus", "t5gemma"),
    ),
    LeftOut(
        "Granite",
        "multipliers of embeddings, residual branches, attention scores and logits",
        ("granite", "granitemoe", "granitemoehybrid"),
        ("granitehybrid",),
    ),
    LeftOut(
        "Cohere's Command R",
        "layer norms without bias under one residual, and scaled logits",
        ("cohere", "cohere2"),
        ("command-r",),
    ),
    LeftOut(
        "StableLM, StarCoder 2 and Nemotron",
        "layer norms in a block of rotary positions, each with its own feed-forward layer",
        ("stablelm", "starcoder2", "nemotron"),
    ),
    LeftOut(
        "Phi-1 and Phi-2", "one norm for attention and feed-forward layer, and a head with a bias", ("phi",), ("phi2",)
    ),
    LeftOut("OLMo 1", "layer norms without any parameters", ("olmo",)),
    LeftOut(
        "Falcon",
        "keys and values fused by groups, and, in the first ones, positions as biases of scores (ALiBi)",
        ("falcon", "RefinedWeb", "RefinedWebModel"),
    ),
    LeftOut(
        "GPT-J and CodeGen",
        "rotary pairs that lie side by side, one norm for both branches, and a head with a bias",
        ("gptj", "codegen"),
    ),
    LeftOut("GPT-Neo", "attention scores that are not scaled, and windows on every other layer", ("gpt_neo",)),
    LeftOut(
        "GPT-BigCode", "one key-value head for all queries beside GPT-2's positions", ("gpt_bigcode",), ("starcoder",)
    ),
    LeftOut("BLOOM and MPT", "positions as biases of scores (ALiBi)", ("bloom", "mpt")),
    LeftOut("GLM and ChatGLM", "rotary pairs that lie side by side, and a fused gate", ("glm", "glm4", "chatglm")),
    LeftOut("MPNet", "distances as biases of scores, shared by all layers", ("mpnet",)),
    LeftOut("ELECTRA", "embeddings that are narrower than the layers, and its own head", ("electra",)),
    LeftOut("ALBERT", "one layer that is run many times, and embeddings that are narrower than it", ("albert",)),
    LeftOut(
        "DeBERTa (the first)",
        "biases of queries and values in one matrix, and distances without a norm",
        ("deberta",),
    ),
    LeftOut("CamemBERT", "its name beside RoBERTa's", ("camembert",)),
    LeftOut(
        "BERTs of long texts",
        "sparse or rotary attention of their own",
        ("big_bird", "longformer", "nomic_bert", "nystromformer"),
        ("nomic-bert",),
    ),
    LeftOut("XLNet", "attention of two streams with relative positions", ("xlnet",)),
    LeftOut(
        "Mamba, RWKV and their hybrids",
        "state-space or recurrent layers",
        (
            "mamba",
            "mamba2",
            "falcon_mamba",
            "jamba",
            "rwkv",
            "zamba2",
            "falcon_h1",
            "bamba",
            "nemotron_h",
            "lfm2",
            "recurrent_gemma",
        ),
        ("rwkv6", "rwkv7", "falcon-h1"),
    ),
    LeftOut(
        "models that also read images or sound",
        "a reader of their language model alone, as there is for Gemma 3",
        (
            "llava",
            "llava_next",
            "mllama",
            "mistral3",
            "idefics",
            "idefics2",
            "idefics3",
            "smolvlm",
            "paligemma",
            "internvl",
            "qwen2_vl",
            "qwen2_5_vl",
            "qwen3_vl",
            "qwen3_vl_moe",
            "qwen2_audio",
            "qwen2_5_omni",
            "phi4_multimodal",
            "qwen2_vl_text",
            "qwen2_5_vl_text",
            "qwen3_vl_text",
        ),
        ("qwen2vl", "qwen3vl"),
    ),
)


def why(model_type: object, inside: str | None = None) -> str:
    """What an error adds for a `model_type` or a GGUF architecture that is not read; empty where nothing is known.

    Args:
      inside: the `model_type` of a language model that is part of it, and that is read by itself.
    """
    found = next((each for each in LEFT_OUT if model_type in (*each.types, *each.gguf)), None)
    said = "" if found is None else f" ({found.name}): it would need {found.needs}"
    if inside is not None:
        said += (
            f"; its language model is a {inside}: load it with transformers, and save `model.model.language_model` and "
            "the tokenizer to a folder of their own"
        )
    return said
