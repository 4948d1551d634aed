"""Common sense: what happens next, how a goal is reached, how long things take, what people do."""

from collections.abc import Iterable

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, class_field, is_absent, list_field, text_field
from w2s_jax.data.sources import Hub, Tfds
from w2s_jax.data.tasks.base import CONVERTED, TASKS, Card, Task
from w2s_jax.data.tasks.choice import candidates, check_place, numbered, register_with_pairs


def hellaswag(record: Record) -> Iterable[Example]:
    """Is this how the text continues? Endings of one video or article stay together."""
    context, endings = text_field(record, "ctx", "context").strip(), list_field(record, "endings")
    label = -1 if is_absent(record.get("label")) else class_field(record, "label")
    if label < 0:
        return
    check_place(label, endings)
    group = str(record.get("source_id") or context)
    right = endings[label]
    for example in candidates(context, right, endings, group=group, ask="Text"):
        yield example._replace(text=str(example.text).replace("\nAnswer: ", "\nContinuation: "))


def piqa(record: Record) -> Iterable[Example]:
    """Does this reach the goal?"""
    solutions, label = [text_field(record, "sol1"), text_field(record, "sol2")], class_field(record, "label")
    if label >= 0:
        check_place(label, solutions)
        yield from candidates(text_field(record, "goal"), solutions[label], solutions, ask="Goal")


def social_i_qa(record: Record) -> Iterable[Example]:
    """Is this the answer to the question about the situation? Labels are counted from 1."""
    answers = [text_field(record, f"answer{letter}") for letter in "ABC"]
    yield from numbered(record, answers, class_field(record, "label") - 1, text_field(record, "context"))


def mc_taco(record: Record) -> Iterable[Example]:
    """Is this a plausible answer to the question of time? All candidates of one sentence stay together."""
    sentence, question, answer = (text_field(record, name).strip() for name in ("sentence", "question", "answer"))
    label = {"yes": 1, "no": 0}.get(str(record.get("label", record.get("labels"))).lower())
    label = class_field(record, "label", "labels") if label is None else label
    text = f"{sentence}\nQuestion: {question}\nAnswer: {answer}"
    yield Example(digest(text), text, label, digest(sentence))


register_with_pairs(
    Task(
        "hellaswag",
        "is this how the text continues?",
        Hub("Rowan/hellaswag", ("data/*.parquet",)),
        hellaswag,
        other_sources={"tfds": Tfds("hellaswag", "train+validation")},
        card=Card("MIT, by the card's text", 49_947),
    )
)
register_with_pairs(
    Task(
        "piqa",
        "does this reach the goal?",
        Hub("ybisk/piqa", ("*/*/*.parquet",), CONVERTED),
        piqa,
        other_sources={
            "tfds": Tfds("piqa", "train+validation"),
            "mirror": Hub("baber/piqa", ("piqa_*.parquet",)),
        },
        card=Card("unknown", 17_951),
    )
)
register_with_pairs(
    Task(
        "social_i_qa",
        "is this the answer about the situation?",
        Hub("allenai/social_i_qa", ("*/*/*.parquet",), CONVERTED),
        social_i_qa,
        other_sources={"mirror": Hub("lighteval/siqa", ("data/*.parquet",))},
        card=Card("not stated", 35_364),
    )
)
TASKS.register(
    Task(
        "mc_taco",
        "is this a plausible answer about time?",
        Hub("CogComp/mc_taco", ("*/*/*.parquet",), CONVERTED),
        mc_taco,
        other_sources={"tfds": Tfds("mctaco", "validation+test")},
        card=Card("unknown", 13_225),
    )
)
