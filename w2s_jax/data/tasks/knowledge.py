"""Knowledge of science, school subjects and entities."""

from collections.abc import Iterable, Mapping

from w2s_jax.data.example import Example, Question, digest
from w2s_jax.data.records import Record, class_field, text_field
from w2s_jax.data.sources import Hub, Tfds
from w2s_jax.data.tasks.base import TASKS, Card, Task
from w2s_jax.data.tasks.choice import (
    Keyed,
    candidates,
    check_place,
    lettered,
    numbered,
    register_with_choices,
    register_with_pairs,
)

MMLU_COLUMNS = ("question", "A", "B", "C", "D", "answer")
ON_A_PASSAGE = "This question refers to the following information."


def sciq(record: Record) -> Iterable[Example]:
    """Is this the answer to the science question? The support passage is not shown."""
    wrong = [text_field(record, f"distractor{i}") for i in (1, 2, 3)]
    return candidates(text_field(record, "question"), text_field(record, "correct_answer"), wrong)


def sciq_with_support(record: Record) -> Iterable[Example]:
    """As `sciq`, with the passage that holds the answer."""
    wrong = [text_field(record, f"distractor{i}") for i in (1, 2, 3)]
    question, right = text_field(record, "question"), text_field(record, "correct_answer")
    yield from candidates(question, right, wrong, context=text_field(record, "support"))


def mmlu(record: Record) -> Iterable[Example]:
    """Is this the answer to the exam question? Options come as a list or as columns; the answer as number or letter."""
    options, answer = _mmlu_options(record)
    return candidates(text_field(record, "question"), options[answer], [*options[:answer], *options[answer + 1 :]])


def mmlu_choices(record: Record) -> Iterable[Keyed]:
    """Which answer to the exam question is right? Questions on one passage stay together.

    The passage is what stands between "This question refers to the following information." and the last line: of the
    test questions, 606 in history have one of 201. Other questions are groups of their own. Subjects are not kept
    together: there are 57, of which one holds 11% of all questions, so a test split of whole subjects would measure
    two or three of them. Whoever wants to hold subjects out reads some of them alone, by `source`.
    """
    options, answer = _mmlu_options(record)
    asked, passage = text_field(record, "question").strip(), ""
    if asked.startswith(ON_A_PASSAGE):
        passage, _, asked = asked.removeprefix(ON_A_PASSAGE).strip().rpartition("\n")
    group = digest(" ".join((passage or asked).split()))
    yield Keyed(Question(passage.strip(), asked.strip(), tuple(each.strip() for each in options)), answer, group)


def _mmlu_options(record: Record) -> tuple[list[str], int]:
    """The options and the right one's place."""
    names = MMLU_COLUMNS[1:5] if "A" in record else [f"choice{i}" for i in range(4)]
    options = list(record["choices"]) if "choices" in record else [text_field(record, name) for name in names]
    letters = {"A": 0, "B": 1, "C": 2, "D": 3}
    answer = letters[record["answer"]] if record.get("answer") in letters else class_field(record, "answer")
    check_place(answer, options)
    return options, answer


def openbookqa(record: Record) -> Iterable[Example]:
    """Is this the answer to the science question? Right and wrong answers are both shown as text."""
    asked = record.get("question")
    if isinstance(asked, Mapping):  # as TFDS has it: the answers beside the question, the right one by its number
        choices = [text_field(asked, f"choice_{letter}") for letter in "ABCD"]
        yield from numbered({"question": text_field(asked, "stem")}, choices, class_field(record, "answerKey"), "")
    else:
        yield from lettered(record, text_field(record, "question_stem"))


def quartz(record: Record) -> Iterable[Example]:
    """Is this the answer to the question of qualitative relations? Questions on one paragraph stay together."""
    paragraph = text_field(record, "para")
    yield from lettered(record, text_field(record, "question"), paragraph, str(record.get("para_id") or paragraph))


def creak(record: Record) -> Iterable[Example]:
    """Is the claim about an entity true? Claims about one entity stay together."""
    text = text_field(record, "sentence").strip()
    yield Example(digest(text), text, class_field(record, "label"), text_field(record, "entity"))


register_with_pairs(
    Task(
        "sciq",
        "is this the answer to the science question?",
        Hub("allenai/sciq", ("data/*.parquet",)),
        sciq,
        card=Card("CC BY-NC 3.0", 13_679),
    )
)
register_with_pairs(
    Task(
        "sciq_with_support",
        "is this the answer to the science question? its passage is shown",
        Hub("allenai/sciq", ("data/*.parquet",)),
        sciq_with_support,
        card=Card("CC BY-NC 3.0", 13_679),
    )
)
register_with_choices(
    Task(
        "mmlu",
        "is this the answer to the exam question?",
        Hub("cais/mmlu", ("all/test*.parquet",)),
        mmlu,
        columns=MMLU_COLUMNS,
        card=Card("MIT", 14_042),
    ),
    mmlu_choices,
    4,
)
register_with_pairs(
    Task(
        "openbookqa",
        "is this the answer to the science question?",
        Hub("allenai/openbookqa", ("main/*.parquet",)),
        openbookqa,
        other_sources={"tfds": Tfds("openbookqa", "train+validation+test")},
        card=Card("unknown", 5_957),
    )
)
register_with_pairs(
    Task(
        "quartz",
        "is this the answer about the relation?",
        Hub("allenai/quartz", ("data/*.parquet",)),
        quartz,
        card=Card("CC BY 4.0", 3_864),
    )
)
TASKS.register(
    Task(
        "creak",
        "is the claim about an entity true?",
        Hub("amydeng2000/CREAK", ("train.json", "dev.json")),
        creak,
        card=Card("not stated", 11_547),
    )
)
