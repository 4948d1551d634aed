"""The tasks' data sets as their repositories on the Hub lay them out, with a few invented records each.

    hub_datasets.serve(hub)                          # all of them, or those that are named
    hub_datasets.expected(24)["boolq"].check(reading, examples)

Paths, splits, shards, columns, types and the conventions of labels are those of the real repositories, and so are the
files that no task wants: other configs, unlabelled splits, cards and scripts. Texts are made up here, about towns that
do not exist; `town(i)` is another one for each number, and no two records are alike. A config that shares nothing with
a wanted one holds only a column `idx`; of MMLU's 57 subjects there are a few.

What a record means is said twice, and compared by `check`: here by hand, from what the source says of its columns, and
by the task that reads it.
"""

import csv
import gzip
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests.fake_hub import FakeHub

Record = dict[str, Any]
Files = dict[str, bytes]
Make = Callable[[int], Record]
# Of each column: a name of Arrow's; (names of the classes,), a number; [type of the elements]; {part: type}. A list of
# parts, [{part: type}], is stored as parts of lists, as the datasets library stores it.
Columns = Mapping[str, Any]

MAIN, CONVERTED = "main", "refs/convert/parquet"
THREE = ("train", "validation", "test")
UNWANTED = 10_000  # records from this number on occur only in files that no task reads
SUBJECTS = ("abstract_algebra", "anatomy", "astronomy", "elementary_mathematics", "nutrition", "virology")
# Other copies of a task's records: what is given as its source to read them.
MIRRORS = {"piqa": "hf:baber/piqa:*.parquet", "social_i_qa": "hf:lighteval/siqa:data/*.parquet"}

REPOSITORIES: dict[str, Callable[[int], list[tuple[str, Files]]]] = {}  # its commits, in order, each to a revision


def serve(hub: FakeHub, records: int = 24, names: Iterable[str] | None = None) -> None:
    """Gives the Hub these repositories, or all; every split has so many records."""
    for name in REPOSITORIES if names is None else names:
        for revision, files in commits(name, records):
            hub.add("datasets", name, files, revision)


@cache
def commits(name: str, records: int) -> list[tuple[str, Files]]:
    """A repository's commits, in order, each with the branch that it is made on."""
    return REPOSITORIES[name](records)


def town(i: int) -> str:
    """A name for each number."""
    i, first = divmod(i, 10)
    i, last = divmod(i, 10)
    starts = ("Belk", "Corv", "Dulm", "Falg", "Golv", "Hark", "Kesk", "Lorv", "Marz", "Norv")
    ends = ("aford", "eham", "imere", "owick", "ubury", "astead", "ethorpe", "iworth", "oby", "ucombe")
    return starts[first] + ends[last] + (f" {i + 1}" if i else "")


def person(i: int) -> str:
    return ("Ada", "Bruno", "Clara", "Dario", "Edda", "Felix", "Gilda")[i % 7]


def bridges(i: int) -> int:
    return 3 + 7 * i % 40


def rotated(items: Sequence[str], place: int) -> list[str]:
    """The items with the first at this place, and the others after and before it."""
    return [items[(k - place) % len(items)] for k in range(len(items))]


def rows(make: Make, n: int, split: int = 0, **changes: object) -> list[Record]:
    """The records of the split of this number: no two splits have one in common."""
    return [make(i) | changes for i in range(split * n, (split + 1) * n)]


def parquet(columns: Columns, records: Sequence[Record]) -> bytes:
    """As the datasets library writes it: in several groups of rows, and with the features in the schema's metadata."""
    schema = pa.schema([(name, _arrow(kind)) for name, kind in columns.items()])
    features = {name: _feature(kind) for name, kind in columns.items()}
    table = pa.Table.from_pylist(list(records), schema)
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=10)
    return sink.getvalue()


