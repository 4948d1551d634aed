"""People's own tables: what is understood of each is right, exactly, and whatever is not is one line that says why."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from tests import tiny as make
from w2s_jax import cli
from w2s_jax.config import Method
from w2s_jax.data import tasks
from w2s_jax.data.example import Example, digest
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.evaluation import measure
from w2s_jax.runtime.errors import UserError


class Read:
    """A file as a task.

    Attributes:
      labels: of each text.
      answers: what the classes are called.
      words: how the table was understood.
    """

    def __init__(self, path, **options):
        self.config = TaskConfig(str(path), **options)
        self.task = tasks.get(str(path), self.config.table)
        self.examples, self.reading = tasks.read_task(self.task, self.config)
        self.labels = {example.text: example.label for example in self.examples}
        self.answers, self.n_classes = self.task.answers, self.task.n_classes
        self.words = "; ".join(self.reading.layout)
        self.groups = {example.text: example.group for example in self.examples}


def refused(path, **options):
    """The line that says why a file is no task."""
    with pytest.raises(UserError) as caught:
        Read(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 1000
    return message


def written(folder, name, content):
    """A file: of text, of bytes, or of records as the suffix says."""
    path = Path(folder) / name
    match path.suffix, content:
        case _, str():
            path.write_text(content, newline="")
        case _, bytes():
            path.write_bytes(content)
        case ((".csv" | ".tsv"), list()):
            names = list(dict.fromkeys(name for record in content for name in record))
            with path.open("w", newline="") as handle:
                writer = csv.DictWriter(handle, names, delimiter="," if path.suffix == ".csv" else "\t")
                writer.writeheader()
                writer.writerows(
                    {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in each.items()} for each in content
                )
        case ".jsonl", list():
            path.write_text("".join(json.dumps(record) + "\n" for record in content))
        case ".json", list():
            path.write_text(json.dumps(content, indent=2))
        case ".parquet", list():
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path)
    return path


ANY = pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet"])


@ANY
def test_names_are_classes_in_sorted_order_or_as_listed(tmp_path, suffix):
    rows = [{"text": "good", "label": "spam"}, {"text": "bad", "label": "ham"}, {"text": "so so", "label": " spam "}]
    path = written(tmp_path, f"a{suffix}", rows)
    found = Read(path)
    assert (found.answers, found.labels) == (("ham", "spam"), {"good": 1, "bad": 0, "so so": 1})
    assert "classes 0 = 'ham' (1), 1 = 'spam' (2)" in found.words
    other = Read(path, classes=("spam", "ham", "eggs"))
    assert (other.answers, other.labels) == (("spam", "ham", "eggs"), {"good": 0, "bad": 1, "so so": 0})
    assert "2 = 'eggs' (0)" in other.words
    assert "label 'ham' (" in refused(path, classes=("spam", "eggs"))
    assert "is none of the classes 'spam', 'eggs'" in refused(path, classes=("spam", "eggs"))


def test_names_of_classes_stand_in_results(tmp_path):
    rows = [{"text": f"text {n}", "label": ["no", "maybe", "yes"][n % 3]} for n in range(60)]
    path = written(tmp_path, "a.jsonl", rows)
    task = TaskData(TaskConfig(str(path), shrink=True))
    assert task.answers == ("maybe", "no", "yes")
    facts = measure._facts(task, 0)
    assert (facts.classes, facts.n_classes) == (("maybe", "no", "yes"), 3)
    assert facts.reading.layout[0] == "text from 'text', label from 'label'"


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        ([0, 1, 1], (), [0, 1, 1]),
        (["1", "0", "1"], (), [1, 0, 1]),
        (["1.0", " 0", "1"], (), [1, 0, 1]),
        (["TRUE", "FALSE", "true"], (), [1, 0, 1]),
        ([True, False, True], (), [1, 0, 1]),
        ([1.0, 0.0, None], (), [1, 0, None]),
        ([1, 0, float("nan")], (), [1, 0, None]),
        ([2, 0, 1], (), [2, 0, 1]),
        ([1, 2, 3, 4, 5], ("1", "2", "3", "4", "5"), [0, 1, 2, 3, 4]),
        (["5", "1.0", 3], ("1", "3", "5"), [2, 0, 1]),
        ([0, 4], ("0", "4"), [0, 1]),
        ([-1, 1], ("-1", "1"), [0, 1]),
        ([-1, 0], ("-1", "0"), [0, 1]),
        ([-1, 0, 1], (), [None, 0, 1]),
        ([-1, 0, 1, 2], (), [None, 0, 1, 2]),
        ([-1, 1, 2], ("-1", "1", "2"), [0, 1, 2]),
        ([10, 9], ("9", "10"), [1, 0]),
        (["yes", "no"], ("no", "yes"), [1, 0]),
        (["b", "", "a", None], ("a", "b"), [1, None, 0, None]),
        (["true", "half-true", "false", True], ("false", "half-true", "true"), [2, 1, 0, 2]),
        (["neutral", "-", "contradiction"], ("contradiction", "neutral"), [1, None, 0]),
        (["neutral", -1, "contradiction"], ("contradiction", "neutral"), [1, None, 0]),
        (["+", "-", "?"], ("+", "-", "?"), [0, 1, 2]),
        (["+", "-"], ("+", "-"), [0, 1]),
        ([["a"], ["b"], []], ("a", "b"), [0, 1, None]),
        (["1_0", "1_1"], ("1_0", "1_1"), [0, 1]),
        (["nan", "inf"], ("inf", "nan"), [1, 0]),
        (["ja", "Nein", "äh"], ("Nein", "ja", "äh"), [1, 0, 2]),
        (["9" * 5000, "x"], ("9" * 5000, "x"), [0, 1]),
    ],
)
def test_labels_of_every_spelling(tmp_path, labels, classes, numbers):
    rows = [{"text": f"text {place}", "label": label} for place, label in enumerate(labels)]
    found = Read(written(tmp_path, "a.jsonl", rows))
    n_classes = max(number for number in numbers if number is not None) + 1
    assert (found.answers, found.n_classes) == (classes, n_classes)
    expected = {f"text {place}": number for place, number in enumerate(numbers) if number is not None}
    assert found.labels == expected
    assert found.reading.unlabelled == numbers.count(None)
    assert ("have no label" in found.words) == (None in numbers)


def test_minus_one_is_a_class_where_it_is_listed(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\nx,-1\ny,0\nz,1\n")
    assert "1 records have no label, such as '-1', which is a class if `classes` lists it" in Read(path).words
    found = Read(path, classes=("-1", "0", "1"))
    assert (found.answers, found.labels) == (("-1", "0", "1"), {"x": 0, "y": 1, "z": 2})
    assert Read(path, classes=("0", "1")).labels == {"y": 0, "z": 1}


def test_names_can_be_given_to_numbers(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\nx,1\ny,0\nz,-1\n")
    found = Read(path, classes=("negative", "positive"))
    assert (found.answers, found.labels) == (("negative", "positive"), {"x": 1, "y": 0})
    path = written(tmp_path, "b.csv", "text,label\nx,1\ny,2\n")
    assert "label '2' (line 3) is none of the classes 'negative', 'positive'" in refused(
        path, classes=("negative", "positive")
    )
    path = written(tmp_path, "c.csv", "text,label\nx,TRUE\ny,False\n")
    assert Read(path, classes=("true", "false")).labels == {"x": 0, "y": 1}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "good", 0], "holds numbers, such as '1' (line 1), and names, such as 'good' (line 2); if all"),
        (["Good", "bad", "good"], "labels 'Good' (line 1) and 'good' (line 3) differ only in case; write them alike"),
        ([1, 1], "column 'label' holds only '1'; there is nothing to learn"),
        (["spam"], "column 'label' holds only 'spam'; there is nothing to learn"),
        ([None, ""], "column 'label' holds no label at all; there is nothing to learn"),
        ([-1, -1], "column 'label' holds only '-1'"),
        ([0.7, 1], "line 1: label 0.7 of column 'label' is no class: want a whole number or a name; for"),
        (["0.7", "0.2"], "label '0.7' (line 1) of column 'label' is no class: want a whole number or a name"),
        (["0.7", "1"], "label '0.7' (line 1) of column 'label' is no class: want a whole number or a name"),
        ([["a", "b"], "a"], "line 1: label ['a', 'b'] of column 'label' is no class"),
        ([{"a": 1}, "a"], "line 1: label {'a': 1} of column 'label' is no class"),
        (list(range(30)), "column 'label' holds 30 different labels in 30 records; is it the label?"),
        ([f"id-{n}" for n in range(40)], "column 'label' holds 40 different labels in 40 records; is it the label?"),
        ([f"id-{n // 2}" for n in range(2100)], "column 'label' holds more than 1,000 different labels"),
    ],
)  # fmt: skip
def test_labels_that_are_none(tmp_path, labels, message):
    rows = [{"text": f"text {place}", "label": label} for place, label in enumerate(labels)]
    assert message in refused(written(tmp_path, "a.jsonl", rows))


def test_labels_that_are_no_classes_can_still_be_listed(tmp_path):
    names = tuple(f"id-{n}" for n in range(40))
    path = written(tmp_path, "a.jsonl", [{"text": f"text {name}", "label": name} for name in names])
    assert Read(path, classes=names).labels == {f"text {name}": place for place, name in enumerate(names)}
    path = written(tmp_path, "b.jsonl", [{"text": "x", "label": "Good"}, {"text": "y", "label": "good"}])
    assert Read(path, classes=("good", "Good")).labels == {"x": 1, "y": 0}
    path = written(tmp_path, "d.csv", "text,label\nx,0.5\ny,1.5\n")
    assert Read(path, classes=("0.5", "1.5")).labels == {"x": 0, "y": 1}
    path = written(tmp_path, "c.jsonl", [{"text": "x", "label": 1}, {"text": "y", "label": "good"}])
    assert Read(path, classes=("good", "1")).labels == {"x": 1, "y": 0}


def class_labels(path, labels, names):
    features = {"label": {"names": names, "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}
    table = pyarrow.table({"text": [f"text {n}" for n in range(len(labels))], "label": labels})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path)
    return path


def test_names_of_class_numbers_are_those_of_the_files_metadata(tmp_path):
    found = Read(class_labels(tmp_path / "a.parquet", [1, 0, 2, -1], ["world", "sports", "art"]))
    assert found.answers == ("world", "sports", "art")
    assert found.labels == {"text 0": 1, "text 1": 0, "text 2": 2}
    some = Read(class_labels(tmp_path / "b.parquet", [3, 1], ["world", "sports", "art", "1"]))
    assert (some.answers, some.labels) == (("sports", "1"), {"text 0": 1, "text 1": 0})
    path = class_labels(tmp_path / "c.parquet", [1, 0], ["neg", "pos"])
    assert Read(path, classes=("pos", "neg")).labels == {"text 0": 0, "text 1": 1}
    assert Read(path, classes=("bad", "good")).labels == {"text 0": 1, "text 1": 0}
    assert "holds only 'pos'" in refused(class_labels(tmp_path / "d.parquet", [1, 1], ["neg", "pos"]))
    rows = {"question": ["Q?", "P?"], "choices": [["a", "b", "c"]] * 2, "answer": [1, 2]}
    metadata = {"huggingface": json.dumps({"info": {"features": {"answer": {"names": list("ABC")}}}})}
    pyarrow.parquet.write_table(pyarrow.table(rows).replace_schema_metadata(metadata), tmp_path / "q.parquet")
    assert {example.label for example in Read(tmp_path / "q.parquet").examples} == {1, 2}
    plain = Read(written(tmp_path, "e.csv", "text,label\nx,1\ny,0\n"), source=str(path))
    assert plain.labels == {"text 0": 1, "text 1": 0}


@pytest.mark.parametrize(
    ("header", "options", "words"),
    [
        ("text,label", {}, "text from 'text', label from 'label'"),
        ("sentence,labels", {}, "text from 'sentence', label from 'labels'"),
        (" Review , SENTIMENT ", {}, "text from 'Review', label from 'SENTIMENT'"),
        ("tweet,class", {}, "text from 'tweet', label from 'class'"),
        ("text,sentence,label", {}, "text from 'text', label from 'label'; classes 0 (1), 1 (1); not read: sentence"),
        ("remark,mark", {"columns": {"text": "remark", "label": "mark"}}, "text from 'remark', label from 'mark'"),
        ("text,review,label", {"columns": {"text": "review"}}, "text from 'review', label from 'label'"),
        ('"my\n  remark",label', {"columns": {"text": "my remark"}}, "text from 'my remark', label"),
    ],
)
def test_common_columns_are_found_and_said(tmp_path, header, options, words):
    names = next(csv.reader(io.StringIO(header)))
    wanted = words.split("'")[1]
    rows = [",".join(f"{value if wanted in ' '.join(n.split()) else number}" for n in names) for value, number in
            (("x", 1), ("y", 0))]  # fmt: skip
    found = Read(written(tmp_path, "a.csv", "\n".join([header, *rows]) + "\n"), **options)
    assert found.words.startswith(words)
    assert found.labels == {"x": 1, "y": 0}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("sentence,review,label", "'sentence' and 'review' may both hold the text; say which: columns={'text': "),
        ("text,class,target", "'class' and 'target' may both hold the label; say which: columns={'label': 'class'}"),
        ("remark,mark", "its columns are 'remark', 'mark'; want a question, choices and the answer; or chosen and"),
        ("text,Text,label", "'text' and 'Text' may both hold the text"),
        ("The first example of all,1,x", "if the first line is an example and not names, say places: columns="),
    ],
)  # fmt: skip
def test_columns_in_doubt(tmp_path, header, message):
    count = header.count(",")
    assert message in refused(written(tmp_path, "a.csv", f"{header}\nx{',1' * count}\ny{',0' * count}\n"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": {"text": "nothing"}}, "there is no column 'nothing'; there are: 'text', 'label', 'inside.a'"),
        ({"text": "{text} {nothing}"}, "there is no column 'nothing'; there are: 'text', 'label', 'inside.a'"),
        ({"text": "{}"}, "there is no column ''"),
        ({"text": "no column"}, "text 'no column' names no column; want one or more, as in"),
        ({"columns": {"txt": "text"}}, "unknown key of columns 'txt'; did you mean 'text'?"),
        ({"columns": {"chosen": "text"}}, "these are labelled texts, which have no 'chosen' but: text, label, id,"),
        ({"choices": "letters"}, "these are labelled texts; choices='letters' is for questions with several answers"),
        ({"columns": {"text": "#1"}}, "there is no column '#1'"),
        ({"columns": {"id": "text, label"}}, "there is no column 'text, label'"),
    ],
)  # fmt: skip
def test_options_that_do_not_fit(tmp_path, options, message):
    rows = [{"text": "x", "label": 1, "inside": {"a": 1}}, {"text": "y", "label": 0}]
    assert message in refused(written(tmp_path, "a.jsonl", rows), **options)


def test_classes_that_are_none():
    for classes, message in (
        (("a",), "two or more different labels"),
        (("a", "a"), "two or more"),
        ((0, 1), "in quotes, as"),
    ):
        with pytest.raises(UserError, match=message):
            TaskConfig("a.csv", classes=classes)


NLI = [
    {"premise": "It rains.", "hypothesis": "It is wet.", "label": 0},
    {"premise": "It rains.", "hypothesis": "It is dry.", "label": 2},
    {"premise": "It snows.", "hypothesis": "It is hot.", "label": 1},
]


@ANY
def test_two_columns_are_one_text(tmp_path, suffix):
    found = Read(written(tmp_path, f"a{suffix}", NLI))
    assert found.labels == {"It rains.\nIt is wet.": 0, "It rains.\nIt is dry.": 2, "It snows.\nIt is hot.": 1}
    assert found.words.startswith("text from 'premise' and 'hypothesis', label from 'label'")
    assert set(found.groups.values()) == {digest("It rains."), digest("It snows.")}
    path = written(tmp_path, f"b{suffix}", NLI)
    text = "Premise: {premise}\nHypothesis: {{{hypothesis}}}"
    own = Read(path, text=text)
    assert "Premise: It rains.\nHypothesis: {It is wet.}" in own.labels
    assert own.words.startswith(f"text made as {text!r}")
    assert len(set(own.groups.values())) == 3
    assert len(set(Read(path, text=text, columns={"group": "premise"}).groups.values())) == 2
    assert Read(path, columns={"text": "hypothesis"}).labels.keys() == {row["hypothesis"] for row in NLI}


@pytest.mark.parametrize(
    ("names", "group"),
    [
        (("sentence1", "sentence2"), "a"),
        (("question1", "question2"), "a"),
        (("question", "sentence"), "a"),
        (("passage", "question"), "a"),
        (("query", "document"), "a"),
        (("prompt", "completion"), "a"),
        (("title", "content"), "a\nb"),
    ],
)
def test_columns_that_belong_together(tmp_path, names, group):
    rows = [{names[0]: "a", names[1]: "b", "label": 1}, {names[0]: "c", names[1]: "", "label": 0}]
    found = Read(written(tmp_path, "a.csv", rows))
    assert found.labels == {"a\nb": 1, "c\n": 0}
    assert found.groups["a\nb"] == digest(group)


def test_ids_groups_and_difficulties(tmp_path):
    rows = [
        {"text": "a", "label": 1, "id": 7, "group": "g", "difficulty": "2.5"},
        {"text": "b", "label": 0, "id": "k8", "group": 3, "difficulty": 1},
        {"text": "c", "label": 0, "id": None, "group": None, "difficulty": None},
        {"text": "d", "label": 1, "id": " ", "group": "", "difficulty": ""},
        {"text": "e", "label": 1},
    ]
    found = Read(written(tmp_path, "a.jsonl", rows))
    assert found.examples == sorted(
        [
            Example("7", "a", 1, "g", 2.5),
            Example("k8", "b", 0, "3", 1.0),
            *(Example(digest(text), text, label, digest(text)) for text, label in (("c", 0), ("d", 1), ("e", 1))),
        ]
    )
    assert found.words.endswith("also id, group, difficulty")
    path = written(tmp_path, "b.csv", "text,label,key,topic\nx,1,a,t\ny,0,b,t\n")
    found = Read(path, columns={"id": "key", "group": "topic"})
    assert found.examples == [Example("a", "x", 1, "t"), Example("b", "y", 0, "t")]
    assert found.words.endswith("also id from 'key', group from 'topic'")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"difficulty": "hard"}, "line 2: difficulty 'hard' is not a number; leave it out where it is not known, or"),
        ({"difficulty": [1]}, "line 2: difficulty [1] is not a number"),
        ({"difficulty": 1e999}, "line 2: difficulty inf is not a number"),
        ({"id": ["a"]}, "line 2: id ['a'] must be text or a number"),
        ({"group": {"a": 1}}, "line 2: group {'a': 1} must be text or a number"),
        ({"id": "one"}, "line 2: two different texts have the id 'one'"),
        ({"text": ""}, "line 2: the text is empty; empty='drop' leaves such examples out"),
        ({"text": None}, "line 2: the text is empty"),
        ({"text": " \n"}, "line 2: the text is empty"),
        ({"text": ["a", "b"]}, "line 2: ['a', 'b'] stands in column 'text' where text should"),
        ({"text": True}, "line 2: True stands in column 'text' where text should"),
        ({"text": {"a": "x" * 10_000}}, "line 2: {'a': 'xxxxx"),
    ],
)  # fmt: skip
def test_values_that_are_refused_with_their_line(tmp_path, extra, message):
    rows = [{"text": "x", "label": 1, "id": "one"}, {"text": "y", "label": 0, "id": "two", **extra}]
    assert f"a.jsonl, {message}" in refused(written(tmp_path, "a.jsonl", rows))


def test_texts_that_are_not_there(tmp_path):
    path = written(tmp_path, "a.jsonl", [{"text": "x", "label": 1}, {"label": 0}])
    assert "line 2: a record has no column 'text'; it has: label" in refused(path)


@ANY
def test_empty_texts_are_dropped_and_counted_if_asked(tmp_path, suffix):
    rows = [{"text": text, "label": n % 2} for n, text in enumerate(["x", "", "y", None, "z", " "])]
    path = written(tmp_path, f"a{suffix}", rows)
    assert "the text is empty; empty='drop'" in refused(path)
    found = Read(path, empty="drop")
    assert found.labels == {"x": 0, "y": 0, "z": 0}
    assert (found.reading.empty, found.reading.records) == (3, 6)
    assert "3 left out, as they have no text" in found.reading.describe()


def test_template_of_nothing_is_empty(tmp_path):
    path = written(tmp_path, "a.csv", "title,body,label\na,b,1\n,,0\nc,,0\n")
    assert "line 3: the text is empty" in refused(path, text="Title: {title}\nBody: {body}")
    found = Read(path, text="Title: {title}\nBody: {body}", empty="drop")
    assert found.labels == {"Title: a\nBody: b": 1, "Title: c\nBody: ": 0}


def test_numbers_and_other_values_as_texts(tmp_path):
    rows = [{"text": 5, "label": 1}, {"text": 2.5, "label": 0}]
    for suffix in (".csv", ".jsonl", ".json"):
        assert Read(written(tmp_path, f"a{suffix}", rows)).labels == {"5": 1, "2.5": 0}
    assert Read(written(tmp_path, "a.jsonl", [*rows, {"text": float("nan"), "label": 1}]), empty="drop").labels == {
        "5": 1,
        "2.5": 0,
    }
    long = "word " * 100_000
    assert Read(written(tmp_path, "a.csv", [{"text": long, "label": 1}, {"text": "x", "label": 0}])).labels[long] == 1
    for value, message in (
        (b"bytes", r"b'bytes' stands in column 'text' where text should"),
        (__import__("decimal").Decimal("1.50"), r"Decimal('1.50') stands in column 'text'"),
        ({"a": 1}, r"{'a': 1} stands in column 'text'"),
    ):
        path = written(tmp_path, "a.parquet", [{"text": value, "label": 1}, {"text": value, "label": 0}])
        assert f"row 1: {message}" in refused(path)


def test_tables_without_a_header(tmp_path):
    """As GLUE's RTE has them."""
    path = written(
        tmp_path, "val.tsv", "0\tIt rains.\tIt is wet.\tentailment\n1\tIt snows.\tIt is hot.\tnot_entailment\n"
    )
    message = refused(path)
    assert "its columns are '0', 'It rains.', 'It is wet.', 'entailment'; want" in message
    assert message.endswith("say places: columns={'text': '#1', 'label': '#2'}")
    found = Read(path, columns={"text": "#2", "label": "#4"})
    assert (found.answers, found.labels) == (("entailment", "not_entailment"), {"It rains.": 0, "It snows.": 1})
    found = Read(path, text="{#2}\n{#3}", columns={"label": "#4", "id": "#1"})
    assert found.examples[1] == Example("1", "It snows.\nIt is hot.", 1, digest("It snows.\nIt is hot."))
    same = written(tmp_path, "same.tsv", "x\tx\ny\tz\n")
    assert "two columns are called 'x'; if the first line is an example" in refused(same)
    headed = written(tmp_path, "b.csv", "text,label\nx,1\n")
    assert "holds numbers, such as '1' (line 2), and names, such as 'label' (line 1)" in refused(
        headed, columns={"text": "#1", "label": "#2"}
    )


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "it holds no record"),
        ("a.csv", "text,label\n", "it holds no record"),
        ("a.jsonl", "", "it holds no record"),
        ("a.json", "[]", "it holds no record"),
        ("a.json", "{}", "its records hold nothing"),
        ("a.json", "[{}, {}]", "its records hold nothing"),
        ("a.csv", "text,label\nx,1\ny\n", "line 3 has 1 columns, not 2"),
        ("a.csv", b"text,label\nx,1\ncaf\xe9,0\n", "line 3 is not UTF-8 (byte 0xe9)"),
        ("a.txt", "x", "cannot be read as .txt: give every text a line of a .csv or .jsonl file, with its label"),
        ("a.parquet", "x", "cannot be read as Parquet"),
        ("a", "x", "its name has no suffix"),
        ("a.csv", "a,b\n" + "x,1\n" * 3, "its columns are 'a', 'b'; want a question, choices and the answer; or"),
        ("a.csv", ",".join(f"very long name of column {n}" for n in range(900)) + "\n" + "," * 899, "... (900)"),
    ],
)  # fmt: skip
def test_files_that_are_no_task(tmp_path, name, content, message):
    assert message in refused(written(tmp_path, name, content))


