"""The interface of a family of pretrained models, the registry of families, and configs read and written by them."""

import abc
import re
from dataclasses import dataclass, replace

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families import gguf, left_out, quantization
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.models.tensor_table import TensorRow
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.registry import Registry

_IGNORED = (r"^lm_head\.", r"^score\.", r"^classifier\.", r"rotary_emb\.inv_freq$")
_OTHER_HEADS = (r"^qa_outputs\.", r"^v_head\.")  # of extractive question answering, and of TRL's values


@dataclass(frozen=True)
class Family(abc.ABC):
    """The models of one Hugging Face `model_type`: how their config and tensors are read and written.

    A family whose tensors have other names than those of a known one is a subclass with its own `tensors`; one that
    differs in a setting is another instance. It must be registered before a model of it is loaded:

    >>> class TinyLlama(Llama):
    ...     def tensors(self, config):
    ...         return [row._replace(name=row.name.replace("embed_tokens", "wte")) for row in super().tensors(config)]
    >>> FAMILIES.register(TinyLlama("tiny_llama", model_class="TinyLlamaForCausalLM"))

    Attributes:
      name: the `model_type`.
      model_class: the transformers class that an exported folder names: a causal language model, or an encoder.
      classifier_class: the one that scores a head alike, on the last token; None where there is none.
      head: the head of its classifiers, where it is not a linear map of the last token.
      prefix: what stands before the backbone's tensors in a checkpoint that also holds a head.
      other_prefixes: what else may stand there in checkpoints that are read.
      unembedding: the tensor of a language-model head that is not tied.
      ignored: patterns of the plain names of its heads and constants, which are not read, beyond those that every
        family has.
      gguf_name: its `general.architecture` in GGUF files; None where those are not read.
      gguf_tokenizers: kinds of tokenizers (`tokenizer.ggml.model`) that are read from them.
    """

    name: str
    model_class: str
    classifier_class: str | None = None
    head: HeadForm | None = None
    prefix: str = "model."
    other_prefixes: tuple[str, ...] = ()
    unembedding: str = "lm_head.weight"
    ignored: tuple[str, ...] = ()
    gguf_name: str | None = None
    gguf_tokenizers: tuple[str, ...] = ("gpt2",)

    @abc.abstractmethod
    def read(self, config: HfConfig) -> ModelConfig:
        """A model of this family, from its config.json.

        Raises:
          KeyError: a setting is missing; `from_hf` names it.
          UserError: a setting is not implemented.
        """

    @abc.abstractmethod
    def write(self, config: ModelConfig) -> HfConfig:
        """The settings that `read` reads back as this config, without the `model_type`."""

    @abc.abstractmethod
    def tensors(self, config: ModelConfig) -> list[TensorRow]:
        """Every tensor of the backbone, for the parameters that this config has."""

    def gguf_config(self, header: gguf.Header) -> HfConfig:
        """What a GGUF file says of its model, under the names that `read` expects."""
        return gguf.config(header)

    def gguf_tensors(self, config: ModelConfig) -> list[TensorRow]:
        """Every tensor of the backbone in a GGUF file."""
        return gguf.tensors(config)

    def unembedding_name(self, from_gguf: bool) -> str:
        """The plain name of the table of a language-model head that is not tied."""
        return gguf.UNEMBEDDING if from_gguf else self.unembedding

    def head_form(self, config: HfConfig) -> HeadForm | None:
        """The head of its classifiers with this config.json, which may be empty; None where none is known.

        Raises:
          UserError: a setting of the head is not implemented.
        """
        return HeadForm() if self.head is None and self.classifier_class is not None else self.head

    def plain_name(self, name: str) -> str:
        """A tensor's name without the prefix that depends on the head that the checkpoint was saved with."""
        for prefix in sorted((self.prefix, *self.other_prefixes), key=len, reverse=True):
            if name.startswith(prefix):
                return name.removeprefix(prefix)
        return name

    def ignores(self, plain_name: str) -> bool:
        """Whether a tensor of a checkpoint, GGUF or not, is none of the backbone's."""
        patterns = (*_IGNORED, *_OTHER_HEADS, *self.ignored, *gguf.IGNORED)
        return plain_name == self.unembedding or any(re.search(pattern, plain_name) for pattern in patterns)

    def is_other_head(self, plain_name: str) -> bool:
        """Whether a tensor is of a head that was trained for what nothing here computes."""
        return any(re.search(pattern, plain_name) for pattern in _OTHER_HEADS)


FAMILIES = Registry[Family]("model family")


def of(config: ModelConfig) -> Family:
    """The family of a model.

    Raises:
      UserError: it is not registered.
    """
    return FAMILIES.find(config.family)


def of_gguf(metadata: gguf.Metadata) -> Family:
    """The family of a GGUF file.

    Raises:
      UserError: an architecture that is not implemented.
    """
    by_name = {family.gguf_name: family for family in FAMILIES.values() if family.gguf_name is not None}
    architecture = metadata.get("general.architecture")
    if architecture not in by_name:
        raise UserError(
            f"GGUF architecture {architecture!r} is not implemented{left_out.why(architecture)}; supported: "
            f"{', '.join(sorted(by_name))}"
        )
    return by_name[architecture]


def from_hf(config: HfConfig) -> ModelConfig:
    """The model that a Hugging Face `config.json` describes, of transformers 4 or 5.

    Raises:
      UserError: a model type, a setting or a quantization that is not implemented, or a setting that is missing, by
        name.
    """
    name = config.get("model_type")
    if not isinstance(name, str) or name not in FAMILIES:
        inside = (config.get("text_config") or {}).get("model_type")
        said = left_out.why(name, inside if str(inside) in FAMILIES else None)
        raise UserError(f"model type {name!r} is not implemented{said}; supported: {', '.join(sorted(FAMILIES))}")
    quantization.scales(config)
    try:
        return FAMILIES[name].read(config)
    except KeyError as error:
        raise UserError(f"this {name} config has no {error.args[0]!r}; give the model's whole config") from None


def to_hf(config: ModelConfig) -> HfConfig:
    """The Hugging Face config that `from_hf` reads back as this.

    Raises:
      UserError: this config was `cut`: Hugging Face has no model without a final norm.
    """
    if not config.final_norm and config.is_pre_norm:
        raise UserError("a config cut to its first layers has no Hugging Face form")
    return {"model_type": config.family, **of(config).write(config)}


def from_gguf(header: gguf.Header) -> ModelConfig:
    """The model that a GGUF file describes.

    Raises:
      UserError: an architecture or a setting that is not implemented, or one that is missing, by name.
    """
    family, tied = of_gguf(header.metadata), gguf.UNEMBEDDING not in header.shapes
    found = from_hf({"model_type": family.name, **family.gguf_config(header), "tie_word_embeddings": tied})
    return replace(found, pooling=gguf.pooling(header))
