"""What an earlier stage trained, as something that training can start from."""

import dataclasses
from collections.abc import Callable

from jax.sharding import Mesh

from w2s_jax import models
from w2s_jax.models import Pretrained
from w2s_jax.models import params as parameter_sets
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.params import Params
from w2s_jax.models.shapes import Model
from w2s_jax.train import answering, outputs
from w2s_jax.train.learner import Learner


def restore(
    learner: Learner,
    read: Callable[[Params], Params],
    start: Callable[[], Pretrained],
    mesh: Mesh | None = None,
    *,
    adapted: bool = False,
) -> Pretrained:
    """The backbone that a learner's stage trained, adapters merged, and its language-model head where that trained.

    Args:
      learner: the stage's. Whatever its model gives for an example, its backbone is found.
      read: gives the parameters that the stage saved, those that trained, where the shardings say. These are of every
        parameter that it can have saved, and of more.
      start: gives what the stage started from, on the same devices; called where the backbone, or a part of it, did
        not train. Its arrays are consumed.
      mesh: the devices; None is one device.
      adapted: whether the stage is the learner's generative finetuning, which saved a whole backbone, read to its top.

    Returns:
      The backbone as far as the learner reads it. Its `unembedding` is None where it is the source's own.
    """
    config, tokenizer = models.outline(learner.model)
    module: Model = LanguageModel(config)
    if not adapted:
        output = outputs.choose(learner, lambda: answering.stand_ins(2))
        module = output.module(learner, config, n_classes=2, candidates=2)
    params = read(models.shardings(module, mesh))
    if adapted or learner.parameters == "full":
        config = config.cut(learner.read_layer)
        unembedding = params.get("unembed", {}).get("embedding")
        return Pretrained(learner.model, config, models.cut(params["backbone"], config), tokenizer, unembedding)
    found, lora = start(), outputs.adapters(learner)
    if lora is None:
        return found
    whole = parameter_sets.combine(models.plain(found.params, found.config), params["backbone"])
    return dataclasses.replace(found, params=parameter_sets.fold_lora(whole, lora.scale))
