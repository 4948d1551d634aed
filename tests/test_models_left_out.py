"""Families that are not read: the error names them, what they would need, and what is read."""

import pytest

from w2s_jax.models import families
from w2s_jax.models.families import gguf
from w2s_jax.models.families.left_out import LEFT_OUT
from w2s_jax.runtime.errors import UserError

SUPPORTED = ", ".join(sorted(families.FAMILIES))
TYPES = [kind for each in LEFT_OUT for kind in each.types]


@pytest.mark.parametrize("each", LEFT_OUT, ids=lambda each: each.name)
def test_an_error_says_what_a_family_would_need(each):
    for kind in each.types:
        with pytest.raises(UserError) as error:
            families.from_hf({"model_type": kind})
        said = f"model type {kind!r} is not implemented ({each.name}): it would need {each.needs}; supported: "
        assert str(error.value) == said + SUPPORTED
    for architecture in each.gguf:
        header = gguf.Header({"general.architecture": architecture}, {}, {})
        with pytest.raises(UserError) as error:
            families.from_gguf(header)
        assert f"GGUF architecture {architecture!r} is not implemented ({each.name}): " in str(error.value)


def test_what_is_left_out_is_listed_once_and_is_not_read():
    assert len(set(TYPES)) == len(TYPES)
    assert not set(TYPES) & set(families.FAMILIES)
    read = {family.gguf_name for family in families.FAMILIES.values()}
    assert not {name for each in LEFT_OUT for name in each.gguf} & read


def test_types_are_those_of_transformers():
    """But for what was published with code of its own."""
    transformers = pytest.importorskip("transformers")
    unknown = {kind for kind in TYPES if kind not in transformers.CONFIG_MAPPING}
    assert unknown <= {"RefinedWeb", "RefinedWebModel", "chatglm", "gemma4_unified", "deepseek_v32"}


@pytest.mark.parametrize(("kind", "known"), [("llava", True), ("one_more_with_eyes", False)])
def test_of_a_model_with_a_language_model_that_is_read_it_is_said_how_to_get_it(kind, known):
    with pytest.raises(UserError, match="its language model is a llama: load it with transformers, and save") as error:
        families.from_hf({"model_type": kind, "text_config": {"model_type": "llama"}})
    assert ("models that also read images" in str(error.value)) == known


@pytest.mark.parametrize("config", [{}, {"model_type": "nothing_known"}])
def test_of_others_what_is_read_is_listed(config):
    with pytest.raises(UserError) as error:
        families.from_hf(config)
    assert str(error.value) == f"model type {config.get('model_type')!r} is not implemented; supported: {SUPPORTED}"
