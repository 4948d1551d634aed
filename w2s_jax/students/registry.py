"""The ways to learn that have a name."""

from w2s_jax.runtime.registry import Registry
from w2s_jax.stages.student import Learning

LEARNING = Registry[type[Learning]]("way to learn")
