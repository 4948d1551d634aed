"""Kinds of weak supervisors, one file a kind; the interface is `stages.supervise.Supervisor`.

`trained` a model finetuned on ground truth; `ensemble` several supervisors; `errors` simulated ones of equal accuracy;
`given` labels from elsewhere, people's among them; `decomposed` a judge of parts; `advised` a judge with an advisor,
whose `transcripts` it reads; `recursive` one whose advisor's arguments a reward model chooses.
"""

from w2s_jax.supervisors.advised import Advised
from w2s_jax.supervisors.decomposed import Decomposed
from w2s_jax.supervisors.ensemble import Ensemble
from w2s_jax.supervisors.errors import Errors
from w2s_jax.supervisors.given import Given
from w2s_jax.supervisors.recursive import Recursive
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.trained import Trained, supervisor

__all__ = [
    "SUPERVISORS",
    "Advised",
    "Decomposed",
    "Ensemble",
    "Errors",
    "Given",
    "Recursive",
    "Trained",
    "supervisor",
]
