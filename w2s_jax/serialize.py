"""An experiment as JSON, and back: every object is tagged with its type, so that saved results can be run again.

{"type": "Learner", "model": "smollm2-135m", ...}
{"type": "my_supervisor.py:Committee", "members": [...]}
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from w2s_jax import config
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.models.preference import Preference
from w2s_jax.runtime import errors, references
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import WAYS_TO_LEARN
from w2s_jax.supervisors import SUPERVISORS
from w2s_jax.train.learner import Generative, Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

TYPE = "type"
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
        TaskConfig,
        Transform,
    )
}


def to_json(value: Any) -> Any:
    """A config's value as JSON values; dataclasses are objects with their type.

    Raises:
      UserError: an object that JSON cannot hold and no file defines, such as a function of a notebook.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {TYPE: _tag(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): to_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(each) for each in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    tag = references.address(value if callable(value) and hasattr(value, "__qualname__") else type(value))
    return tag if tag is not None else repr(value)


def from_json(value: Any) -> Any:
    """The value that `to_json` wrote. Lists become tuples.

    Raises:
      UserError: an unknown type, a file that is gone, or fields that the type has not.
    """
    if isinstance(value, Mapping):
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


def _known() -> dict[str, type]:
    return {**_PLAIN, **SUPERVISORS, **WAYS_TO_LEARN}


def _tag(kind: type) -> str:
    address = references.address(kind)
    if address is not None:
        return address
    return kind.__name__


def _kind(tag: str) -> Any:
    reference = references.split(tag)
    if reference is not None:
        return references.named(*reference)
    known = _known()
    if tag not in known:
        raise errors.unknown("type", tag, known)
    return known[tag]
