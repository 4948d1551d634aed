"""Ways in which a student learns from weak labels, one file a way; the interface is `stages.student.WayToLearn`."""

from w2s_jax.runtime.registry import discover
from w2s_jax.students.ccs import CCS
from w2s_jax.students.prompt import Prompt
from w2s_jax.students.registry import WAYS_TO_LEARN
from w2s_jax.students.train import Train

__all__ = ["CCS", "WAYS_TO_LEARN", "Prompt", "Train"]

discover(__name__, __path__)  # a new file of this folder needs no line here