def test_paths_that_are_no_file(tmp_path):
    assert "holds no data file" in refused(tmp_path)
    assert "does not exist" in refused(tmp_path / "nothing.csv")
    assert "no file matches" in refused(tmp_path / "*.csv")
    (tmp_path / "unreadable.csv").symlink_to(tmp_path / "unreadable.csv")
    assert "unreadable.csv" in refused(tmp_path / "unreadable.csv")


QUESTIONS = [
    ("What melts?", ["ice", "fog", "air"], 0),
    ("2 + 2?", ["3", "5", "4"], 2),
    ("Who?", ["me", "you", "he"], 1),
]
AS_CANDIDATES = {
    tuple(f"Question: {question}\nAnswer: {choice}" for choice in choices): right
    for question, choices, right in QUESTIONS
}
AS_LETTERS = {
    f"Question: {question}\nA. {choices[0]}\nB. {choices[1]}\nC. {choices[2]}\nAnswer:": right
    for question, choices, right in QUESTIONS
}
LAYOUTS = {
    "list": lambda choices: {"choices": choices},
    "struct of lists": lambda choices: {"choices": {"text": choices, "label": list("ABC")}},
    "list of structs": lambda choices: {
        "choices": [{"label": letter, "text": each} for letter, each in zip("ABC", choices, strict=True)]
    },
    "struct of letters": lambda choices: {"options": dict(zip("ABC", choices, strict=True))},
    "columns": lambda choices: dict(zip("ABC", choices, strict=True)),
    "columns option_a": lambda choices: {f"option_{x}": each for x, each in zip("abc", choices, strict=True)},
    "columns choice0": lambda choices: {f"choice{n}": each for n, each in enumerate(choices)},
    "columns Ending 1": lambda choices: {f"Ending {n}": each for n, each in enumerate(choices, 1)},
    "JSON": lambda choices: {"choices": json.dumps(choices)},
    "as Python prints it": lambda choices: {"choices": str(choices)},
}
ANSWERS = {
    "letter": lambda choices, right: "ABC"[right],
    "small letter": lambda choices, right: f"({'abc'[right]})",
    "text": lambda choices, right: choices[right],
    "from 0": lambda choices, right: right,
    "from 1": lambda choices, right: str(right + 1),
}


