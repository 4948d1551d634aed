"""An experiment as JSON, and back: every object is tagged with its type, so that saved results can be run again.

{"@type": "Learner", "model": "smollm2-135m", ...}
{"@type": "my_supervisor.py:Committee", "members": [...]}
"""

import dataclasses
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from w2s_jax import config
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.models.preference import Preference
from w2s_jax.runtime import errors, references
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import WAYS_TO_LEARN
from w2s_jax.supervisors import SUPERVISORS
from w2s_jax.supervisors.debates.registry import PARTS
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

TYPE = "@type"  # no field and no option has this name
REFERENCE = "@reference"  # of a function or class of a file, as opposed to text
_PLAIN: Mapping[str, type] = {
    kind.__name__: kind
    for kind in (
        config.Experiment,
        config.MeshConfig,
        config.Method,
        Generative,
        Learner,
        LoopSettings,
        OptimizerConfig,
        Preference,
        config.Published,
        TaskConfig,
        Transform,
    )
}


def to_json(value: Any) -> Any:
    """A config's value as JSON values: dataclasses are objects with their type, functions and classes `file.py:name`.

    What is neither, such as a notebook's function, is its `repr`, which says what it was and cannot be rebuilt.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
        return {TYPE: references.address(type(value)) or type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    address = references.address(value) if _has_an_address(value) else None
    return {REFERENCE: address} if address else repr(value)


def _has_an_address(value: Any) -> bool:
    """Whether this is a class, or a function that stands at the top of its file under its own name."""
    return isinstance(value, type) or (isinstance(value, FunctionType) and not references.is_enclosed(value))


def from_json(value: Any) -> Any:
    """The value that `to_json` wrote. Lists become tuples.

    Raises:
      UserError: an unknown type, a file that is gone, or fields that the type has not.
    """
    if isinstance(value, Mapping):
        if REFERENCE in value:
            return references.named(*_reference(value[REFERENCE]))
        fields = {key: from_json(each) for key, each in value.items() if key != TYPE}
        if TYPE not in value:
            return fields
        kind = _kind(value[TYPE])
        try:
            return kind(**fields)
        except TypeError as error:
            raise UserError(f"{value[TYPE]} cannot be rebuilt from results: {error}") from error
    return tuple(from_json(each) for each in value) if isinstance(value, list) else value


def experiment(value: Mapping[str, Any]) -> config.Experiment:
    """The experiment that results were saved with.

    Raises:
      UserError: as `from_json`, or it is something else.
    """
    found = from_json(value)
    if not isinstance(found, config.Experiment):
        raise UserError("this config is no experiment of this version; run it again")
    return found


def _reference(address: str) -> tuple[str, str]:
    parts = references.split(address)
    if parts is None:
        raise UserError(f"{address!r} is no reference to a function of a file")
    return parts


def _known() -> dict[str, type]:
    return {**_PLAIN, **SUPERVISORS, **PARTS, **WAYS_TO_LEARN}


def _kind(tag: str) -> Any:
    reference = references.split(tag)
    if reference is not None:
        return references.named(*reference)
    known = _known()
    if tag not in known:
        raise errors.unknown("type", tag, known)
    return known[tag]
