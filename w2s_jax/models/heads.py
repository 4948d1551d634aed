"""The heads that published classifiers were trained with: read to start from, or named where they are left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from w2s_jax.models import adapters, families, hub_files
from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families.heads import HeadForm
from w2s_jax.models.pretrained import opened, outline
from w2s_jax.models.sources import locate
from w2s_jax.runtime.errors import UserError

CLASSIFIER = "ForSequenceClassification"  # what transformers' classes of such models end with


def form(source: str, config: ModelConfig) -> HeadForm:
    """The head of a classifier of this name and config.

    Raises:
      UserError: none is known, or it has a setting that is not implemented.
    """
    found = known_form(source, config)
    if found is None:
        raise UserError(f"no trained head of a {config.family} classifier is implemented; leave head at 'new'")
    return found


def known_form(source: str, config: ModelConfig) -> HeadForm | None:
    """The same, or None where none is known; config.json is read only where a family's heads differ."""
    family = families.of(config)
    found = family.head_form({})
    return family.head_form(_settings(source)) if found is not None and found.settings else found


def classes(source: str) -> int | None:
    """How many outputs a model's trained head has; None where it has none, or one that is not known."""
    found = _stored(source)
    return None if found is None else found[1]


def read(source: str) -> dict[str, Any]:
    """A model's trained head, as the parameters of `classifier.Head`, float32.

    Raises:
      UserError: it has none, or one for something else than classes of texts.
    """
    config = outline(source)[0]
    family, wanted = families.of(config), form(source, config)
    _check(source, _settings(source))
    params: dict[str, Any] = {}
    with opened(source) as (tensors, _):
        for path, stored in wanted.tensors.items():
            name = family.plain_name(stored)
            if name not in tensors.shapes:
                raise UserError(f"{source} has no trained head: no {name}")
            *branch, leaf = path.split("/")
            place = params.setdefault(branch[0], {}) if branch else params
            place[leaf] = np.ascontiguousarray(tensors.read(name).T)
    return params


def check(source: str, outputs: int, answers: Sequence[str]) -> None:
    """That a model's trained head is one of a task with so many outputs, without reading it.

    Args:
      answers: what the task calls its classes; they may be others than the model's, but not the same in another order.

    Raises:
      UserError: it is not.
    """
    form(source, outline(source)[0])
    settings, found = _settings(source), classes(source)
    _check(source, settings)
    if found is None:
        raise UserError(f"{source} has no trained head to start from; leave head at 'new'")
    check_outputs(source, found, outputs)
    names = _names(settings.get("id2label"))
    theirs, ours = ([name.strip().lower() for name in each] for each in (names, answers))
    if theirs != ours and sorted(theirs) == sorted(ours):
        raise UserError(
            f"{source} calls its classes {_listed(names)}, and the task {_listed(answers)}: the same in another order; "
            "number the task's classes as the model does"
        )


def check_outputs(source: str, found: int, wanted: int) -> None:
    """Raises:
    UserError: a trained head has another number of outputs than is needed.
    """
    if found != wanted:
        raise UserError(f"{source}: its trained head has {found} outputs, and {wanted} are needed; leave head at 'new'")


def say_left_out(source: str, language_model: bool) -> None:
    """Warns, once in a process, that a model has a trained head which is not used.

    Args:
      language_model: its language-model head is used; otherwise a new head.
    """
    found = _stored(source)
    if found is not None:
        name, count = found
        instead = "its language-model head is read" if language_model else "a new one starts from zero"
        known = not language_model and families.of(outline(source)[0]).head_form({}) is not None
        hint = "; head='pretrained' starts from it" if known else ""
        hub_files.say(f"{source}: its trained head ({name}, {count} classes) is left out, and {instead}{hint}")


def _stored(source: str) -> tuple[str, int] | None:
    """The last linear map of a trained head, and its outputs; of .gguf and .onnx files None."""
    if not isinstance(locate(source).config, Path):
        return None
    family = families.of(outline(source)[0])
    wanted = family.head_form({})
    names = (
        [f"{wanted.output}.weight"] if wanted else ["score.weight", "classifier.weight", "classifier.out_proj.weight"]
    )
    with opened(source) as (tensors, _):
        for name in names:
            if name in tensors.shapes:
                return name, tensors.shapes[name][0]
    return None


def _settings(source: str) -> Mapping[str, Any]:
    own = Path(source) / hub_files.CONFIG
    config = own if own.is_file() else locate(source).config
    return hub_files.settings(config) if isinstance(config, Path) else {}


def _check(source: str, settings: Mapping[str, Any]) -> None:
    adapter = locate(source).adapter  # which has a head of its own
    ours = adapter is not None and adapters.settings(adapter).get("task_type") == "SEQ_CLS"
    kinds = [] if ours else [str(kind) for kind in settings.get("architectures") or []]
    if any("For" in kind for kind in kinds) and not any(kind.endswith((CLASSIFIER, "ForCausalLM")) for kind in kinds):
        raise UserError(
            f"{source}: its head is that of a {kinds[0]}, not of a classifier of texts; leave head at 'new'"
        )
    problem = settings.get("problem_type")
    if problem not in (None, "single_label_classification", "regression"):
        raise UserError(f"{source}: a head of problem_type {problem!r} is not implemented; leave head at 'new'")


def _names(given: Any) -> list[str]:
    """What a config.json calls its classes, in their order."""
    if not isinstance(given, Mapping) or not all(str(key).isdigit() for key in given):
        return []
    return [str(given[key]) for key in sorted(given, key=lambda key: int(key))]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