@ANY
@pytest.mark.parametrize("layout", LAYOUTS)
def test_questions_of_every_layout(tmp_path, layout, suffix):
    rows = [{"question": q, **LAYOUTS[layout](choices), "answer": "ABC"[right]} for q, choices, right in QUESTIONS]
    path = written(tmp_path, f"a{suffix}", rows)
    found = Read(path)
    assert found.labels == AS_CANDIDATES
    assert (found.n_classes, found.task.candidates, found.answers) == (3, 3, ())
    assert (
        found.words
        == "questions from 'question', 3 answers, each scored by itself; right: the letter of the right answer"
    )
    (first, *_) = (example for example in found.examples if "What melts?" in example.text[0])
    assert (first.id, first.group) == (digest("", "What melts?", "ice", "fog", "air"), digest("What melts?"))
    shown = Read(path, choices="letters")
    assert shown.labels == AS_LETTERS
    assert (shown.n_classes, shown.task.candidates, shown.answers) == (3, 1, ("A", "B", "C"))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_of_every_kind(tmp_path, answer, suffix):
    choices = ["ice", "fog", "air"]
    rows = [{"question": f"Q{n}", "choices": choices, "answerKey": ANSWERS[answer](choices, n % 3)} for n in range(6)]
    rows += [{"question": "unanswered", "choices": choices, "answerKey": each} for each in (None, -1)]
    found = Read(written(tmp_path, f"a{suffix}", rows))
    assert found.labels == {tuple(f"Question: Q{n}\nAnswer: {choice}" for choice in choices): n % 3 for n in range(6)}
    assert found.reading.unlabelled == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"choices": ["1", "2", "3"], "answer": "2"}, {"choices": ["a", "b", "c"], "answer": "1"}], None),
        ([{"choices": ["1", "2", "3"], "answer": "2"}], "column 'answer' may be the right answer itself or its number"),
        ([{"choices": ["a", "b"], "answer": "c"}], "line 1: answer 'c' is none of the 2: want the letter of the right"),
        ([{"choices": ["a", "b"], "answer": 7}], "line 1: answer 7 is none of the 2"),
        ([{"choices": ["a", "b"], "answer": 0}, {"choices": ["a", "b"], "answer": 2}],
         "line 2: answer 2 is none of the 2: want its number, counted from 0, as in the records before"),
        ([{"choices": ["a", "b"], "answer": 0}, {"choices": ["a", "b", "c"], "answer": 2}],
         "line 2 has 3 answers, and line 1 has 2; all questions of a table need equally many"),
        ([{"choices": "a, b", "answer": 0}], "line 1: choices 'a, b' are not a list; write them as JSON: "),
        ([{"choices": "[" * 10_000, "answer": 0}], "line 1: choices '[[[["),
        ([{"choices": ["a"], "answer": 0}], "line 1: choices must be a list of two or more answers, not ['a']"),
        ([{"choices": 3, "answer": 0}], "line 1: choices must be a list of two or more answers, not 3"),
        ([{"choices": {"text": ["a", "b"], "label": 3}, "answer": "B"}], None),
        ([{"choices": ["a", {"text": "b"}], "answer": 0}], "line 1: {'text': 'b'} stands in column 'choices' where"),
        ([{"choices": ["a", ["b"]], "answer": 0}], "line 1: ['b'] stands in column 'choices' where text should"),
        ([{"choices": ["a", "b"], "answer": None}], "no record says in 'answer' which answer is right"),
        ([{"choices": ["a", "b"], "answer": {"text": ["a"]}}], "line 1: answer {'text': ['a']} is none of the 2"),
        ([{"choices": ["a", ""], "answer": 0}], "line 1: the text is empty"),
        ([{"choices": ["a", None], "answer": 0}], "line 1: the text is empty"),
        ([{"question": "", "choices": ["a", "b"], "answer": 0}], "line 1: the text is empty"),
    ],
)  # fmt: skip
def test_questions_in_doubt(tmp_path, rows, message):
    path = written(tmp_path, "a.jsonl", [{"question": "Q?", **row} for row in rows])
    if message is None:
        Read(path)
    else:
        assert message in refused(path)


