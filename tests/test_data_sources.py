"""Sources: the same records from every format, and one line for whatever cannot be read."""

import gzip
import json

import pytest

from w2s_jax.data import formats, records, sources
from w2s_jax.runtime.errors import UserError

RECORDS = [
    {"text": 'a "quoted", naïve\tfilm'.replace("\t", " "), "label": "1"},
    {"text": "zwölf Monde", "label": "0"},
    {"text": "long " * 40_000, "label": "1"},  # longer than the csv module's own limit
]


def write(folder, name):
    path = folder / name
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    quoted = ['"' + record["text"].replace('"', '""') + '",' + record["label"] for record in RECORDS]
    texts = {
        "jsonl": lines,
        "json": json.dumps(RECORDS),
        "csv": "text,label\r\n" + "\r\n".join(quoted) + "\r\n",
        "tsv": "text\tlabel\n" + "".join(f"{record['text']}\t{record['label']}\n" for record in RECORDS),
    }
    kind = name.removesuffix(".gz").split(".")[-1]
    if kind == "parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
    else:
        content = texts[kind].encode("utf-8-sig" if "bom" in name else "utf-8")
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "bom.csv", "a.csv.gz", "a.tsv", "bom.jsonl", "a.parquet"]
)
def test_every_format_gives_the_same_records(tmp_path, name):
    assert list(formats.read(write(tmp_path, name))) == RECORDS


def test_folder_is_all_its_files(tmp_path):
    (tmp_path / "split=train").mkdir()  # a name that must not become a column
    write(tmp_path / "split=train", "a.parquet")
    write(tmp_path, "b.jsonl")
    (tmp_path / "README.md").write_text("not data")
    assert list(sources.Local(str(tmp_path)).records()) == RECORDS * 2


def test_header_is_known_by_its_names(tmp_path):
    headless, headed = tmp_path / "a.tsv", tmp_path / "b.tsv"
    headless.write_text("1\tgood\n0\tbad\n")
    headed.write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    expected = [{"label": "1", "sentence": "good"}, {"label": "0", "sentence": "bad"}]
    columns = ("label", "sentence")
    assert list(formats.read(headless, columns)) == expected
    assert list(formats.read(headed, columns)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", "cannot be read as .txt: give every text a line"),
        ("a", b"x", "has no suffix: a table ends with one of"),
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b"17\n", "line 1 is not an object"),
        ("a.json", b'["x"]', "record 1 is not"),
        ("a.csv", b"text,label\nx,1,2\n", r"line 2 has 3 columns, not 2 \(text, label\)"),
        ("a.csv", b'text,label\n"x,1\n', "cannot be read as CSV"),
        ("a.csv", b"text,label\n\xff,1\n", "cannot be read as CSV"),
        ("a.parquet", b"not parquet", "cannot be read as Parquet"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999, mtime=0)[:-20], "cannot be read as JSON"),
        ("a.jsonl.gz", b"not gzip", "cannot be read as JSON"),
    ],
)
def test_unreadable_file_is_one_line_that_names_it(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        list(formats.read(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_and_empty_folder(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl does not exist"):
        list(sources.Local(str(tmp_path / "nowhere.jsonl")).records())
    with pytest.raises(UserError, match="holds no data file"):
        list(sources.Local(str(tmp_path)).records())


def test_fields_name_what_is_there():
    with pytest.raises(UserError, match="no column 'text' or 'sentence'; it has: review, label"):
        records.field({"review": "x", "label": 1}, "text", "sentence")
    with pytest.raises(UserError, match="None stands where text should"):
        records.text_field({"text": None}, "text")


@pytest.mark.parametrize(("value", "label"), [(1, 1), ("0", 0), (True, 1), ("False", 0), (1.0, 1), ("-1", -1), (2, 2)])
def test_classes_are_whole_numbers(value, label):
    assert records.class_field({"label": value}, "label") == label


@pytest.mark.parametrize("value", [0.7, "0.7", "good", None, float("nan"), float("inf"), ""])
def test_other_labels_are_refused(value):
    with pytest.raises(UserError, match="is not a whole number"):
        records.class_field({"label": value}, "label")


def test_references():
    assert sources.parse("hf:org/name@v1:a/*.parquet,b.jsonl") == sources.Hub(
        "org/name", ("a/*.parquet", "b.jsonl"), "v1"
    )
    assert sources.parse("hf:org/name") == sources.Hub("org/name", (), "main")
    assert sources.parse("my.csv", ("a", "b")) == sources.Local("my.csv", ("a", "b"))
