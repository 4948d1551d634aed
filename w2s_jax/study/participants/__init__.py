"""Simulated participants, one file a kind: they take part through the server, as people do, and are marked in all data.

`base` is the interface: a Participant opens a Mind, which asks and answers. `model` is a weak model that names letters,
`reader` one that reads options, and `scripted` does what is written beforehand; `client` speaks the server's HTTP for
any of them.
"""

from w2s_jax.study.participants.base import Answered, Mind, Participant, Seen
from w2s_jax.study.participants.model import Model
from w2s_jax.study.participants.reader import Reader
from w2s_jax.study.participants.scripted import Script

__all__ = ["Answered", "Mind", "Model", "Participant", "Reader", "Script", "Seen"]