def test_questions_inside_other_values(tmp_path):
    """As ARC's and OpenBookQA's own files have them."""
    stem = {"stem": "What melts?", "choices": [{"text": "ice", "label": "1"}, {"text": "fog", "label": "2"}]}
    rows = [
        {"id": "a", "question": stem, "answerKey": "1"},
        {"id": "b", "question": {**stem, "stem": "?"}, "answerKey": "2"},
    ]
    for suffix in (".jsonl", ".parquet"):
        path = written(tmp_path, f"a{suffix}", rows)
        assert (
            "its columns are 'id', 'question.stem', 'question.choices.0.text', 'question.choices.0.label', "
            in refused(path)
        )
        found = Read(path, columns={"question": "question.stem", "choices": "question.choices"})
        assert [(each.id, each.label) for each in found.examples] == [("a", 0), ("b", 1)]
        assert found.examples[0].text == ("Question: What melts?\nAnswer: ice", "Question: What melts?\nAnswer: fog")
        assert "not read" not in found.words


def test_questions_on_a_passage_and_beside_a_text(tmp_path):
    row = {"question": "Q?", "choices": ["a", "b"], "answer": 1}
    other = {**row, "question": "P?", "answer": 0}
    rows = [{**each, "passage": "Once."} for each in (row, other)]
    found = Read(written(tmp_path, "a.jsonl", rows))
    assert found.labels[("Once.\nQuestion: Q?\nAnswer: a", "Once.\nQuestion: Q?\nAnswer: b")] == 1
    assert set(found.groups.values()) == {digest("Once.\n")}
    beside = Read(written(tmp_path, "b.jsonl", [{**each, "text": "beside"} for each in (row, other)]))
    assert beside.labels[("Question: Q?\nAnswer: a", "Question: Q?\nAnswer: b")] == 1
    assert beside.words.endswith("not read: text")
    labelled = [{**row, "text": "x", "label": 1}, {**row, "text": "y", "label": 0}]
    assert Read(written(tmp_path, "c.jsonl", labelled)).labels == {"x": 1, "y": 0}
    assert "a question has no classes to list" in refused(tmp_path / "a.jsonl", classes=("a", "b"))


