"""The kinds of supervisors that have a name."""

from w2s_jax.runtime.registry import Registry
from w2s_jax.stages.supervise import Supervisor

SUPERVISORS = Registry[type[Supervisor]]("kind of supervisor")
