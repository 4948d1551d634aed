"""Hyperparameters of a function, as a config gives them."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

Value = int | float | str | bool


def with_defaults(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with those that were left at their defaults, so that writing a default out makes no difference."""
    parameters = inspect.signature(function).parameters.items()
    defaults = {key: p.default for key, p in parameters if isinstance(p.default, Value)}
    return {**defaults, **options}