def test_answers_in_columns_that_the_user_lists(tmp_path):
    """As the files of MMLU have them, which have no header."""
    path = written(tmp_path, "a_test.csv", '"2 + 2, or so?",3,4,5,6,B\nWho?,me,you,he,she,D\n')
    found = Read(path, columns={"question": "#1", "choices": "#2, #3, #4, #5", "answer": "#6"})
    assert found.labels[tuple(f"Question: 2 + 2, or so?\nAnswer: {each}" for each in "3456")] == 1
    assert (found.n_classes, "not read" in found.words) == (4, False)
    message = refused(path, columns={"question": "#1", "choices": "#2, #9", "answer": "#6"})
    assert "there is no column '#2, #9'; there are: '#1', '#2'" in message


def test_more_answers_than_letters(tmp_path):
    rows = [{"question": f"Q{n}", "choices": [f"c{n}" for n in range(30)], "answer": f"c{n}"} for n in (3, 29)]
    path = written(tmp_path, "a.jsonl", rows)
    assert {example.label for example in Read(path).examples} == {3, 29}
    assert "30 answers are more than there are letters" in refused(path, choices="letters")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant: "
DIALOGUE = (f"{HUMAN}Hi{ASSISTANT}Hello!", f"{HUMAN}Hi{ASSISTANT}Go away.")


