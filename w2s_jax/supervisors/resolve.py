"""What may stand for a supervisor in a config, and as a member of another supervisor."""

from typing import Any

from w2s_jax.runtime import references
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.supervise import Supervisor
from w2s_jax.supervisors.trained import Trained
from w2s_jax.train.learner import Learner


def supervisor(value: Any) -> Supervisor:
    """The supervisor that a config's value stands for: a learner, a supervisor, or `my_file.py:Name` of one.

    Raises:
      UserError: it is none of these.
    """
    if isinstance(value, Learner):
        return Trained(value)
    reference = references.split(value) if isinstance(value, str) else None
    if reference is not None:
        value = references.named(*reference)
        if isinstance(value, type):
            try:
                value = value()
            except TypeError as error:
                raise UserError(f"{reference[1]} needs values for its fields: {error}; name an object of it") from error
        return supervisor(value)
    if Supervisor not in type(value).__mro__:
        raise UserError(
            f"{value!r} is no supervisor: want a Learner, an object whose class inherits from Supervisor, or "
            "my_file.py:Name"
        )
    return value
