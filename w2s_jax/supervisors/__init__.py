"""Kinds of weak supervisors, one file a kind; the interface is `stages.supervise.Supervisor`.

`trained` a model finetuned on ground truth; `asked` one that nobody trained; `ensemble` several supervisors
(`combining` has the arithmetic); `errors` simulated ones of equal accuracy (`error_structure` where they are wrong);
`given` labels from elsewhere, people's among them; `studied` the answers of a study; `decomposed` a judge of parts;
`advised` a judge with an advisor, whose `transcripts` it reads; `recursive` one whose advisor's arguments a reward
model chooses; `debated` a judge of debates whose parts, in `debates`, combine. `resolve` says what may stand for a
supervisor in a config; a new kind is a file with `@SUPERVISORS.register` (`registry`), imported here, or a class in a
user's own file.
"""

from w2s_jax.runtime.registry import discover
from w2s_jax.supervisors.advised import Advised
from w2s_jax.supervisors.asked import Asked
from w2s_jax.supervisors.debated import Debated
from w2s_jax.supervisors.decomposed import Decomposed
from w2s_jax.supervisors.ensemble import Ensemble
from w2s_jax.supervisors.errors import Errors
from w2s_jax.supervisors.given import Given
from w2s_jax.supervisors.recursive import Recursive
from w2s_jax.supervisors.registry import SUPERVISORS
from w2s_jax.supervisors.resolve import supervisor
from w2s_jax.supervisors.studied import Studied
from w2s_jax.supervisors.trained import Trained

__all__ = [
    "SUPERVISORS",
    "Advised",
    "Asked",
    "Debated",
    "Decomposed",
    "Ensemble",
    "Errors",
    "Given",
    "Recursive",
    "Studied",
    "Trained",
    "supervisor",
]

discover(__name__, __path__)  # a new file of this folder needs no line here
