"""Reading comprehension: questions on a passage or a dialogue."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, class_field, field, list_field, text_field
from w2s_jax.data.sources import Hub, Tfds
from w2s_jax.data.tasks.base import CONVERTED, TASKS, Card, Task
from w2s_jax.data.tasks.choice import candidates, numbered, register_with_pairs


def boolq(record: Record) -> Iterable[Example]:
    """Is the answer to the question about the passage yes? Questions about one passage stay together."""
    passage, question = text_field(record, "passage"), text_field(record, "question").strip().rstrip("?")
    text = f"Passage: {passage}\nQuestion: {question[:1].upper()}{question[1:]}?"
    yield Example(digest(text), text, class_field(record, "answer", "label"), digest(passage))


def multirc(record: Record) -> Iterable[Example]:
    """Is this a correct answer to the question about the passage? All examples of one passage stay together."""
    passage, question, answer = (text_field(record, name).strip() for name in ("paragraph", "question", "answer"))
    label = class_field(record, "label")
    if label >= 0:
        text = f"{passage}\nQuestion: {question}\nAnswer: {answer}"
        yield Example(digest(text), text, label, digest(passage))


def cosmos_qa(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the context? "None of the above" is never shown."""
    answers = [text_field(record, f"answer{i}") for i in range(4)]
    yield from numbered(record, answers, class_field(record, "label"), text_field(record, "context"))


def dream(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the dialogue?"""
    dialogue = "\n".join(field(record, "dialogue"))
    right, choices = text_field(record, "answer"), list(field(record, "choice"))
    yield from candidates(text_field(record, "question"), right, choices, context=dialogue, group=dialogue)


def quail(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the text? "Not enough information" is never shown."""
    answers, label = list(field(record, "answers")), class_field(record, "correct_answer_id")
    yield from numbered(record, answers, label, text_field(record, "context"))


def quality(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the article? Questions on one article stay together."""
    yield from numbered(
        record, list_field(record, "options"), class_field(record, "answer"), text_field(record, "article")
    )


TASKS.register(
    Task(
        "boolq",
        "is the answer yes?",
        Hub("google/boolq", ("data/*.parquet",)),
        boolq,
        other_sources={"tfds": Tfds("bool_q", "train+validation")},
        card=Card("CC BY-SA 3.0", 12_697),
    )
)
TASKS.register(
    Task(
        "multirc",
        "is this a right answer about the passage?",
        Hub("aps/super_glue", ("multirc/train*.parquet", "multirc/validation*.parquet")),
        multirc,
        other_sources={"tfds": Tfds("super_glue/multirc", "train+validation")},
        card=Card("other", 32_091),
    )
)
register_with_pairs(
    Task(
        "cosmos_qa",
        "is this the answer about the context?",
        Hub("allenai/cosmos_qa", ("*/*.parquet",), CONVERTED),
        cosmos_qa,
        other_sources={"tfds": Tfds("cosmos_qa", "train+validation")},
        card=Card("CC BY 4.0", 28_247),
    )
)
register_with_pairs(
    Task(
        "dream",
        "is this the answer about the dialogue?",
        Hub("dataset-org/dream", ("*/*/*.parquet",), CONVERTED),
        dream,
        card=Card("unknown", 10_197),
    )
)
register_with_pairs(
    Task(
        "quail",
        "is this the answer about the text?",
        Hub("textmachinelab/quail", ("quail/*.parquet",)),
        quail,
        card=Card("CC BY-NC-SA 4.0", 12_966),
    )
)
register_with_pairs(
    Task(
        "quality",
        "is this the answer about the long article?",
        Hub("emozilla/quality", ("data/*.parquet",)),
        quality,
        card=Card("not stated", 4_609),
    )
)
