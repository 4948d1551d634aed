"""Reading comprehension: questions on a passage or a dialogue."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, Question, digest
from w2s_jax.data.records import Record, class_field, field, is_absent, list_field, text_field
from w2s_jax.data.sources import Hub, Tfds
from w2s_jax.data.tasks.base import CONVERTED, TASKS, Card, Task
from w2s_jax.data.tasks.choice import Keyed, candidates, numbered, register_with_choices, register_with_pairs


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
    for each in _quality_records(record):
        yield from numbered(each, list_field(each, "options"), _quality_answer(each), text_field(each, "article"))


def quality_choices(record: Record) -> Iterable[Keyed]:
    """Which answer to the question about the article is right? Questions on one article stay together.

    The difficulty is 1 where most people who had 45 seconds for the article could not answer, else 0 (`hard`, or, in
    the original files, `difficult`; Pang et al. 2022).
    """
    for each in _quality_records(record):
        article, label = text_field(each, "article").strip(), _quality_answer(each)
        if label >= 0:
            asked = Question(article, text_field(each, "question").strip(), tuple(list_field(each, "options")))
            is_hard = class_field(each, "hard", "difficult") if "hard" in each or "difficult" in each else 0
            yield Keyed(asked, label, digest(article), float(is_hard))


def _quality_records(record: Record) -> Iterable[Record]:
    """A record for each question: as the Hub has them, or nested in their article, as in the original JSON lines."""
    if "questions" not in record:
        return [record]
    above = {name: value for name, value in record.items() if name != "questions"}
    return [{**above, "gold_label": None, **each} for each in list_field(record, "questions")]


def _quality_answer(record: Record) -> int:
    """The right option's place, which `answer` counts from 0 and `gold_label` from 1; -1 in the original test file."""
    if "gold_label" in record:
        return -1 if is_absent(record["gold_label"]) else class_field(record, "gold_label") - 1
    return class_field(record, "answer")


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
register_with_choices(
    Task(
        "quality",
        "is this the answer about the long article?",
        Hub("emozilla/quality", ("data/*.parquet",)),
        quality,
        card=Card("not stated", 4_609),
    ),
    quality_choices,
    4,
)
