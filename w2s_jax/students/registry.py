"""The ways to learn that have a name."""

from w2s_jax.runtime.registry import Registry
from w2s_jax.stages.student import WayToLearn

WAYS_TO_LEARN = Registry[type[WayToLearn]]("way to learn")