def shards(path: str, columns: Columns, records: Sequence[Record], of: int = 1) -> Files:
    """`path-00000-of-00002.parquet` and so on, each with as many of the records."""
    size = -(-len(records) // of)
    parts = [records[k * size : (k + 1) * size] for k in range(of)]
    return {f"{path}-{k:05d}-of-{of:05d}.parquet": parquet(columns, part) for k, part in enumerate(parts)}


def splits(
    folder: str, columns: Columns, make: Make, n: int, names: Sequence[str] = THREE, unlabelled: Record | None = None
) -> Files:
    """One file for each split; the test split has these labels, where they are given."""
    files: Files = {}
    for k, name in enumerate(names):
        changes = unlabelled if name == "test" and unlabelled else {}
        files |= shards(f"{folder}/{name}", columns, rows(make, n, k, **changes))
    return files


def converted(files: Files) -> tuple[str, Files]:
    """The same files as the Hub's own conversion names them."""
    return CONVERTED, {path.replace("-00000-of-00001", "/0000"): content for path, content in files.items()}


def beside(*paths: str) -> Files:
    """Files of other configs, with nothing in common with the wanted ones."""
    return {name: content for path in paths for name, content in shards(path, {"idx": "int32"}, [{"idx": 0}]).items()}


def json_lines(records: Iterable[Record]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def comma_separated(records: Sequence[Record]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


def card(name: str) -> Files:
    """What stands in nearly every repository."""
    attributes = "*.parquet filter=lfs diff=lfs merge=lfs -text\n*.gz filter=lfs diff=lfs merge=lfs -text\n"
    readme = f"---\nlicense: cc0-1.0\n---\n\n# Invented records in the layout of {name}\n"
    return {".gitattributes": attributes.encode(), "README.md": readme.encode()}


def script(name: str, *configs: str) -> Files:
    """A repository that holds a script, which must never be run."""
    infos = {config: {"description": "", "features": {}} for config in configs}
    return card(name) | {
        f"{name.split('/')[1]}.py": b"raise SystemExit('a script of a data set must never be run')\n",
        "dataset_infos.json": json.dumps(infos).encode(),
    }


def _arrow(kind: Any) -> pa.DataType:
    match kind:
        case str():
            return pa.type_for_alias(kind)
        case tuple():
            return pa.int64()
        case [dict() as parts]:
            return pa.struct([(name, pa.list_(_arrow(part))) for name, part in parts.items()])
        case [element]:
            return pa.list_(_arrow(element))
        case _:
            return pa.struct([(name, _arrow(part)) for name, part in kind.items()])


def _feature(kind: Any) -> Any:
    match kind:
        case str():
            return {"dtype": kind, "_type": "Value"}
        case tuple():
            return {"names": list(kind), "_type": "ClassLabel"}
        case [element]:
            return {"feature": _feature(element), "_type": "Sequence"}
        case _:
            return {name: _feature(part) for name, part in kind.items()}


def _repository(name: str) -> Callable[[Callable[[int], Any]], Callable[[int], Any]]:
    """Registers a repository: its function gives the files of main, or a list of commits."""

    def register(files: Callable[[int], Any]) -> Callable[[int], Any]:
        def made(n: int) -> list[tuple[str, Files]]:
            given = files(n)
            return [(MAIN, card(name) | given)] if isinstance(given, dict) else given

        REPOSITORIES[name] = made
        return files

    return register


# Sentiment


@_repository("stanfordnlp/sst2")
def _sst2(n: int) -> Files:
    columns = {"idx": "int32", "sentence": "string", "label": ("negative", "positive")}

    def make(i: int) -> Record:  # phrases end with a space
        sentence = f"a {('dreary', 'radiant')[i % 2]} film about the ferry of {town(i // 2)} "
        return {"idx": i, "sentence": sentence, "label": i % 2}

    return splits("data", columns, make, n, unlabelled={"label": -1})


@_repository("EleutherAI/twitter-sentiment")
def _twitter(n: int) -> Files:
    def make(i: int) -> Record:
        verdict = ("is a bore :(", "was lovely :)")[i % 2]
        return {"text": f"@miller the fair of {town(i // 2)} {verdict}", "label": i % 2}

    return splits("data", {"text": "string", "label": "int64"}, make, n, ("train", "test"))


@_repository("fancyzhx/amazon_polarity")
def _amazon(n: int) -> Files:
    columns = {"label": ("negative", "positive"), "title": "string", "content": "string"}

    def make(i: int) -> Record:
        title, verdict = (("Waste of money", "It broke"), ("Splendid", "It still runs"))[i % 2]
        return {"label": i % 2, "title": title, "content": f"{verdict} after a week in {town(i // 2)}. "}

    train, test = (rows(make, n, k) for k in range(2))
    return shards("amazon_polarity/train", columns, train, of=4) | shards("amazon_polarity/test", columns, test)


@_repository("fancyzhx/yelp_polarity")
def _yelp(n: int) -> Files:
    columns = {"text": "string", "label": ("1", "2")}

    def make(i: int) -> Record:  # line breaks are spelled out
        verdict = ("Never again", "Go there")[i % 2]
        return {"text": f"We ate in {town(i // 2)}.\\n{verdict}.", "label": i % 2}

    return splits("plain_text", columns, make, n, ("train", "test"))


@_repository("stanfordnlp/imdb")
def _imdb(n: int) -> Files:
    columns = {"text": "string", "label": ("neg", "pos")}

    def make(i: int) -> Record:
        return {"text": f"A film of {town(i // 2)}.<br /><br />{('It drags', 'It sings')[i % 2]}.", "label": i % 2}

    labelled = splits("plain_text", columns, make, n, ("train", "test"))
    return labelled | splits("plain_text", columns, lambda i: make(i) | {"label": -1}, n, ("unsupervised",))


# Language


@_repository("nyu-mll/glue")
def _glue(n: int) -> Files:
    columns = {"sentence": "string", "label": ("unacceptable", "acceptable"), "idx": "int32"}

    def make(i: int) -> Record:
        order = ("mill the of", "the mill of")[i % 2]
        return {"sentence": f"{person(i)} repaired {order} {town(i // 2)}.", "label": i % 2, "idx": i}

    others = ("mrpc", "qnli", "qqp", "rte", "sst2", "stsb", "wnli")
    matched = [f"mnli/{split}_{kind}" for split in THREE[1:] for kind in ("matched", "mismatched")]
    other_paths = [f"{config}/{split}" for config in others for split in THREE]
    cola = splits("cola", columns, make, n, unlabelled={"label": -1})
    return cola | beside("ax/test", "mnli/train", *matched, *other_paths)


@_repository("google-research-datasets/paws")
def _paws(n: int) -> Files:
    columns = {"id": "int32", "sentence1": "string", "sentence2": "string", "label": ("0", "1")}

    def make(i: int) -> Record:
        here, there = town(i // 2), town(i // 2 + 5000)
        start, end = ((there, here), (here, there))[i % 2]
        first, second = f"From {here} to {there} the mail rides .", f"The mail rides from {start} to {end} ."
        return {"id": i + 1, "sentence1": first, "sentence2": second, "label": i % 2}

    def unwanted(i: int) -> Record:
        return make(i + UNWANTED)

    return (
        splits("labeled_final", columns, make, n)
        | splits("labeled_swap", columns, unwanted, n, ("train",))
        | splits("unlabeled_final", columns, unwanted, n, ("train", "validation"))
    )


@_repository("facebook/anli")
def _anli(n: int) -> Files:
    classes = ("entailment", "neutral", "contradiction")
    columns = {"uid": "string", "premise": "string", "hypothesis": "string", "label": classes, "reason": "string"}

    def make(i: int) -> Record:
        place, label = town(i // 2), 0 if i % 2 == 0 else 1 + i // 2 % 2
        claims = (f"There is a mill in {place}.", f"The mill of {place} is old.", f"{place} has no bridge.")
        premise = f"{place} has {bridges(i // 2)} bridges and one mill."
        return {"uid": f"{i:08d}", "premise": premise, "hypothesis": claims[label], "label": label, "reason": ""}

    files: Files = {}
    for k, (number, split) in enumerate(itertools.product((2, 1, 3), ("train", "dev", "test"))):
        files |= shards(f"plain_text/{split}_r{number}", columns, rows(make, n, k))
    return files


@_repository("aps/super_glue")
def _super_glue(n: int) -> Files:
    truth, offsets = ("False", "True"), ("start1", "start2", "end1", "end2")
    wic_columns = {
        **dict.fromkeys(("word", "sentence1", "sentence2"), "string"),
        **dict.fromkeys((*offsets, "idx"), "int32"),
        "label": truth,
    }
    senses = (
        ("crane", "The crane at {} lifts barrels.", "A crane at {} wades in the reeds."),
        ("bank", "The bank of {} lends money.", "The bank at {} is steep and muddy."),
        ("bark", "The bark of the oaks of {} is thick.", "The bark of the dogs of {} is loud."),
        ("seal", "The seal on the letters of {} is red.", "The seal off {} eats herrings."),
        ("match", "The match at {} went to the guests.", "The match lit in {} burnt out."),
        ("spring", "The spring of {} gives clear water.", "The spring in {} was warm and early."),
        ("bat", "The bat of the team of {} is of ash.", "The bat in the tower of {} sleeps."),
        ("pitch", "The pitch in {} is muddy after the game.", "The pitch of the bells of {} is high."),
        ("mole", "The mole digs in the gardens of {}.", "The mole of {} keeps the waves off."),
        ("organ", "The organ of {} has forty pipes.", "The organ shown in {} is a heart."),
        ("ruler", "The ruler of {} wears a crown.", "The ruler made in {} is a foot long."),
        ("wave", "The wave broke over the pier of {}.", "The wave to the crowd of {} was short."),
    )

    def wic(i: int) -> Record:
        word, *both = senses[i // 2 % len(senses)]
        places = town(i // 2), town(i // 2 + 5000)
        texts = [sense.format(place) for sense, place in zip((both[0], both[1 - i % 2]), places, strict=True)]
        starts = [text.index(word) for text in texts]
        spans = dict(zip(offsets, (*starts, *(start + len(word) for start in starts)), strict=True))
        return {"word": word, "sentence1": texts[0], "sentence2": texts[1], **spans, "idx": i, "label": i % 2}

    multirc_columns = {
        **dict.fromkeys(("paragraph", "question", "answer"), "string"),
        "idx": dict.fromkeys(("paragraph", "question", "answer"), "int32"),
        "label": truth,
    }

    def multirc(i: int) -> Record:
        paragraph, question = i // 4, i // 2 % 2
        asked = ("How many bridges are there?", "What does the mill grind?")[question]
        answers = ((bridges(paragraph) + 2, bridges(paragraph)), ("Sand", "Wheat"))[question]
        return {
            "paragraph": f"{town(paragraph)} has {bridges(paragraph)} bridges. Its mill grinds wheat.",
            "question": asked,
            "answer": str(answers[i % 2]),
            "idx": {"paragraph": paragraph, "question": i // 2, "answer": i},
            "label": i % 2,
        }

    others = [f"{config}/{split}" for config in ("boolq", "cb", "copa", "record", "rte", "wsc") for split in THREE]
    return (
        splits("multirc", multirc_columns, multirc, n, unlabelled={"label": -1})
        | splits("wic", wic_columns, wic, n, unlabelled={"label": -1})
        | beside("axb/test", "axg/test", *(f"wsc.fixed/{split}" for split in THREE), *others)
    )


# Knowledge


@_repository("allenai/sciq")
def _sciq(n: int) -> Files:
    names = ("question", "distractor3", "distractor1", "distractor2", "correct_answer", "support")

    def make(i: int) -> Record:  # every sixth has no support
        right, *wrong = rotated(("copper", "iron", "silver", "tin"), i % 4)
        support = f"Whoever digs at {town(i)} finds {right}." if i % 6 else ""
        values = (f"Which metal is found at {town(i)}?", wrong[2], wrong[0], wrong[1], right, support)
        return dict(zip(names, values, strict=True))

    return splits("data", dict.fromkeys(names, "string"), make, n)


@_repository("cais/mmlu")
def _mmlu(n: int) -> Files:
    columns = {"question": "string", "subject": "string", "choices": ["string"], "answer": tuple("ABCD")}

    def make(i: int) -> Record:
        first, second = i + 2, 3 * i % 17 + 1
        choices = rotated([str(first + second + more) for more in (0, 1, -1, 10)], i % 4)
        question = f"What is {first} + {second}?"
        return {"question": question, "subject": SUBJECTS[i % len(SUBJECTS)], "choices": choices, "answer": i % 4}

    auxiliary = rows(make, n, 3, subject="")
    files = shards("auxiliary_train/train", {"train": columns}, [{"train": record} for record in auxiliary])
    files |= shards("all/auxiliary_train", columns, auxiliary)
    for k, split in enumerate(("test", "validation", "dev")):
        records = rows(make, n, k)
        files |= shards(f"all/{split}", columns, records)
        for subject in SUBJECTS:
            of_subject = [record for record in records if record["subject"] == subject]
            files |= shards(f"{subject}/{split}", columns, of_subject)
    return files


@_repository("amydeng2000/CREAK")
def _creak(n: int) -> Files:
    def make(i: int, split: str) -> Record:
        place, what = town(i // 2), ("lemonade", "wheat")[i % 2]
        return {
            "ex_id": f"{split}_{i}",
            "sentence": f"The mill of {place} grinds {what}." + " " * (i % 3 == 0),
            "explanation": "Mills grind grain.",
            "label": ("false", "true")[i % 2],
            "entity": place,
            "en_wiki_pageid": str(1000 + i // 2),
            "entity_mention_loc": [[12, 12 + len(place)]],
        }

    contrast = [make(i + UNWANTED, "c") | {"explanation": "n/a", "pair_id": f"p_{i // 2}"} for i in range(n)]
    return {
        "train.json": json_lines(make(i, "train") for i in range(n)),
        "dev.json": json_lines(make(i, "dev") for i in range(n, 2 * n)),
        "contrast_set.json": json_lines(contrast),
    }


@_repository("allenai/openbookqa")
def _openbookqa(n: int) -> Files:
    choices = [{"text": "string", "label": "string"}]
    columns = {"id": "string", "question_stem": "string", "choices": choices, "answerKey": "string"}
    more = {"fact1": "string", "humanScore": "float32", "clarity": "float32", "turkIdAnonymized": "string"}

    def make(i: int) -> Record:
        texts = rotated(("wheat", "fog", "silence", "moonlight"), i % 4)
        stem = f"What the mill of {town(i)} grinds is"
        return {
            "id": f"7-{i}",
            "question_stem": stem,
            "choices": {"text": texts, "label": list("ABCD")},
            "answerKey": "ABCD"[i % 4],
        }

    def additional(i: int) -> Record:
        return make(i) | {"fact1": "mills grind grain", "humanScore": 1.0, "clarity": 1.6, "turkIdAnonymized": "b356"}

    return splits("main", columns, make, n) | splits("additional", {**columns, **more}, additional, n)


@_repository("allenai/quartz")
def _quartz(n: int) -> Files:
    cause_and_effect = dict.fromkeys(
        ("effect_prop", "cause_dir_str", "effect_dir_str", "cause_dir_sign", "effect_dir_sign", "cause_prop"), "string"
    )
    columns = {
        "id": "string",
        "answerKey": "string",
        "choices": [{"text": "string", "label": "string"}],
        "para": "string",
        "para_id": "string",
        "para_anno": cause_and_effect,
        "question": "string",
        "question_anno": dict.fromkeys(("more_effect_dir", "less_effect_dir", "more_effect_prop"), "string"),
    }

    def make(i: int) -> Record:
        place, change = town(i // 2), ("grows", "shrinks")[i % 2]
        return {
            "id": f"QRQA-{i}",
            "answerKey": "AB"[i % 2],
            "choices": {"text": ["increases", "decreases"], "label": ["A", "B"]},
            "para": f"The more it rains at {place}, the more water the mill has.",
            "para_id": f"QRSent-{i // 2}",
            "para_anno": {"cause_prop": "rain", "effect_prop": "water", "cause_dir_sign": "MORE"},
            "question": f"If the rain at {place} {change}, what does the mill's water do?",
            "question_anno": {"more_effect_dir": "increases"},
        }

    return splits("data", columns, make, n)


# Reading


@_repository("google/boolq")
def _boolq(n: int) -> Files:
    def make(i: int) -> Record:
        place, count = town(i // 2), bridges(i // 2)
        question = f"does {place.lower()} have more than {(count, count - 1)[i % 2]} bridges"
        return {"question": question, "answer": i % 2 == 1, "passage": f"{place} has {count} bridges over its river."}

    return splits("data", {"question": "string", "answer": "bool", "passage": "string"}, make, n, THREE[:2])


@_repository("allenai/cosmos_qa")
def _cosmos_qa(n: int) -> list[tuple[str, Files]]:
    answers = [f"answer{k}" for k in range(4)]
    columns = {**dict.fromkeys(("id", "context", "question", *answers), "string"), "label": "int32"}
    none, right = "None of the above choices .", "The last ferry had gone ."
    wrong = ("The mill was closed .", "The ferry was too small .", "The bridge had been sold .")

    def make(i: int) -> Record:  # of eight records, one is answered by nothing that is shown
        texts = (none, *wrong) if i % 8 == 7 else (right, *wrong[:2], none)
        who = person(i)
        context = f"{who} came late to the pier of {town(i)} and waited for the morning ."
        shown = dict(zip(answers, rotated(texts, i % 4), strict=True))
        return {"id": f"q{i}", "context": context, "question": f"Why did {who} wait ?", **shown, "label": i % 4}

    files = splits("default", columns, make, n, unlabelled={"label": -1})
    return [(MAIN, script("allenai/cosmos_qa", "default")), converted(files)]


@_repository("dataset-org/dream")
def _dream(n: int) -> list[tuple[str, Files]]:
    columns = {
        "id": "int32",
        "dialogue_id": "string",
        "dialogue": ["string"],
        "question": "string",
        "choice": ["string"],
        "answer": "string",
    }

    def make(i: int) -> Record:
        right, *wrong = (f"At {1 + (i + k) % 12} o'clock." for k in (0, 3, 6))
        return {
            "id": i,
            "dialogue_id": f"4-{i}",
            "dialogue": [f"M: When does the ferry to {town(i)} leave?", f"W: {right}"],
            "question": "When does the ferry leave?",
            "choice": rotated((right, *wrong), i % 3),
            "answer": right,
        }

    return [(MAIN, script("dataset-org/dream", "plain_text")), converted(splits("plain_text", columns, make, n))]


@_repository("textmachinelab/quail")
def _quail(n: int) -> Files:
    first = ("id", "context_id", "question_id", "domain")
    columns = {
        **dict.fromkeys(first, "string"),
        "metadata": dict.fromkeys(("author", "title", "url"), "string"),
        **dict.fromkeys(("context", "question", "question_type"), "string"),
        "answers": ["string"],
        "correct_answer_id": "int32",
    }

    def make(i: int) -> Record:  # two questions on a text; of eight questions, one cannot be answered from it
        text, who, unknown = i // 2, person(i // 2), i % 8 == 7
        asked = (
            ("Where did {} sleep?", "at the mill", "at the inn", "at the pier"),
            ("How did {} come?", "by boat", "on foot", "by coach"),
            ("What did the mill cost {}?", "a crown", "a cow", "ten crowns"),
        )
        question, *answers = asked[2 if unknown else i % 2]
        place = 3 if unknown else i // 2 % 3
        return {
            **dict(zip(first, (f"f00{i}", f"f00{text}", str(i % 2), "fiction"), strict=True)),
            "metadata": {"author": "nobody", "title": town(text), "url": ""},
            "context": f"{who} came to {town(text)} by boat and slept at the mill.",
            "question": question.format(who),
            "question_type": "Unanswerable" if unknown else "Factual",
            "answers": [*(answers if unknown else rotated(answers, place)), "not enough information"],
            "correct_answer_id": place,
        }

    return splits("quail", columns, make, n, ("train", "validation", "challenge"))


@_repository("emozilla/quality")
def _quality(n: int) -> Files:
    columns = {
        "article": "string",
        "question": "string",
        "options": ["string"],
        "answer": "int64",  # counted from 0
        "hard": "bool",
    }

    def make(i: int) -> Record:
        who = person(i // 2)
        story = f"{who} lived in {town(i // 2)} by the river. " + "Every morning the ferry came and went. " * 20
        question = (f"Where was {who}'s home?", f"What came every morning to {who}'s town?")[i % 2]
        options = rotated(((town(i // 2), "The ferry")[i % 2], "The moon", "A forest", "A letter"), i % 4)
        values = (story, question, options, i % 4, i % 3 == 0)
        return dict(zip(columns, values, strict=True))

    return splits("data", columns, make, n, THREE[:2])


# Common sense


@_repository("Rowan/hellaswag")
def _hellaswag(n: int) -> Files:
    names = ("activity_label", "ctx_a", "ctx_b", "ctx")
    columns = {
        "ind": "int32",
        **dict.fromkeys(names, "string"),
        "endings": ["string"],
        **dict.fromkeys(("source_id", "split", "split_type", "label"), "string"),
    }
    endings = ("pulls the oars with both arms.", "eats the oars.", "hangs the river on a nail.", "sells the waves.")

    def make(i: int) -> Record:  # two records of one video; the label is text
        above, who = f"A boat leaves the pier of {town(i // 2)}.", ("the rower", "the woman")[i % 2]
        return {
            "ind": i,
            **dict(zip(names, ("Rowing a boat", above, who, f"{above} {who}"), strict=True)),
            "endings": rotated(endings, i % 4),
            "source_id": f"activitynet~v_{i // 2:05d}",
            "split": "train",
            "split_type": "indomain",
            "label": str(i % 4),
        }

    return splits("data", columns, make, n, unlabelled={"label": ""})


_PIQA = {**dict.fromkeys(("goal", "sol1", "sol2"), "string"), "label": ("0", "1")}
_SIQA = dict.fromkeys(("context", "question", "answerA", "answerB", "answerC", "label"), "string")


def _piqa_record(i: int) -> Record:
    first, second = rotated(("wrap it in a linen cloth.", "sink it in the river."), i % 2)
    return {"goal": f"To keep the bread of {town(i)} fresh,", "sol1": first, "sol2": second, "label": i % 2}


def _siqa_record(i: int) -> Record:  # the label is text, and counts from 1
    who, answers = person(i), rotated(("honest", "greedy", "asleep"), i % 3)
    context = f"{who} found a purse in {town(i)} and returned it."
    values = (context, f"How would you describe {who}?", *answers, str(1 + i % 3))
    return dict(zip(_SIQA, values, strict=True))


@_repository("ybisk/piqa")
def _piqa(n: int) -> list[tuple[str, Files]]:
    files = splits("plain_text", _PIQA, _piqa_record, n, unlabelled={"label": -1})
    return [(MAIN, script("ybisk/piqa", "plain_text")), converted(files)]


@_repository("baber/piqa")
def _piqa_mirror(n: int) -> list[tuple[str, Files]]:
    """The splits lie at the top, and there is no card."""
    files = splits("piqa", {**_PIQA, "label": "int64"}, _piqa_record, n, unlabelled={"label": -1})
    renamed = {path.replace("/", "_").replace("-00000-of-00001", ""): content for path, content in files.items()}
    return [(MAIN, {".gitattributes": card("baber/piqa")[".gitattributes"], **renamed})]


@_repository("allenai/social_i_qa")
def _social_i_qa(n: int) -> list[tuple[str, Files]]:
    files = splits("default", _SIQA, _siqa_record, n, THREE[:2])
    return [(MAIN, script("allenai/social_i_qa", "default")), converted(files)]


@_repository("lighteval/siqa")
def _siqa_mirror(n: int) -> Files:
    return splits("data", _SIQA, _siqa_record, n, THREE[:2])


@_repository("CogComp/mc_taco")
def _mc_taco(n: int) -> list[tuple[str, Files]]:
    categories = ("Event Duration", "Event Ordering", "Frequency", "Typical Time", "Stationarity")
    columns = {
        **dict.fromkeys(("sentence", "question", "answer"), "string"),
        "label": ("no", "yes"),
        "category": categories,
    }

    def make(i: int) -> Record:
        answer = ("six years", "forty minutes", "two seconds", "an hour")[i % 4]
        sentence, question = f"{person(i // 4)} baked bread in {town(i // 4)}.", "How long did the bread take to bake?"
        return {"sentence": sentence, "question": question, "answer": answer, "label": i % 2, "category": 0}

    files = splits("plain_text", columns, make, n, ("validation", "test"))
    return [(MAIN, script("CogComp/mc_taco", "plain_text")), converted(files)]


# Ethics


@_repository("hendrycks/ethics")
def _ethics(n: int) -> list[tuple[str, Files]]:
    """All configs lie in one folder of the converted branch; main holds a script and other tables."""

    def deontology(i: int) -> Record:
        excuse = ("No, because gardens are green.", "No, because it has rained all night.")[i % 2]
        return {"label": i % 2, "scenario": f"Could you water the gardens of {town(i // 2)}?", "excuse": excuse}

    def justice(i: int) -> Record:
        reason = ("the moon is round.", "my boat has a leak.")[i % 2]
        scenario = f"I row {person(i // 2)} to {town(i // 2)} every day, but I won't today because {reason}"
        return {"label": i % 2, "scenario": scenario}

    def virtue(i: int) -> Record:
        act = f"{person(i // 2)} returned the purse that lay in the street of {town(i // 2)}."
        return {"label": i % 2, "scenario": f"{act} [SEP] {('greedy', 'honest')[i % 2]}"}

    def utilitarianism(i: int) -> Record:
        walk = f"I walked through {town(i)} in the sun."
        return {"baseline": walk, "less_pleasant": f"{walk} Then I lost my keys."}

    def commonsense(i: int) -> Record:
        return {"label": i % 2, "input": f"I {('fed', 'stole')[i % 2]} the geese of {town(i // 2)}."}

    converted_files: Files = {}
    main = script("hendrycks/ethics", "commonsense", "deontology", "justice", "utilitarianism", "virtue")
    for make in (commonsense, deontology, justice, utilitarianism, virtue):
        name, columns = make.__name__, {key: "int32" if key == "label" else "string" for key in make(0)}
        converted_files |= splits(name, columns, make, n)
        main |= {
            f"data/{name}/{split}.csv": comma_separated(rows(make, n, k))
            for k, split in enumerate(("train", "test", "test_hard"))
        }
    return [(MAIN, main), converted(converted_files)]


# Preferences


@_repository("Anthropic/hh-rlhf")
def _hh(n: int) -> Files:
    def make(i: int) -> Record:  # every other dialogue goes on where the one before it ended
        asked = f"\n\nHuman: How long does the ferry from {town(i // 2)} take?\n\nAssistant:"
        if i % 2:
            asked += " Two hours.\n\nHuman: Does it run on Sundays?\n\nAssistant:"
        good, bad = (("Two hours, from noon on.", "No idea."), ("Yes, twice.", "Look it up yourself."))[i % 2]
        return {"chosen": f"{asked} {good}", "rejected": f"{asked} {bad}"}

    def packed(content: bytes) -> bytes:
        return gzip.compress(content, mtime=0)

    configs = ("harmless-base", "helpful-base", "helpful-online", "helpful-rejection-sampled")
    attempt = {"transcript": "\n\nHuman: Hello", "rating": 1.0}
    files = {"red-team-attempts/red_team_attempts.jsonl.gz": packed(json.dumps([attempt]).encode())}
    for k, config in enumerate(configs):
        files[f"{config}/train.jsonl.gz"] = packed(json_lines(rows(make, n, k)))
        files[f"{config}/test.jsonl.gz"] = packed(json_lines(make(UNWANTED + k * n + i) for i in range(n)))
    return files


# Chess


def puzzle(i: int) -> Record:
    """The rook mates on the last rank after a pawn's move that does not matter: white's rook, or black's for odd ones.

    The position is that before the opponent's move, and the moves are the opponent's and the mate.
    """
    k, black_mates = divmod(i, 2)
    k, rook = divmod(k, 5)
    k, rank = divmod(k, 5)
    pawn = (rook + 1 + k % 4) % 5
    board = {(6, 7): "k", (5, 6): "p", (6, 6): "p", (7, 6): "p", (6, 0): "K", (7, 1): "P"}
    board |= {(rook, rank): "R", (pawn, 6): "p"}
    moves = [((pawn, 6), (pawn, 5)), ((rook, rank), (rook, 7))]
    if black_mates:
        board = {(file, 7 - rank): piece.swapcase() for (file, rank), piece in board.items()}
        moves = [((a, 7 - b), (c, 7 - d)) for (a, b), (c, d) in moves]
    ranks = ["".join(board.get((file, rank), " ") for file in range(8)) for rank in reversed(range(8))]
    placed = re.sub(" +", lambda empty: str(len(empty[0])), "/".join(ranks))
    names = [f"{'abcdefgh'[a]}{b + 1}{'abcdefgh'[c]}{d + 1}" for (a, b), (c, d) in moves]
    return {
        "PuzzleId": f"{i:05d}",
        "FEN": f"{placed} {'wb'[1 - black_mates]} - - 0 {20 + i}",
        "Moves": " ".join(names),
        "Rating": 600 + 20 * (i % 50),
        "RatingDeviation": 80,
        "Popularity": 90,
        "NbPlays": 100 + i,
    }


@_repository("Lichess/chess-puzzles")
def _chess(n: int) -> list[tuple[str, Files]]:
    """Main as it was, then uploaded again with other types, one more column and one less."""
    numbers, themes = ("Rating", "RatingDeviation", "Popularity", "NbPlays"), ["backRankMate", "endgame", "mateIn1"]
    earlier = {
        **dict.fromkeys(("PuzzleId", "FEN", "Moves"), "string"),
        **dict.fromkeys(numbers, "int64"),
        **dict.fromkeys(("Themes", "GameUrl", "OpeningTags"), "string"),
    }
    later = {
        "PuzzleId": "large_string",
        "GameId": "string",
        **dict.fromkeys(("FEN", "Moves"), "large_string"),
        **dict(zip(numbers, ("uint16", "uint16", "int8", "uint32"), strict=True)),
        "Themes": ["string"],
        "OpeningTags": ["string"],
    }

    def before(i: int) -> Record:
        return puzzle(i + UNWANTED) | {"Themes": " ".join(themes), "GameUrl": f"https://lichess.org/{i:08d}#40"}

    def now(i: int) -> Record:
        return puzzle(i) | {"GameId": f"{i:08d}", "Themes": themes, "OpeningTags": []}

    name = "Lichess/chess-puzzles"
    return [
        (MAIN, card(name) | shards("data/train", earlier, rows(before, n), of=3)),
        (MAIN, card(name) | shards("data/train", later, rows(now, n), of=3)),
    ]


# What the records mean


class Expected(NamedTuple):
    """What a task must find in its repository.

    Attributes:
      records: in the files that it reads.
      left_out: of them, those that give no example: they have no label, or their answer tells nothing.
      examples: that the others give.
      truth: some examples' texts with their labels, or the names of their classes. Of each group exactly one is shown:
        which wrong answer, or which of two texts comes first, is the task's choice. Of two texts that are compared,
        the better one is 1 and the other 0.
    """

    records: int
    left_out: int
    examples: int
    truth: tuple[Mapping[str, int | str], ...]

    def check(self, reading: Any, examples: Sequence[Any], answers: Sequence[str] = ()) -> None:
        """Compares what a task has read: its `Reading`, its examples, and its names of the classes where it has any."""
        assert (reading.records, reading.unlabelled, reading.labelled) == self[:3]
        assert len(examples) == self.examples
        found: dict[str, int] = {}
        for example in examples:
            if isinstance(example.text, str):
                found[example.text] = example.label
            else:
                found |= {text: int(place == example.label) for place, text in enumerate(example.text)}
        for group in self.truth:
            shown = [text for text in group if text in found]
            assert len(shown) == 1, f"{len(shown)} of these are shown: {list(group)}"
            label = group[shown[0]]
            assert found[shown[0]] == (answers.index(label) if isinstance(label, str) else label), shown[0]


def _all_shown(one: Expected) -> Expected:
    """The same where all answers of a question are candidates of one example."""
    right, wrong = one.truth
    return one._replace(examples=one.examples // 2, truth=(right, *({text: 0} for text in wrong)))


@cache
def expected(records: int = 24) -> dict[str, Expected]:
    """By the name of the task, where every split has so many records, of which 4 or more are needed."""
    n = records

    def labelled(splits: int, form: str, truth: Mapping[str, int | str]) -> Expected:
        """Each record gives one example; `form` with each of these words has this label."""
        return Expected(splits * n, 0, splits * n, tuple({form.format(word): label} for word, label in truth.items()))

    def ordered(splits: int, form: str, better: str, worse: str, first: int) -> Expected:
        """Two texts in either order; `first` is the label where the better one comes first."""
        truth = {form.format(better, worse): first, form.format(worse, better): 1 - first}
        return Expected(splits * n, 0, splits * n, (truth,))

    def choice(splits: int, form: str, right: str, *wrong: str, left_out: int = 0) -> Expected:
        """Each record that is not left out gives a right answer and a wrong one."""
        truth = {form.format(right): 1}, {form.format(answer): 0 for answer in wrong}
        return Expected(splits * n, left_out, 2 * (splits * n - left_out), truth)

    def unanswered(splits: int) -> int:
        return sum(i % 8 == 7 for i in range(splits * n))

    one_by_one = {
        "sst2": labelled(2, "a {} film about the ferry of Belkaford", {"dreary": 0, "radiant": 1}),
        "twitter_sentiment": labelled(2, "@miller the fair of Belkaford {}", {"is a bore :(": 0, "was lovely :)": 1}),
        "amazon_polarity": labelled(
            2,
            "{} after a week in Belkaford.",
            {"Waste of money\nIt broke": 0, "Splendid\nIt still runs": 1},
        ),
        "yelp_polarity": labelled(2, "We ate in Belkaford.\n{}.", {"Never again": 0, "Go there": 1}),
        "cola": labelled(2, "{} of Belkaford.", {"Ada repaired mill the": 0, "Bruno repaired the mill": 1}),
        "paws": labelled(
            3,
            "Sentence 1: From Belkaford to Belkaford 51 the mail rides .\n"
            "Sentence 2: The mail rides from {} .\n\nDo they mean the same?",
            {"Belkaford 51 to Belkaford": 0, "Belkaford to Belkaford 51": 1},
        ),
        "wic": labelled(
            2,
            'Sentence 1: The crane at Belkaford lifts barrels.\nSentence 2: {}.\n\nDoes "crane" mean the same in both?',
            {"A crane at Belkaford 51 wades in the reeds": 0, "The crane at Belkaford 51 lifts barrels": 1},
        ),
        "anli_r2": labelled(
            3,
            "{}\n\nDoes the premise entail the hypothesis?",
            {
                "Belkaford has 3 bridges and one mill.\n\nHypothesis: There is a mill in Belkaford.": 1,
                "Belkaford has 3 bridges and one mill.\n\nHypothesis: The mill of Belkaford is old.": 0,  # neutral
                "Corvaford has 10 bridges and one mill.\n\nHypothesis: Corvaford has no bridge.": 0,
            },
        ),
        "boolq": labelled(
            2,
            "Passage: Belkaford has 3 bridges over its river.\nQuestion: Does belkaford have more than {} bridges?",
            {"3": 0, "2": 1},
        ),
        "multirc": labelled(
            2,
            "Belkaford has 3 bridges. Its mill grinds wheat.\nQuestion: How many bridges are there?\nAnswer: {}",
            {"5": 0, "3": 1},
        ),
        "creak": labelled(2, "The mill of Belkaford grinds {}.", {"lemonade": 0, "wheat": 1}),
        "mc_taco": labelled(
            2,
            "Ada baked bread in Belkaford.\nQuestion: How long did the bread take to bake?\nAnswer: {}",
            {"six years": 0, "forty minutes": 1, "two seconds": 0, "an hour": 1},
        ),
        "ethics_deontology": labelled(
            3,
            "Could you water the gardens of Belkaford?\n\nNo, because {}.\n\nIs this morally reasonable?",
            {"gardens are green": 0, "it has rained all night": 1},
        ),
        "ethics_justice": labelled(
            3,
            "I row Ada to Belkaford every day, but I won't today because {}.\n\nIs this just?",
            {"the moon is round": 0, "my boat has a leak": 1},
        ),
        "ethics_virtue": labelled(
            3,
            "Ada returned the purse that lay in the street of Belkaford.\n\nDoes this show the trait: {}?",
            {"greedy": 0, "honest": 1},
        ),
        "ethics_utilitarianism": ordered(
            3,
            "Scenario 1: {}\nScenario 2: {}\n\nIs scenario 1 more pleasant?",
            "I walked through Belkaford in the sun.",
            "I walked through Belkaford in the sun. Then I lost my keys.",
            first=1,
        ),
        "hh": ordered(
            4,
            "Human: How long does the ferry from Belkaford take?"
            "\n\nResponse A: {}\n\nResponse B: {}\n\nThe better response is",
            "Two hours, from noon on.",
            "No idea.",
            first=0,
        ),
        "hh_pairs": labelled(
            4,
            "Human: How long does the ferry from Belkaford take?\n\nAssistant: {}",
            {"Two hours, from noon on.": 1, "No idea.": 0},
        ),
        "chess": labelled(
            1, "Position: 6k1/1p3ppp/8/8/8/8/7P/R5K1 b - - 0 20\nLast move: {}\nBest move:", {"b7b6": "a1a8"}
        ),
        "chess_two_way": choice(
            1,
            "Position: 6k1/5ppp/1p6/8/8/8/7P/R5K1 w - - 0 21\nAnswer: {}",
            "a1a8",
            *(f"a1a{rank}" for rank in range(2, 8)),
            *(f"a1{file}1" for file in "bcdef"),
            *("g1f1", "g1f2", "g1g2", "g1h1", "h2h3", "h2h4"),
        ),
    }
    with_pairs = {
        "sciq": choice(
            3, "Question: Which metal is found at Belkaford?\nAnswer: {}", "copper", "iron", "silver", "tin"
        ),
        "sciq_with_support": choice(
            3,
            "Whoever digs at Corvaford finds tin.\nQuestion: Which metal is found at Corvaford?\nAnswer: {}",
            *("tin", "copper", "iron", "silver"),
        ),
        "mmlu": choice(1, "Question: What is 2 + 1?\nAnswer: {}", "3", "4", "2", "13"),
        "openbookqa": choice(
            3,
            "Question: What the mill of Corvaford grinds is\nAnswer: {}",
            *("wheat", "fog", "silence", "moonlight"),
        ),
        "quartz": choice(
            3,
            "The more it rains at Belkaford, the more water the mill has.\n"
            "Question: If the rain at Belkaford shrinks, what does the mill's water do?\nAnswer: {}",
            *("decreases", "increases"),
        ),
        "cosmos_qa": choice(
            3,
            "Bruno came late to the pier of Corvaford and waited for the morning .\n"
            "Question: Why did Bruno wait ?\nAnswer: {} .",
            *("The last ferry had gone", "The mill was closed", "The ferry was too small"),
            left_out=unanswered(2) + n,
        ),
        "dream": choice(
            3,
            "M: When does the ferry to Belkaford leave?\nW: At 1 o'clock.\n"
            "Question: When does the ferry leave?\nAnswer: At {} o'clock.",
            *("1", "4", "7"),
        ),
        "quail": choice(
            3,
            "Ada came to Belkaford by boat and slept at the mill.\nQuestion: Where did Ada sleep?\nAnswer: at the {}",
            *("mill", "inn", "pier"),
            left_out=unanswered(3),
        ),
        "quality": choice(
            2,
            f"Ada lived in Belkaford by the river. {'Every morning the ferry came and went. ' * 20}".strip()
            + "\nQuestion: What came every morning to Ada's town?\nAnswer: {}",
            *("The ferry", "The moon", "A forest", "A letter"),
        ),
        "hellaswag": choice(
            3,
            "Text: A boat leaves the pier of Belkaford. the rower\nContinuation: {}.",
            *("pulls the oars with both arms", "eats the oars", "hangs the river on a nail", "sells the waves"),
            left_out=n,
        ),
        "piqa": choice(
            3,
            "Goal: To keep the bread of Corvaford fresh,\nAnswer: {}.",
            *("wrap it in a linen cloth", "sink it in the river"),
            left_out=n,
        ),
        "social_i_qa": choice(
            2,
            "Ada found a purse in Belkaford and returned it.\nQuestion: How would you describe Ada?\nAnswer: {}",
            *("honest", "greedy", "asleep"),
        ),
    }
    pairs = {f"{name}_pairs": one._replace(examples=one.examples // 2) for name, one in with_pairs.items()}
    every = {f"{name}_choices": _all_shown(with_pairs[name]) for name in ("mmlu", "quality")}
    return one_by_one | with_pairs | pairs | every


EXPECTED = expected()