@pytest.mark.parametrize(
    ("row", "texts", "opening"),
    [
        ({"prompt": "Hi", "chosen": [user("Hi"), assistant("Hello!")], "rejected": [user("Hi"), assistant("Go away.")]},
         DIALOGUE, f"{HUMAN}Hi"),
        ({"prompt": "Hi", "chosen": [assistant("Hello!")], "rejected": [assistant("Go away.")]},
         DIALOGUE, f"{HUMAN}Hi"),
        ({"prompt": [user("Hi")], "chosen": [assistant("Hello!")], "rejected": [assistant("Go away.")]},
         DIALOGUE, f"{HUMAN}Hi"),
        ({"prompt": [user("Hi")], "chosen": assistant("Hello!"), "rejected": assistant("Go away.")},
         DIALOGUE, f"{HUMAN}Hi"),
        ({"prompt": [user("Hi")], "chosen": "Hello!", "rejected": "Go away."}, DIALOGUE, f"{HUMAN}Hi"),
        ({"chosen": [user("Hi"), assistant("Hello!")], "rejected": [user("Hi"), assistant("Go away.")]},
         DIALOGUE, f"{HUMAN}Hi"),
        ({"chosen": DIALOGUE[0], "rejected": DIALOGUE[1]}, DIALOGUE, f"{HUMAN}Hi"),
        ({"prompt": f"{HUMAN}Hi", "chosen": DIALOGUE[0], "rejected": DIALOGUE[1]}, DIALOGUE, f"{HUMAN}Hi"),
        ({"prompt": "2 + 2 =", "chosen": " 4", "rejected": " 5"}, ("2 + 2 = 4", "2 + 2 = 5"), "2 + 2 ="),
        ({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"}, ("2 + 2?\n4", "2 + 2?\n5"), "2 + 2?"),
        ({"question": "2 + 2?\n", "chosen": "4", "rejected": "5"}, ("2 + 2?\n4", "2 + 2?\n5"), "2 + 2?\n"),
        ({"prompt": "Hi", "chosen": "Hi there", "rejected": "Go away"}, ("Hi\nHi there", "Hi\nGo away"), "Hi"),
        ({"prompt": None, "chosen": "good", "rejected": "bad"}, ("good", "bad"), None),
        ({"prompt": "", "chosen": "good", "rejected": "bad"}, ("good", "bad"), None),
        ({"conversations": 1, "chosen": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": " Hello!"}],
          "rejected": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Go away."}]},
         DIALOGUE, f"{HUMAN}Hi"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_comparisons_of_every_form(tmp_path, row, texts, opening, suffix):
    found = Read(written(tmp_path, f"a{suffix}", [row]))
    (example,) = found.examples
    assert (example.text[example.label], example.text[1 - example.label]) == texts
    assert (found.n_classes, found.task.candidates) == (2, 2)
    pair = digest(*sorted(texts))
    assert example.id == pair or example.id == digest(*sorted(texts)[::-1])
    if opening is not None:
        assert example.group == digest(opening)
    elif suffix != ".csv":
        assert example.group == example.id


def test_dialogues_that_are_compared_at_several_turns_stay_together(tmp_path):
    start = [user("Hi"), assistant("Hello!"), user("More")]
    rows = [
        {"chosen": [*start, assistant("Yes")], "rejected": [*start, assistant("No")]},
        {"chosen": start[:2], "rejected": [user("Hi"), assistant("Bye")]},
    ]
    assert {example.group for example in Read(written(tmp_path, "a.jsonl", rows)).examples} == {digest(f"{HUMAN}Hi")}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"chosen": [{"role": "cook", "content": "x"}], "rejected": "y"}, "line 2: a message's role must be one of"),
        ({"chosen": [{"content": "x"}], "rejected": "y"}, "line 2: a message's role must be one of user, human"),
        ({"chosen": [user(None)], "rejected": "y"}, "line 2: a message's content must be text, not None"),
        ({"chosen": [user({"a": 1})], "rejected": "y"}, "line 2: a message's content must be text, not {'a': 1}"),
        ({"chosen": ["x", "y"], "rejected": "y"}, "line 2: ['x', 'y'] stands in column 'chosen or rejected' where"),
        ({"chosen": "x", "rejected": True}, "line 2: True stands in column 'chosen or rejected' where text should"),
        ({"chosen": "x", "rejected": None}, "line 2: the text is empty; empty='drop'"),
        ({"chosen": "x"}, "line 2: a record has no column 'rejected'; it has: chosen"),
        ({"chosen": "[{'role': 'user' 'content'", "rejected": "y"}, "begins as a list of messages, and is none"),
        ({"prompt": [[]], "chosen": "x", "rejected": "y"}, "line 2: [[]] stands in column 'prompt'"),
    ],
)  # fmt: skip
def test_comparisons_that_are_refused(tmp_path, row, message):
    first = {"chosen": "good", "rejected": "bad"}
    assert message in refused(written(tmp_path, "a.jsonl", [first, row]))
    assert "a comparison has no classes to list" in refused(written(tmp_path, "a.jsonl", [first]), classes=("a", "b"))


def test_comparisons_of_nothing_are_none(tmp_path):
    path = written(tmp_path, "a.csv", "prompt,chosen,rejected\nQ?,good,bad\n,,\nQ?,same,same\n")
    found = Read(path)
    assert (len(found.examples), found.reading.unlabelled) == (1, 2)


def test_messages_are_text_wherever_text_stands(tmp_path):
    rows = [{"messages": [user("Hi"), assistant(f"Hello {n}")], "label": n % 2} for n in range(2)]
    for suffix in (".jsonl", ".parquet", ".csv"):
        found = Read(written(tmp_path, f"a{suffix}", rows))
        assert found.labels == {f"{HUMAN}Hi{ASSISTANT}Hello {n}": n for n in range(2)}
    parts = [{"type": "text", "text": "Hi "}, {"type": "text", "text": "there"}]
    rows = [{"text": [user(parts)], "label": 1}, {"text": "plain [{", "label": 0}]
    assert Read(written(tmp_path, "b.jsonl", rows)).labels == {f"{HUMAN}Hi there": 1, "plain [{": 0}


SOFT = [("a", [0.2, 0.8]), ("b", [0.9, 0.1]), ("c", [0.0, 1.0]), ("d", [0.5, 0.5])]


@ANY
@pytest.mark.parametrize("how", ["probs", "p", "both"])
def test_probabilities_are_shares_of_classes(tmp_path, suffix, how):
    rows = [
        {"text": text, **({} if how == "p" else {"probs": probs}), **({} if how == "probs" else {"p": probs[1]})}
        for text, probs in SOFT
    ]
    found = Read(written(tmp_path, f"a{suffix}", rows), classes=("bad", "good"))
    by_text = {example.text: (example.label, example.shares) for example in found.examples}
    assert by_text["c"] == (1, (0.0, 1.0))
    assert {text: label for text, (label, _) in by_text.items()} == {"a": 1, "b": 0, "c": 1}
    assert by_text["a"][1] == pytest.approx((0.2, 0.8))
    assert by_text["b"][1] == pytest.approx((0.9, 0.1))
    assert found.answers == ("bad", "good")
    assert found.reading.unlabelled == 1  # two equal shares have no majority


def test_probabilities_of_several_classes_or_inside_other_values(tmp_path):
    rows = [{"text": "x", "said": {"probs": [0.2, 0.3, 0.5]}}, {"text": "y", "said": {"probs": [0.6, 0.3, 0.1]}}]
    found = Read(written(tmp_path, "a.jsonl", rows), columns={"probs": "said.probs"})
    assert (found.n_classes, found.labels) == (3, {"x": 2, "y": 0})
    assert found.words == "text from 'text', label and the share of each class from 'said.probs'"
    both = [{"text": "x", "label": 0, "p": 0.9}, {"text": "y", "label": 1, "p": 0.2}]
    path = written(tmp_path, "b.jsonl", both)
    assert (Read(path).labels, Read(path).words.endswith("not read: p")) == ({"x": 0, "y": 1}, True)
    assert Read(path, columns={"p": "p"}).labels == {"x": 1, "y": 0}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"probs": [0.5, 0.6]}, "line 2: probs must be two or more numbers, not negative, with sum 1, not [0.5, 0.6]"),
        ({"probs": [1.0]}, "line 2: probs must be two or more numbers"),
        ({"probs": "[0.1 0.9]"}, "line 2: probs must be two or more numbers, not negative, with sum 1"),
        ({"probs": "[" * 10_000}, "line 2: probs must be two or more numbers"),
        ({"probs": [0.2, 0.3, 0.5]}, "line 2: 3 probabilities; those of the records before are 2"),
        ({"probs": {"a": 0.5, "b": 0.5}}, "line 2: probs must be two or more numbers"),
        ({"probs": [float("nan"), 1]}, "line 2: probs must be two or more numbers"),
        ({"probs": [0.9, 0.1], "p": 0.9}, "line 2: probs [0.9, 0.1] and p 0.9 contradict each other; give one of them"),
        ({"p": 1.2}, "line 2: p must be the probability of class 1, from 0 to 1, not 1.2"),
        ({"p": "likely"}, "line 2: p must be the probability of class 1"),
    ],
)  # fmt: skip
def test_probabilities_that_are_none(tmp_path, row, message):
    path = written(tmp_path, "a.jsonl", [{"text": "x", "probs": [0.2, 0.8]}, {"text": "y", **row}])
    assert message in refused(path)
    path = written(tmp_path, "a.jsonl", [{"text": "x", "probs": [0.2, 0.8]}])
    assert "3 classes are listed; line 1 has 2 probabilities" in refused(path, classes=("a", "b", "c"))
    path = written(tmp_path, "a.jsonl", [{"text": "x", "probs": None}])
    assert "no record has probabilities" in refused(path)


STUDIO = [
    {"id": n, "annotations": [{"completed_by": 1, "result": [{"value": {"choices": said}, "type": "choices"}]}],
     "data": {"text": text}, "meta": {}}
    for n, (text, said) in enumerate([("good", ["Pos"]), ("bad", ["Neg"]), ("?", [])])
]  # fmt: skip
ARGILLA = [
    {"id": text, "fields": {"text": text}, "responses": {"label": [{"value": said, "user_id": "a"}]}}
    for text, said in (("good", "Pos"), ("bad", "Neg"))
]
PRODIGY = [
    {"text": text, "options": [{"id": "POS", "text": "Pos"}, {"id": "NEG", "text": "Neg"}], "accept": [said],
     "answer": "accept", "_input_hash": 1}
    for text, said in (("good", "POS"), ("bad", "NEG"))
]  # fmt: skip
DOCCANO = [
    {"id": 1, "text": "good", "label": ["Pos"]},
    {"id": 2, "text": "bad", "label": ["Neg"]},
    {"text": "?", "label": []},
]
SURVEY = "Respondent ID,What do you think?,How was it?\n,Open-Ended Response,Response\n1,good,Pos\n2,bad,Neg\n"
SURVEYED = {"text": "What do you think?", "label": "How was it?"}
MRPC = (
    "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    '1\t10\t11\tHe said "the witness".\tThe "witness\r\n0\t12\t13\tOne.\tTwo.\r\n'
)
CHAT = [{"messages": [user("good"), assistant("Pos")]}, {"messages": [user("bad"), assistant("Neg")]}]
ALPACA = [{"instruction": f"Do {n}.", "input": f"on {n}", "output": f"Done {n}."} for n in range(30)]
KAGGLE = 'v1,v2,,,\nNeg,bad,,,\nPos,good,"and, more",,\n'
GERMAN = '\ufeffText;Bewertung\r\ngood;Pos\r\n"bad";Neg\r\n;\r\n;\r\n'
FEATURES = {"label": {"names": ["Neg", "Pos"], "_type": "ClassLabel"}}
MED = [
    {"question": "Q", "answer": "x", "options": {"A": "x", "B": "y"}, "answer_idx": "A"},
    {"question": "P", "answer": "x", "options": {"A": "y", "B": "x"}, "answer_idx": "B"},
]
CHOSEN = "annotations.0.result.0.value.choices"
RIGHT = {"good": "Pos", "bad": "Neg"}


