"""The user's own records: labelled texts, and pairs of which one is preferred."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.sources import Record, class_field, text_field


def own_row(record: Record) -> Iterable[Example]:
    """A record of `text` and `label`, or of `chosen` and `rejected`."""
    return own_comparison(record) if compares(record) else labelled_text(record)


def compares(record: Record) -> bool:
    """Whether a record holds two texts to compare."""
    return "chosen" in record and "text" not in record


def own_comparison(record: Record) -> Iterable[Example]:
    """A record of `chosen` and `rejected`, each to be scored by itself, right after `prompt` if there is one."""
    prompt = text_field(record, "prompt") if record.get("prompt") is not None else ""
    chosen, rejected = (prompt + text_field(record, name) for name in ("chosen", "rejected"))
    if chosen != rejected:
        texts = tuple(sorted((chosen, rejected)))  # so that both ways of one pair are seen to contradict each other
        texts = texts[::-1] if coin(*texts) else texts
        label = texts.index(chosen)
        group = digest(prompt) if prompt else digest(*texts)
        identifier = str(record.get("id", digest(*texts)))
        difficulty = float(record.get("difficulty", 0.0))
        yield Example(identifier, texts, label, str(record.get("group", group)), difficulty)


def labelled_text(record: Record) -> Iterable[Example]:
    """A record of `text`, `label` and, if they are there, `group`, `id` and `difficulty`.

    >>> next(iter(labelled_text({"text": "a fine film", "label": 1, "id": 7, "group": "g"})))
    Example(id='7', text='a fine film', label=1, group='g', difficulty=0.0, shares=None)
    """
    text = text_field(record, "text")
    identifier, group = (str(record.get(name, digest(text))) for name in ("id", "group"))
    difficulty = float(record.get("difficulty", 0.0))
    yield Example(identifier, text, class_field(record, "label"), group, difficulty)
