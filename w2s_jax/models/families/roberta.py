"""RoBERTa and XLM-R: BERT with other positions."""

from dataclasses import replace

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families.base import FAMILIES
from w2s_jax.models.families.bert import Bert
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.runtime.errors import UserError


class Roberta(Bert):
    """RoBERTa (Liu et al. 2019, arXiv 1907.11692): positions begin after the id that pads, which all that pads has."""

    def read(self, config: HfConfig) -> ModelConfig:
        padding = config.get("pad_token_id", 1)
        if padding is None:
            raise UserError(f"pad_token_id=None is not implemented for {self.name}: its positions begin after that id")
        found = super().read(config)
        return replace(found, padding_id=padding, max_positions=found.max_positions - padding - 1)

    def write(self, config: ModelConfig) -> HfConfig:
        assert config.padding_id is not None
        rows = config.max_positions + config.padding_id + 1
        return {**super().write(config), "pad_token_id": config.padding_id, "max_position_embeddings": rows}


def _register(name: str, classes: str) -> None:
    FAMILIES.register(
        Roberta(
            name,
            model_class=f"{classes}Model",
            head=HeadForm(
                "classifier.out_proj",
                bias=True,
                dense="classifier.dense",
                pooling="cls",
                model_class=f"{classes}ForSequenceClassification",
                prefix="roberta.",
            ),
            prefix="",
            other_prefixes=("roberta.", "model.", "model.0.auto_model."),
            ignored=(r"^pooler\.", r"^qa_outputs\.", r"position_ids$"),
        )
    )


_register("roberta", "Roberta")
_register("xlm-roberta", "XLMRoberta")  # Conneau et al. 2019, arXiv 1911.02116
