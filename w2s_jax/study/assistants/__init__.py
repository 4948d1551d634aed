"""What a participant talks with, one file a kind.

`base` is the one interface: an Assistant opens a Voice, which replies. `local` is a decoder of this package, `endpoint`
an OpenAI-compatible server, `scripted` gives replies that are written beforehand, for tests and demonstrations.
"""

from w2s_jax.study.assistants.base import Assistant, AssistantGone, Message, NoneOfThem, Voice, Weighing
from w2s_jax.study.assistants.endpoint import Endpoint
from w2s_jax.study.assistants.local import Local
from w2s_jax.study.assistants.scripted import Scripted

__all__ = ["Assistant", "AssistantGone", "Endpoint", "Local", "Message", "NoneOfThem", "Scripted", "Voice", "Weighing"]
