"""Families of pretrained models, one file each: how their configs and tensors are read and written.

`base` says what a family is, `settings` and `gguf` hold what many have in common. A user's own file registers a
family by the same call: `FAMILIES.register(...)`.
"""

from w2s_jax.models.config import ModelConfig
from w2s_jax.models.families.base import FAMILIES, Family, from_gguf, from_hf, of, of_gguf, to_hf
from w2s_jax.models.families.settings import HfConfig
from w2s_jax.runtime import references
from w2s_jax.runtime.registry import discover

__all__ = ["FAMILIES", "Family", "HfConfig", "from_gguf", "from_hf", "identity", "of", "of_gguf", "to_hf"]

discover(__name__, __path__)  # a new file of this folder needs no line here
_BUILT_IN = tuple(FAMILIES.values())


def identity(config: ModelConfig) -> str | None:
    """The settings and code of a user's own family, which decide what its files mean; None of the package's families.

    Raises:
      UserError: the family's code cannot be found to be hashed.
    """
    family = of(config)
    return None if family in _BUILT_IN else f"{family!r}@{references.fingerprint(family)}"
