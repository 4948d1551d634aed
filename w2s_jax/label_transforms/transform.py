"""A label transform with its options, as a config names it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from w2s_jax.label_transforms.base import LABEL_TRANSFORMS, TransformedLabels, bind, context_of
from w2s_jax.runtime import references
from w2s_jax.runtime.options import Value, with_defaults


@dataclass(frozen=True)
class Transform:
    """One thing that is done to weak labels before a student learns from them.

    Attributes:
      name: a registered label transform (`w2s_jax.label_transforms`), `my_file.py:my_transform`, or a function.
      options: its keyword hyperparameters.
    """

    name: Any
    options: Mapping[str, Value] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.name)

    def __call__(self, weak: Float[np.ndarray, "n c"], **context: Any) -> TransformedLabels:
        """The labels that it leaves, from weak labels and what it asks to see."""
        return bind(self._found.value, **self.options)(weak, **context)

    @property
    def context(self) -> tuple[str, ...]:
        """What it asks to see besides the weak labels."""
        return context_of(self._found.value)

    @property
    def identity(self) -> dict[str, Any]:
        """What a key says of it: its name, or the hash of its code, and all options, defaults included."""
        return {"name": self._found.identity, "options": with_defaults(self._found.value, self.options)}

    def check(self) -> None:
        """That it exists, and takes these options.

        Raises:
          UserError: it does not.
        """
        bind(self._found.value, **self.options)

    @property
    def _found(self) -> references.Found:
        return references.function(self.name, LABEL_TRANSFORMS)
