"""Modules with their parameters: a pretrained backbone under a head over classes, or as a language model."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh

from w2s_jax.models import heads, quantized, shapes
from w2s_jax.models.classifier import Classifier
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.language_model import LanguageModel
from w2s_jax.models.layers import Lora
from w2s_jax.models.params import Params
from w2s_jax.models.pooling import Pooling
from w2s_jax.models.preference import Preference, PreferenceModel
from w2s_jax.models.pretrained import Pretrained, outline, unembedding
from w2s_jax.models.shapes import Model
from w2s_jax.runtime import sharding
from w2s_jax.runtime.errors import UserError


def build_classifier(
    pretrained: Pretrained,
    n_classes: int,
    *,
    rng: jax.Array,
    pooling: Pooling | None = None,
    dropout: float = 0.0,
    scan: bool = True,
    remat: str = "none",
    dtype: str = "float32",
    lora: Lora | None = None,
    head: Literal["new", "pretrained"] = "new",
    mesh: Mesh | None = None,
) -> tuple[Classifier, dict[str, Any]]:
    """The pretrained backbone under a new head, or that of a published classifier, and adapters if asked for.

    Args:
      rng: of what is new.
      mesh: where the parameters are placed. New ones are created there.

    Returns:
      The module, and its parameters `{"backbone": ..., "head": ...}`; pretrained ones that are in place are not copied.

    Raises:
      UserError: the pretrained head is not there, or is one of other classes.
    """
    form = heads.form(pretrained.name, pretrained.config) if head == "pretrained" else None
    module = Classifier(pretrained.config, n_classes, pooling, None, dropout, scan, remat, dtype, lora, form=form)
    return module, with_pretrained(module, pretrained, rng=rng, mesh=mesh)


def build_language_model(
    pretrained: Pretrained,
    *,
    rng: jax.Array,
    dropout: float = 0.0,
    scan: bool = True,
    remat: str = "none",
    dtype: str = "float32",
    lora: Lora | None = None,
    mesh: Mesh | None = None,
) -> tuple[LanguageModel, dict[str, Any]]:
    """The pretrained backbone under its language-model head, and adapters if asked for.

    Args:
      rng, mesh: as for `build_classifier`.

    Returns:
      The module, and its parameters `{"backbone": ...}`, with `"unembed"` where its embeddings are not tied.

    Raises:
      UserError: it is an encoder, or its head cannot be found, or it is cut to its first layers.
    """
    module = LanguageModel(pretrained.config, dropout, scan, remat, dtype, lora)
    return module, with_pretrained(module, pretrained, rng=rng, mesh=mesh)


def build_preference_model(
    pretrained: Pretrained,
    preference: Preference,
    candidates: int,
    *,
    rng: jax.Array,
    dropout: float = 0.0,
    scan: bool = True,
    remat: str = "none",
    dtype: str = "float32",
    lora: Lora | None = None,
    mesh: Mesh | None = None,
) -> tuple[PreferenceModel, dict[str, Any]]:
    """The pretrained language model as its own judge of candidates, and adapters if asked for.

    Without adapters, DPO's reference is a copy of all parameters: 4 bytes each, on top of the 12 that training them
    with AdamW holds.

    Args:
      candidates: texts of an example.
      rng, mesh: as for `build_classifier`.

    Returns:
      The module, and a language model's parameters, with `"reference"` for DPO without adapters.

    Raises:
      UserError: an example is one text; and those of `build_language_model`.
    """
    check_preference(pretrained.name, pretrained.config, candidates)
    module = PreferenceModel(
        pretrained.config, dropout, scan, remat, dtype, lora, preference=preference, candidates=candidates
    )
    return module, with_pretrained(module, pretrained, rng=rng, mesh=mesh)


def with_pretrained(
    module: Model, pretrained: Pretrained, *, rng: jax.Array, mesh: Mesh | None = None
) -> dict[str, Any]:
    """The module's parameters: the pretrained ones, and the others fresh.

    Args:
      rng, mesh: as for `build_classifier`.

    Raises:
      UserError: as `build_classifier` and `build_language_model`.
    """
    return with_pretrained_each(module, pretrained, [rng], mesh=mesh)[0]


def with_pretrained_each(
    module: Model, pretrained: Pretrained, rngs: Sequence[jax.Array], *, mesh: Mesh | None = None
) -> list[dict[str, Any]]:
    """`with_pretrained` for each of these random keys; what is pretrained is the same arrays in all of them."""
    where = shapes.shardings(module, mesh)
    known = _known(module, pretrained, where)

    def fresh(key: jax.Array) -> Any:
        return _only_new(nn.unbox(shapes.initial(module, key)), known)

    out = None if mesh is None else _only_new(where, known)
    made = jax.jit(fresh, out_shardings=out)
    if mesh is not None:
        known = sharding.place(known, _only_known(where, known))  # what lies there already is not touched
    return [_overlay(made(rng), known) for rng in rngs]


def _known(module: Model, pretrained: Pretrained, where: Params) -> dict[str, Any]:
    """The parameters that are not fresh."""
    if isinstance(module, LanguageModel):
        _check_language_model(pretrained.name, pretrained.config)
    known: dict[str, Any] = {"backbone": pretrained.params}
    kept = nn.unbox(shapes.boxed_shapes(module))
    if module.base != "float32":
        known = quantized.keep(known, kept, where)
    if isinstance(module, LanguageModel) or module.form is None:
        heads.say_left_out(pretrained.name, isinstance(module, LanguageModel))
    else:
        known["head"] = heads.read(pretrained.name)
        heads.check_outputs(pretrained.name, known["head"]["kernel"].shape[1], module.n_classes)
    if "unembed" in where:
        known["unembed"] = {"embedding": pretrained.unembedding}
        if pretrained.unembedding is None:
            known["unembed"] = {"embedding": unembedding(pretrained.name, where["unembed"]["embedding"])}
        if module.base != "float32":
            known |= quantized.keep({"unembed": known["unembed"]}, kept, where)
    if "reference" in where:  # what trains is donated
        known["reference"] = jax.tree.map(lambda leaf: jnp.copy(leaf) if isinstance(leaf, jax.Array) else leaf, known)
    return known


def check_preference(name: str, config: ModelConfig, candidates: int) -> None:
    """That a model can score the candidates of an example by itself.

    Raises:
      UserError: it is an encoder; an example is one text.
    """
    if candidates < 2:
        raise UserError(
            "a learner with a preference compares the candidates of an example, and this task's examples are one text: "
            "choose a task such as hh_pairs, or leave preference at None"
        )
    _check_decoder(name, config)


def _check_decoder(name: str, config: ModelConfig) -> None:
    if config.is_encoder:
        raise UserError(f"{name} is an encoder: it has no language-model head; choose a decoder")


def _check_language_model(name: str, config: ModelConfig) -> None:
    _check_decoder(name, config)
    if config.n_layers != outline(name)[0].n_layers:
        raise UserError(f"a language model is read at its top: leave read_layer of {name} at None")


def _only_new(made: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of `made` that `known` lacks; so what is pretrained is never initialised."""
    new = {}
    for key, value in made.items():
        if not isinstance(value, Mapping):
            if key not in known:
                new[key] = value
        elif branch := _only_new(value, known.get(key, {})):
            new[key] = branch
    return new


def _only_known(made: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of `made` that `known` has."""
    return {
        key: _only_known(made[key], value) if isinstance(value, Mapping) else made[key] for key, value in known.items()
    }


def _overlay(new: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(new)
    for key, value in known.items():
        merged[key] = _overlay(merged.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged
