"""Preferences between two responses in a dialogue (Anthropic's HH)."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.records import Record, text_field
from w2s_jax.data.sources import Hub
from w2s_jax.data.tasks.base import TASKS, Card, Task

REPLY = "\n\nAssistant:"  # what a reply follows in Anthropic's HH dialogues
_HH = Hub("Anthropic/hh-rlhf", ("*/train.jsonl.gz",))


def preference(record: Record) -> Iterable[Example]:
    """Which of two responses is preferred? Both are shown, in an order that a hash decides; 1 is the second.

    Shown one at a time, as openai/weak-to-strong does, the comparison cannot be learned. Dialogues with the same
    opening stay together, for one dialogue may be compared at several of its turns.
    """
    for pair in comparison(record):
        prompt, _, _ = _common_prompt(text_field(record, "chosen"), text_field(record, "rejected"))
        first, second = (text.removeprefix(f"{prompt}{REPLY} ") for text in pair.text)
        text = f"{prompt}\n\nResponse A: {first}\n\nResponse B: {second}\n\nThe better response is"
        yield pair._replace(text=text)


def comparison(record: Record) -> Iterable[Example]:
    """As `preference`, for a reward model: each response after the dialogue, to be scored by itself (A.3)."""
    chosen, rejected = text_field(record, "chosen"), text_field(record, "rejected")
    prompt, chosen_reply, rejected_reply = _common_prompt(chosen, rejected)
    if chosen_reply == rejected_reply:
        return
    label = coin(chosen, rejected)
    replies = (rejected_reply, chosen_reply) if label else (chosen_reply, rejected_reply)
    texts = tuple(f"{prompt}{REPLY} {reply}" for reply in replies)
    yield Example(digest(chosen, rejected), texts, label, digest(prompt.split(REPLY)[0]))


def _common_prompt(chosen: str, rejected: str) -> tuple[str, str, str]:
    """The dialogue both share, up to the last reply that both begin, and how each continues."""
    cut = chosen.rfind(REPLY)
    while cut >= 0 and not rejected.startswith(chosen[: cut + len(REPLY)]):
        cut = chosen.rfind(REPLY, 0, cut)
    if cut < 0:
        return "", chosen.strip(), rejected.strip()
    end = cut + len(REPLY)
    return chosen[:cut].strip(), chosen[end:].strip(), rejected[end:].strip()


TASKS.register(Task("hh", "which response is better?", _HH, preference, answers=("A", "B"), card=Card("MIT", 160_800)))
TASKS.register(
    Task(
        "hh_pairs",
        "which response is better? each scored by itself: a reward model",
        _HH,
        comparison,
        candidates=2,
        card=Card("MIT", 160_800),
    )
)