@pytest.mark.parametrize(
    ("name", "content", "options", "expected"),
    [
        ("studio.json", STUDIO, {"columns": {"text": "data.text", "label": CHOSEN}}, RIGHT),
        ("studio.json", STUDIO, {}, f"its columns are 'id', 'annotations.0.completed_by', '{CHOSEN}'"),
        ("studio_min.json", [{"text": "good", "id": 1, "sentiment": "Pos", "annotator": 1},
                             {"text": "bad", "id": 2, "sentiment": "Neg", "annotator": 1}], {}, RIGHT),
        ("studio.csv", "annotation_id,annotator,id,sentiment,text\n1,1,1,Pos,good\n2,1,2,Neg,bad\n", {}, RIGHT),
        ("argilla.json", ARGILLA, {"columns": {"text": "fields.text", "label": "responses.label.0.value"}}, RIGHT),
        ("argilla.jsonl", [{"text": "good", "label.responses": ["Pos"]}, {"text": "bad", "label.responses": ["Neg"]}],
         {"columns": {"label": "label.responses"}}, RIGHT),
        ("prodigy.jsonl", PRODIGY, {"columns": {"label": "accept"}}, {"good": "POS", "bad": "NEG"}),
        ("prodigy.jsonl", [{"text": "good", "label": "A", "answer": "accept"}], {}, "column 'label' holds only 'A'"),
        ("doccano.jsonl", DOCCANO, {}, RIGHT),
        ("doccano.csv", "id,data,label\n1,good,Pos\n2,bad,Neg\n", {"columns": {"text": "data"}}, RIGHT),
        ("survey.csv", SURVEY, {"columns": SURVEYED}, {**RIGHT, "Open-Ended Response": "Response"}),
        ("survey.csv", SURVEY, {"columns": SURVEYED, "classes": ("Neg", "Pos")}, "label 'Response' (line 2) is none"),
        ("kaggle.csv", KAGGLE, {"columns": {"text": "v2", "label": "v1"}}, RIGHT),
        ("kaggle.csv", KAGGLE.replace("more", "\xa3").encode("latin-1"), {}, "line 3 is not UTF-8 (byte 0xa3)"),
        ("sentiment140.csv", '"4","1","Mon","good"\n"0","2","Mon","bad"\n',
         {"columns": {"label": "#1", "text": "#4"}}, {"good": "4", "bad": "0"}),
        ("german.csv", GERMAN, {"columns": {"label": "Bewertung"}}, RIGHT),
        ("unicode.csv", GERMAN[1:].replace(";", "\t").encode("utf-16"), {"columns": {"label": "Bewertung"}}, RIGHT),
        ("R.csv", '"","text","label"\n"1","good","Pos"\n"2","bad","Neg"\n', {}, RIGHT),
        ("MRPC.tsv", MRPC, {"text": "{#1 String}|{#2 String}", "columns": {"label": "Quality"}},
         {'He said "the witness".|The "witness': 1, "One.|Two.": 0}),
        ("QNLI.tsv", "index\tquestion\tsentence\tlabel\n0\tQ?\tS.\tyes\n1\tP?\tT.\tno\n", {},
         {"Q?\nS.": "yes", "P?\nT.": "no"}),
        ("chat.jsonl", CHAT, {}, "its columns are 'messages.0.role', 'messages.0.content'; want a question, choices"),
        ("chat.jsonl", CHAT, {"columns": {"text": "messages.0.content", "label": "messages.1.content"}}, RIGHT),
        ("openai.jsonl", [{"prompt": "good", "completion": " Pos"}, {"prompt": "bad", "completion": " Neg"}],
         {"columns": {"text": "prompt", "label": "completion"}}, RIGHT),
        ("kto.jsonl", [{"prompt": "Q?", "completion": "A", "label": True},
                       {"prompt": "Q?", "completion": "B", "label": False}], {}, {"Q?\nA": 1, "Q?\nB": 0}),
        ("alpaca.json", ALPACA, {}, "column 'output' holds 30 different labels in 30 records; is it the label?"),
        ("sharegpt.json", [{"id": "x", "conversations": [{"from": "human", "value": "Hi"}]}], {},
         "its columns are 'id', 'conversations.0.from', 'conversations.0.value'; want"),
        ("medqa.jsonl", MED, {}, {("Question: Q\nAnswer: x", "Question: Q\nAnswer: y"): 0,
                                  ("Question: P\nAnswer: y", "Question: P\nAnswer: x"): 1}),
        ("copa.jsonl", [{"premise": "Ice.", "question": "cause", "choice1": "a", "choice2": "b", "label": 0}], {},
         {("Ice.\nQuestion: cause\nAnswer: a", "Ice.\nQuestion: cause\nAnswer: b"): 0}),
        ("promptfoo.json", '{"evalId": "e", "results": {"version": 3, "results": [{"vars": {"q": "a"}}]}}', {},
         "its columns are 'evalId', 'results.version', 'results.results.0.vars.q'; want"),
        ("big_bench.json", '{"name": "x", "examples": [{"input": "Q", "target_scores": {"a": 1, "b": 0}}]}', {},
         "its columns are 'input', 'target_scores.a', 'target_scores.b'; want"),
        ("go_emotions.jsonl", [{"text": "x", "labels": [27]}, {"text": "y", "labels": [1, 2]}], {},
         "line 2: label [1, 2] of column 'labels' is no class"),
        ("backslash.csv", 'text,label\n"say \\"hi\\"",1\n', {}, "a quotation mark inside a quoted value is"),
        ("login.csv", "<!DOCTYPE html>\n<html>", {}, "it is a page of the web, and no table"),
    ],
)  # fmt: skip
def test_what_people_really_have(tmp_path, name, content, options, expected):
    path = written(tmp_path, name, content)
    if isinstance(expected, str):
        assert expected in refused(path, **options)
        return
    found = Read(path, **options)
    answers = dict(enumerate(found.answers))
    assert {text: answers.get(label, label) for text, label in found.labels.items()} == expected


def test_what_datasets_saved_to_disk(tmp_path):
    for split, rows in (("train", [("good", 1), ("bad", 0)]), ("test", [("fine", 1), ("?", -1)])):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        table = pyarrow.Table.from_pylist([{"text": text, "label": label} for text, label in rows])
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})
        with pyarrow.ipc.new_stream(str(folder / "data-00000-of-00001.arrow"), table.schema) as writer:
            writer.write_table(table)
        written(folder, "state.json", '{"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": "train"}')
        written(folder, "dataset_info.json", json.dumps({"features": FEATURES}))
    written(tmp_path / "saved", "dataset_dict.json", '{"splits": ["train", "test"]}')
    found = Read(tmp_path / "saved")
    assert (found.task.name, found.answers) == ("saved", ("Neg", "Pos"))
    assert found.labels == {"good": 1, "bad": 0, "fine": 1}
    assert list(found.reading.origin.files) == [f"{split}/data-00000-of-00001.arrow" for split in ("test", "train")]


