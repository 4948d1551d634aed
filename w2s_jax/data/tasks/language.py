"""Language itself: acceptability, paraphrase, word senses, entailment."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, class_field, text_field
from w2s_jax.data.sources import Hub, Tfds
from w2s_jax.data.tasks.base import TASKS, Card, Task
from w2s_jax.runtime.errors import UserError


def labelled(text: str, label: int) -> Iterable[Example]:
    """The text and its own label; none without text, or with label -1, which marks what is not labelled."""
    text = text.strip()
    if text and label >= 0:
        yield Example(digest(text), text, label, digest(text))


def sentence(record: Record) -> Iterable[Example]:
    """A sentence with its own label: SST-2, CoLA."""
    yield from labelled(text_field(record, "sentence", "text"), class_field(record, "label"))


def paws(record: Record) -> Iterable[Example]:
    """Do the sentences mean the same? Pairs of the same words, in any order, stay together."""
    first, second = text_field(record, "sentence1").strip(), text_field(record, "sentence2").strip()
    text = f"Sentence 1: {first}\nSentence 2: {second}\n\nDo they mean the same?"
    yield Example(digest(text), text, class_field(record, "label"), digest(*sorted(first.lower().split())))


def wic(record: Record) -> Iterable[Example]:
    """Has the word one sense in both sentences? All examples of one word stay together."""
    word, first, second = (text_field(record, name).strip() for name in ("word", "sentence1", "sentence2"))
    label = class_field(record, "label")
    if label >= 0:
        text = f'Sentence 1: {first}\nSentence 2: {second}\n\nDoes "{word}" mean the same in both?'
        yield Example(digest(text), text, label, digest(word.lower()))


def anli(record: Record) -> Iterable[Example]:
    """Does the premise entail the hypothesis? Neutral and contradicted are 0; those of one premise stay together."""
    premise, hypothesis = text_field(record, "premise", "context"), text_field(record, "hypothesis")
    label = class_field(record, "label")
    if label > 2:
        raise UserError(f"label {label} is none of entailment (0), neutral (1) and contradiction (2)")
    if label >= 0:
        text = f"{premise.strip()}\n\nHypothesis: {hypothesis.strip()}\n\nDoes the premise entail the hypothesis?"
        yield Example(digest(text), text, int(label == 0), digest(premise))


TASKS.register(
    Task(
        "cola",
        "is the sentence acceptable English?",
        Hub("nyu-mll/glue", ("cola/train*.parquet", "cola/validation*.parquet")),
        sentence,
        columns=("origin", "label", "judgement", "sentence"),
        other_sources={"tfds": Tfds("glue/cola", "train+validation")},
        card=Card("other", 9_594),
    )
)
TASKS.register(
    Task(
        "paws",
        "do the sentences mean the same?",
        Hub("google-research-datasets/paws", ("labeled_final/*.parquet",)),
        paws,
        other_sources={"tfds": Tfds("paws_wiki", "train+validation+test")},
        card=Card("other: free for any purpose, with acknowledgement", 65_401),
    )
)
TASKS.register(
    Task(
        "wic",
        "has the word one sense in both sentences?",
        Hub("aps/super_glue", ("wic/train*.parquet", "wic/validation*.parquet")),
        wic,
        other_sources={"tfds": Tfds("super_glue/wic", "train+validation")},
        card=Card("other", 6_066),
    )
)
TASKS.register(
    Task(
        "anli_r2",
        "does the premise entail the hypothesis?",
        Hub("facebook/anli", ("plain_text/*_r2-*.parquet",)),
        anli,
        other_sources={"tfds": Tfds("anli/r2", "train+validation+test")},
        card=Card("CC BY-NC 4.0", 47_460),
    )
)
