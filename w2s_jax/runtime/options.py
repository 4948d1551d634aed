"""Hyperparameters of a function, as a config gives them."""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Value = int | float | str | bool


def with_defaults(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options with those that were left at their defaults, so that writing a default out makes no difference."""
    parameters = inspect.signature(function).parameters.items()
    defaults = {key: p.default for key, p in parameters if isinstance(p.default, Value)}
    return {**defaults, **options}


def check_options(
    what: str, function: Callable[..., Any], options: Mapping[str, Any], *, given: int, context: Collection[str]
) -> None:
    """Checks the names of options; a function that takes any keyword checks its own.

    Args:
      what: the function, as a message names it: `loss 'confidence'`.
      given: how many parameters, the first ones, are no hyperparameters but the data.
      context: the keywords that are no hyperparameters either.

    Raises:
      UserError: an option that the function does not have, or that it needs and is not given.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = {parameter.name: parameter for parameter in parameters[given:] if parameter.name not in context}
    for option in options:
        if option not in known:
            raise errors.unknown(f"option of {what}:", option, known)
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in options]
    if missing:
        raise UserError(f"{what} needs a value for {', '.join(missing)}")