@pytest.mark.parametrize("choices", ["candidates", "letters"])
@pytest.mark.slow
def test_questions_of_ones_own_are_learned_and_measured_of_all_answers(tmp_path, choices):
    rows = [
        {
            "question": make.WORDS[n % 14],
            "choices": [make.WORDS[(n * k) % 14] + f" {n}" for k in (1, 3, 5)],
            "answer": n % 3,
        }
        for n in range(240)
    ]
    task = TaskConfig(str(written(tmp_path, "q.jsonl", rows)), supervisor=30, transfer=30, validation=6, test=30)
    task = dataclasses.replace(task, choices=choices)
    build = make.probes if choices == "letters" else make.experiment  # a probe scores no candidates
    results = make.run(build(tmp_path, tasks=(task,), methods={"naive": Method()}, seeds=(0,)))
    (facts,), (cell, *_) = results.tasks, results.cells
    assert (facts.n_classes, facts.sizes["test"]) == (3, 30)
    assert facts.classes == (("A", "B", "C") if choices == "letters" else ())
    assert facts.test_balance == pytest.approx((1 / 3,) * 3)
    for accuracy in cell.scores["accuracy"].values():
        assert 0 <= accuracy <= 1
        assert accuracy * 30 == pytest.approx(round(accuracy * 30))


def test_check_says_what_was_understood(tmp_path, capsys):
    rows = [{"review": f"text {n}", "mark": 1 + n % 5, "by": "me"} for n in range(60)]
    path = written(tmp_path, "a.csv", rows)
    assert cli.main(["check", str(path), "--columns", "label", "mark"]) == 0
    said = capsys.readouterr().out
    for words in (
        "a.csv: 60 records: 60 examples",
        "text from 'review', label from 'mark'",
        "classes 0 = '1' (12), 1 = '2' (12), 2 = '3' (12)",
        "not read: by",
        "no groups: each example stands alone; if some belong together, columns={'group': ...} says which",
        "splits of seed 0:",
        "label 0 '1':",
    ):
        assert words in said, words
    assert cli.main(["check", str(path)]) == 2
    error = capsys.readouterr().err
    assert "its columns are 'review', 'mark', 'by'; want" in error
    path = written(tmp_path, "small.csv", "message,kind\ngood,praise\nbad,complaint\n")
    assert cli.main(["check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "classes 0 = 'complaint' (1), 1 = 'praise' (1)" in said
    assert "splits of seed 0: none can be drawn: splits of 2 examples cannot be filled" in said
    path = written(
        tmp_path, "q.csv", [{"question": f"Q{n}", "A": "a", "B": "b", "answer": "AB"[n % 2]} for n in range(60)]
    )
    assert cli.main(["check", str(path)]) == 0
    said = capsys.readouterr().out
    assert "2 candidates, of which the right one is: 0 30, 1 30" in said
    assert "label 0:" in said or "label 1:" in said
    assert "Traceback" not in error


def test_a_column_that_comes_late_is_a_column(tmp_path):
    rows = [{"text": f"early {n}", "label": n % 2} for n in range(300)]
    rows += [{"text": f"late {n}", "label": n % 2, "group": f"g{n % 3}"} for n in range(30)]
    path = str(written(tmp_path, "a.jsonl", rows))
    groups = {example.group for example in tasks.load(path) if str(example.text).startswith("late")}
    assert groups == {"g0", "g1", "g2"}


def test_a_pool_changes_no_class(tmp_path, monkeypatch):
    from w2s_jax.data import task_data

    monkeypatch.setattr(task_data, "LEAST_RECORDS", 50)
    rows = [{"text": f"text {n}", "label": ("bad", "good")[n % 2]} for n in range(2000)]
    path = str(written(tmp_path, "a.jsonl", [*rows, {"text": "the last", "label": "abstain"}]))
    found = task_data.TaskData(TaskConfig(path, pool=20, balance=False))
    assert found.answers == ("abstain", "bad", "good")
    assert {example.label for example in found.examples} == {1, 2}
    assert found.reading.is_sample


def test_options_of_a_table_are_refused_where_there_is_none(tmp_path):
    from w2s_jax.data.task_data import definition_of

    (tmp_path / "mine.py").write_text("from w2s_jax.data.tasks import TASKS\nmine = TASKS['cities']\n")
    with pytest.raises(UserError, match=r"a task of your own Python, which takes no text, classes"):
        definition_of(TaskConfig(f"{tmp_path / 'mine.py'}:mine", text="{a}", classes=("a", "b")))


def test_answers_of_which_the_first_is_always_right_are_rotated(tmp_path):
    rows = [{"question": f"What is {n}?", "choices": [f"right {n}", "wrong", "bad"], "answer": 0} for n in range(90)]
    found = tasks.load(str(written(tmp_path, "a.jsonl", rows)))
    assert all("Answer: right" in example.text[example.label] for example in found)
    assert min(sum(example.label == place for example in found) for place in range(3)) > 15
    assert "rotated by a hash" in tasks.get(str(tmp_path / "a.jsonl")).layout[0]


def test_three_classes_need_no_other_sizes_where_splits_shrink(tmp_path):
    rows = [{"text": f"text {n}", "label": n % 3} for n in range(4500)]
    path = str(written(tmp_path, "a.jsonl", rows))
    sizes = TaskData(TaskConfig(path, shrink=True)).splits(0)
    assert [len(getattr(sizes, name)) for name in ("supervisor", "transfer", "validation", "test")] == [
        999,
        999,
        198,
        498,
    ]
    with pytest.raises(UserError, match="classes, not 500; take 498 or 501, or shrink=True"):
        TaskData(TaskConfig(path, supervisor=999, transfer=999, validation=198)).splits(0)


def test_one_example_of_a_class_is_what_is_wrong(tmp_path):
    rows = [{"text": f"text {n}", "label": n % 2} for n in range(400)] + [{"text": "rare", "label": 2}]
    with pytest.raises(UserError, match="class 2 has 1 examples, and every split needs one"):
        TaskData(TaskConfig(str(written(tmp_path, "a.jsonl", rows)), shrink=True)).splits(0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ("group", "sender")}, "columns must say which is which"),
        ({"classes": "praise"}, "classes must be several names in quotes"),
    ],
)
def test_options_of_another_type_are_one_line(options, message):
    with pytest.raises(UserError, match=message):
        TaskConfig("a.csv", **options)


def test_three_names_for_minus_one_zero_and_one_are_no_guess(tmp_path):
    path = str(written(tmp_path, "a.jsonl", [{"text": f"text {n}", "label": n % 3 - 1} for n in range(30)]))
    with pytest.raises(UserError, match="-1 seems to be one of the 3 classes; list the labels themselves"):
        tasks.get(path, TaskConfig(path, classes=("negative", "neutral", "positive")).table)
    assert tasks.get(path, TaskConfig(path, classes=("-1", "0", "1")).table).answers == ("-1", "0", "1")


def test_a_line_break_on_the_command_line_is_one(tmp_path):
    path = str(written(tmp_path, "a.jsonl", [{"a": f"one {n}", "b": "two", "label": n % 2} for n in range(4)]))
    task = tasks.get(path, TaskConfig(path, text="{a}\\n{b}").table)
    assert {example.text for example in tasks.read_task(task, TaskConfig(path))[0]} >= {"one 0\ntwo"}
