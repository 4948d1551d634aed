"""Debates of parts that combine: a protocol says who speaks when, debaters write, and a judge's preference may choose.

protocols.py  who speaks after whom, and for which class: two sides, a judge who asks between turns, a critic
debaters.py   how an argument is written: once, the best of several, refined after a critique
desk.py       the models that a debate needs, each loaded once: they write, and give a judge's preference
training.py   debaters trained by a judge's preferences
registry.py   the kinds of both; a user's own are `my_file.py:Name`
findings.py   what debates do to a judge: persuasion, order, whether a critic may be believed, Elo
"""

from w2s_jax.supervisors.debates.debaters import BestOf, Debater, Refined, Speaker
from w2s_jax.supervisors.debates.protocols import Criticized, Proposed, Protocol, Questioned, TwoSided
from w2s_jax.supervisors.debates.registry import PARTS
from w2s_jax.supervisors.debates.training import Tuned

__all__ = [
    "PARTS",
    "BestOf",
    "Criticized",
    "Debater",
    "Proposed",
    "Protocol",
    "Questioned",
    "Refined",
    "Speaker",
    "Tuned",
    "TwoSided",
]
