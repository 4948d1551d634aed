"""The tables of docs/reference/models.md: families, formats, how people save models, what is left out."""

from w2s_jax.models import MODELS, families, hub_files
from w2s_jax.models.families import Family
from w2s_jax.models.families.left_out import LEFT_OUT
from w2s_jax.models.families.quantization import FLOAT8
from w2s_jax.models.gguf_tokenizer import PRE_TOKENIZERS
from w2s_jax.models.sentences import POOLINGS
from w2s_jax.models.tensor_names import WRAPPERS
from w2s_jax.report import table

# Models that people know by a family's name.
KNOWN = {
    "bert": "BERT, MiniLM, BGE, GTE and E5 (the first ones)",
    "deberta-v2": "DeBERTa-v3, mDeBERTa-v3",
    "distilbert": "DistilBERT",
    "gemma": "Gemma 1",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 from 4B: its language model, without what reads images",
    "gemma3_text": "Gemma 3 270M and 1B",
    "gpt2": "GPT-2, DistilGPT-2, DialoGPT",
    "gpt_neox": "Pythia, GPT-NeoX-20B, Dolly 2",
    "llama": "Llama 1 to 3.3, SmolLM 1 and 2, TinyLlama, Yi, Vicuna, DeepSeek-R1's Llamas",
    "mistral": "Mistral 7B and Nemo, Zephyr (their GGUF files call themselves `llama`)",
    "mixtral": "Mixtral 8x7B and 8x22B",
    "modernbert": "ModernBERT",
    "olmo2": "OLMo 2",
    "olmo3": "OLMo 3",
    "opt": "OPT",
    "phi3": "Phi-3, Phi-3.5, Phi-4",
    "qwen2": "Qwen 1.5, 2 and 2.5, DeepSeek-R1's Qwens",
    "qwen3": "Qwen3 and its embedding models",
    "qwen3_moe": "Qwen3's mixtures of experts",
    "roberta": "RoBERTa, DistilRoBERTa",
    "smollm3": "SmolLM3",
    "xlm-roberta": "XLM-R, multilingual E5, BGE-M3",
}
POSITIONS = {"last": "last token", "cls": "first token", "mean": "mean"}


def every_family() -> str:
    """The families that are read."""
    rows = [
        (f"`{name}`", KNOWN.get(name, "") or _title(family), _tried(name), _gguf(family), _head(family))
        for name, family in sorted(families.FAMILIES.items())
    ]
    return table.markdown_table(
        ("`model_type`", "known as", "published weights run here", "GGUF", "trained head"), rows
    )


def formats() -> str:
    """What files are read, and what of them."""
    pickles = ", ".join(f"`{suffix}`" for suffix in hub_files.PICKLES)
    foreign = ", ".join(f"`{suffix}`" for suffix in hub_files.FOREIGN if suffix != ".onnx")
    pre = ", ".join(sorted(PRE_TOKENIZERS))
    rows = [
        ("safetensors", "one file, or shards with or without an index; float64, 32, 16, bfloat16, mixed as they come"),
        (
            "safetensors in float8",
            f"with their scales, of `quant_method` {_listed(FLOAT8)} or plain `compressed-tensors`; dequantized",
        ),
        (
            "GGUF",
            "one file or several parts, every quantization that the `gguf` package decodes; tokenizers: byte-level BPE "
            f"({pre}), SentencePiece's BPE (Llama 2, Mistral, Gemma), WordPiece, or a tokenizer.json beside the file",
        ),
        ("ONNX", "BERT encoders among the named models, with the extra `onnx`"),
        ("PEFT", "LoRA in safetensors, by its folder or Hub id; merged when read; `w2s export --adapters` writes it"),
        (
            "sentence-transformers",
            f"`modules.json`, its pooling ({_listed(POOLINGS)}); Dense and others are left out by name",
        ),
        ("tokenizers", "`tokenizer.json`; else what transformers makes of the other files"),
        ("never", f"pickles ({pickles}), code of a repository's own, other frameworks' files ({foreign})"),
    ]
    return table.markdown_table(("format", "what is read"), rows)


def saved() -> str:
    """How people save models, and what happens."""
    wrappers = ", ".join(f"`{each}.`" for each in WRAPPERS)
    rows = [
        ("`model.safetensors` beside other .safetensors", "the index decides, else that file; the rest is named"),
        ("an index that names a file or a tensor that is not there", "refused by name"),
        (
            "a classifier (`...ForSequenceClassification`)",
            '`head="pretrained"` starts from its head, or labels with it '
            "untrained; else it is said that the head is left out",
        ),
        ("heads of other kinds: answers in a text, values, tokens", "left out by name; none is started from"),
        ("a tied head that is stored as well, or alone", "the embeddings, if it equals them; refused if not"),
        (f"prefixes of wrappers ({wrappers}, `module.`, `model.`)", "looked through where that is unambiguous"),
        ("norms called `gamma` and `beta`; masks and positions stored as tensors", "mapped; left out"),
        ("weights that hold NaN or infinity, as float16 that overflowed", "refused by name"),
        ("a Trainer's output folder", "names its checkpoints; in a checkpoint, `optimizer.pt` and others are ignored"),
        ("shards of DeepSpeed, FSDP or torch.distributed.checkpoint; Orbax", "refused with the command that converts"),
        ("a cache of the Hub", "read by its snapshot; the folder above names it"),
        ("pointers of Git LFS, web pages, links to nothing, files cut short", "refused by name"),
        ("`auto_map`: code of its own under a known `model_type`", "not run; read as the known family, with a warning"),
        ("AWQ, GPTQ, bitsandbytes, MLX, MXFP4", "refused by method, also where config.json does not say it"),
        ("padded or resized embeddings", "read with the `vocab_size` of config.json; tokens beyond it are refused"),
        ("adapters with a head, rsLoRA, patterns of ranks and alphas", "read"),
        (
            "DoRA, trained tokens or embeddings, adapters of adapters, other `peft_type`",
            "refused by name: merge with PEFT",
        ),
        ("LoRA tensors left in the model's own file", "refused: `merge_and_unload` first"),
        ("EMA weights beside the others, weight norm", "refused: both are listed as extra or missing tensors"),
        ("the original files of Meta and Mistral (`consolidated.*`)", "refused: use Hugging Face's format"),
        ("a GGUF file by another name, as Ollama keeps it", "refused: link to it as NAME.gguf"),
        ("a folder of GGUF files", "refused: names them"),
    ]
    return table.markdown_table(("saved as", "what happens"), rows)


def left_out() -> str:
    """Families that are not read, and what each would need."""
    rows = [(each.name, ", ".join(f"`{kind}`" for kind in each.types), each.needs) for each in LEFT_OUT]
    return table.markdown_table(("family", "`model_type`", "it would need"), rows)


def _title(family: Family) -> str:
    """What its class begins with."""
    return (type(family).__doc__ or "").partition(" (")[0]


def _tried(name: str) -> str:
    """The named models of a family."""
    own = [card for card in MODELS.values() if card.family == name]
    return ", ".join(f"`{card.name}` ({card.parameters / 1e6:.0f} M)" for card in own) or "tiny random ones only"


def _gguf(family: Family) -> str:
    return "" if family.gguf_name is None else f"`{family.gguf_name}`"


def _head(family: Family) -> str:
    form = family.head_form({})
    if form is None:
        return ""
    modules = ", ".join(f"`{module.removeprefix(form.prefix or '')}`" for module in form.modules)
    return f"{modules}; {POSITIONS[form.pooling]}"


def _listed(names: object) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))  # type: ignore[call-overload]
