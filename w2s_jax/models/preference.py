"""Candidates scored by a language model's own probabilities, without a new head: DPO and SimPO."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from w2s_jax.models import params as parameter_sets
from w2s_jax.models.language_model import LanguageModel, Lengths, Tokens
from w2s_jax.models.packing import Packing
from w2s_jax.runtime.errors import UserError


@dataclass(frozen=True)
class Preference:
    """How a language model scores a reply. P(second is better) = sigmoid(score of the second - score of the first), so
    that cross entropy is the published loss, and with soft labels conservative DPO (Mitchell 2023).

    Attributes:
      score: `dpo` (Rafailov et al. 2023, arXiv 2305.18290, eq. 7): `beta * log(pi(reply | prompt) / pi_ref(reply |
        prompt))`, pi_ref being the model before training; or `simpo` (Meng et al. 2024, arXiv 2405.14734, section 2.2):
        `beta * mean of log pi(token | before)` over the reply's tokens. SimPO's margin is left out: it wants to know
        which reply wins, which a soft label does not say.
      beta: more than 0. The papers take 0.1 (DPO) and 2 to 10 (SimPO).
    """

    score: Literal["dpo", "simpo"]
    beta: float

    def __post_init__(self) -> None:
        if self.score not in ("dpo", "simpo") or not 0 < self.beta < math.inf:
            raise UserError(f"a preference's score is 'dpo' or 'simpo', with beta above 0, not {self}")


class PreferenceModel(LanguageModel, kw_only=True):
    """A score for each candidate, which stand one after another: examples of `candidates` texts.

    Its parameters are a language model's; for DPO without adapters they are there once more, under `reference`, which
    never trains. With adapters, the reference is the same model without them.

    Attributes:
      candidates: K.
    """

    preference: Preference
    candidates: int

    def setup(self) -> None:
        super().setup()
        if self.preference.score == "dpo" and self.lora is None:
            self.reference = LanguageModel(self.config, scan=self.scan, dtype=self.dtype)

    def __call__(
        self, tokens: Tokens, lengths: Lengths, *, deterministic: bool = True, packing: Packing | None = None
    ) -> Float[Array, "b 1"]:
        """Scores, float32; arguments as in `Classifier`."""
        start = reply_start(tokens, lengths, self.candidates)
        found = self.score(tokens, lengths, start, deterministic=deterministic, packing=packing)
        if self.preference.score == "simpo":
            value = found[:, 0] / jnp.maximum(found[:, 1], 1)
        else:
            value = found[:, 0] - self._reference(tokens, lengths, start, packing)
        return self.preference.beta * value[:, None]

    def _reference(
        self, tokens: Tokens, lengths: Lengths, start: Int[Array, " b"], packing: Packing | None
    ) -> Float[Array, " b"]:
        """Log-probabilities under the model as it was; nothing is learned through them."""
        if self.lora is None:
            return self.reference.score(tokens, lengths, start, packing=packing)[:, 0]
        if self.is_initializing():  # it has no parameters of its own
            return jnp.zeros(len(start))
        plain = LanguageModel(self.config, scan=self.scan, dtype=self.dtype, base=self.base, parent=None)
        params = parameter_sets.without_lora(self.variables["params"])
        scores: Any = plain.apply({"params": params}, tokens, lengths, start, packing=packing, method="score")
        return scores[:, 0]


def reply_start(tokens: Tokens, lengths: Lengths, candidates: int) -> Int[Array, " b"]:
    """Where each text's reply begins: after the tokens that all candidates of its example begin with: the prompt and
    any words that the replies begin with alike.

    Where one candidate is the beginning of another, its last token still counts as its reply.
    """
    tokens = jnp.asarray(tokens)
    rows, shortest = tokens.reshape(-1, candidates, tokens.shape[1]), jnp.asarray(lengths).reshape(-1, candidates)
    last = jnp.min(shortest, axis=1) - 1
    alike = jnp.all(rows == rows[:, :1], axis=1) & (jnp.arange(tokens.shape[1]) < last[:, None])
    first = jnp.argmin(jnp.pad(alike, ((0, 0), (0, 1))), axis=1)
    return jnp.repeat(first, candidates)
