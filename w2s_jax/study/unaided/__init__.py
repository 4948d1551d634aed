"""The model alone on a study's questions: zero-shot, few-shot, and best of n chains of thought.

These are the arms of Bowman et al. 2022 (arXiv 2211.03540, section 3): a model that is asked for a letter, the same
after examples, and the most confident of n samples that think before they answer. `base` puts the arms together from
letters and chains; who gives these is a kind: `decoder` is one of this package, `server` an OpenAI-compatible one.
"""

from w2s_jax.study.unaided.base import BEST_OF_N, FEW_SHOT, ZERO_SHOT, Alone, Shot, answers, write
from w2s_jax.study.unaided.decoder import Unaided
from w2s_jax.study.unaided.server import UnaidedEndpoint

__all__ = ["BEST_OF_N", "FEW_SHOT", "ZERO_SHOT", "Alone", "Shot", "Unaided", "UnaidedEndpoint", "answers", "write"]
