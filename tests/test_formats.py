"""Formats: the same records from every file that people have, and one line for whatever cannot be read."""

import bz2
import datetime
import doctest
import gzip
import importlib
import json
import lzma
import re

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from w2s_jax.data import formats, records, sources
from w2s_jax.data.formats.json import from_cell
from w2s_jax.data.records import ClassNumber
from w2s_jax.runtime.errors import UserError

RECORDS = [
    {"text": 'a "quoted", naïve film', "label": "1"},
    {"text": "zwölf Monde", "label": "0"},
    {"text": "long " * 40_000, "label": "1"},  # longer than the csv module's own limit
]
QUOTED = ['"' + record["text"].replace('"', '""') + '",' + record["label"] for record in RECORDS]
TEXTS = {
    ".jsonl": "".join(json.dumps(record) + "\n" for record in RECORDS),
    ".ndjson": "".join(json.dumps(record, ensure_ascii=False) + "\r\n\r\n" for record in RECORDS),
    ".json": json.dumps(RECORDS),
    ".csv": "text,label\r\n" + "\r\n".join(QUOTED) + "\r\n",
    ".tsv": "text\tlabel\n" + "".join(f"{record['text']}\t{record['label']}\n" for record in RECORDS),
}
COMPRESSED = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pyarrow.compress(content, codec="zstd", asbytes=True),
}


def read(path, *options):
    """The records, as plain mappings."""
    return [dict(record) for record in formats.read(path, *options)]


def places(path):
    return [record.where for record in formats.read(path)]


def refused(path, *options):
    """The line that says why a file cannot be read, without the file's name."""
    with pytest.raises(UserError) as caught:
        list(formats.read(path, *options))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message.removeprefix(str(path))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("suffix", TEXTS)
def test_text_of_every_encoding(tmp_path, suffix, encoding):
    assert read(written(tmp_path, f"a{suffix}", TEXTS[suffix].encode(encoding))) == RECORDS


@pytest.mark.parametrize("compression", COMPRESSED)
@pytest.mark.parametrize("suffix", TEXTS)
def test_text_of_every_compression(tmp_path, suffix, compression):
    content = COMPRESSED[compression](TEXTS[suffix].encode())
    path = written(tmp_path, f"a{suffix}{compression}", content)
    assert read(path) == RECORDS
    assert read(written(tmp_path, path.name.upper(), content)) == RECORDS
    assert formats.count(path) == 3
    chosen = np.array([True, False, True])
    assert read(path, (), chosen) == RECORDS[::2]


def stream(table, path):
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def file(table, path):
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def parquet(table, path):
    pyarrow.parquet.write_table(table, path, row_group_size=2)


COLUMNAR = [("a.parquet", parquet), ("A.PARQUET", parquet), ("a.arrow", stream), ("a.feather", file), ("a.ipc", file)]


@pytest.mark.parametrize("kind", ["string", "large_string", "string_view", "dictionary"])
@pytest.mark.parametrize(("name", "write"), COLUMNAR)
def test_columns_of_every_format(tmp_path, name, write, kind):
    table = pyarrow.Table.from_pylist(RECORDS)
    text = pyarrow.array([record["text"] for record in RECORDS])
    text = text.dictionary_encode() if kind == "dictionary" else text.cast(kind)
    write(table.set_column(0, "text", text), path := tmp_path / name)
    assert read(path) == RECORDS
    assert places(path) == ["row 1", "row 2", "row 3"]
    some = list(formats.read(path, (), np.array([True, False, True])))
    assert some == RECORDS[::2]
    assert [record.where for record in some] == ["row 1", "row 3"]
    assert formats.count(path) == 3


@pytest.mark.parametrize(("name", "write"), COLUMNAR)
def test_columns_of_every_type(tmp_path, name, write):
    """A column that no one asked for must not keep a file from being read."""
    moment = 1_600_000_000_123_456_789
    table = pyarrow.table(
        {
            "text": ["x"],
            "ns": pyarrow.array([moment], pyarrow.timestamp("ns")),
            "zone": pyarrow.array([moment], pyarrow.timestamp("ns", "Mars/Olympus")),
            "far": pyarrow.array([10**12], pyarrow.timestamp("ms")),
            "day": pyarrow.array([datetime.date(2020, 2, 29)]),
            "price": pyarrow.array(["1.50"]).cast(pyarrow.decimal128(5, 2)),
            "bytes": [b"\xff\x00"],
            "many": [[1, 2]],
            "inside": [{"a": {"b": None}}],
            "nothing": pyarrow.nulls(1),
        }
    )
    write(table, path := tmp_path / name)
    (found,) = read(path)
    assert (found["text"], found["day"]) == ("x", "2020-02-29")
    assert found["ns"] == found["zone"] == "2020-09-13 12:26:40.123456789"
    assert found["inside"] == {"a": {"b": None}}
    assert (str(found["price"]), found["bytes"], found["many"], found["nothing"]) == ("1.50", b"\xff\x00", [1, 2], None)


FEATURES = {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}


def class_labels(values, metadata):
    table = pyarrow.table({"text": [f"text {n}" for n in range(len(values))], "label": values})
    return table.replace_schema_metadata({"huggingface": metadata})


@pytest.mark.parametrize(("name", "write"), COLUMNAR)
def test_class_numbers_know_the_names_that_the_file_tells(tmp_path, name, write):
    write(class_labels([1, 0, -1, None], json.dumps({"info": {"features": FEATURES}})), path := tmp_path / name)
    labels = [record["label"] for record in read(path)]
    assert labels == [1, 0, -1, None]
    assert [label.name for label in labels[:2]] == ["pos", "neg"]
    assert not isinstance(labels[2], ClassNumber)


@pytest.mark.parametrize(
    "metadata",
    ["", "{", "[]", "[" * 5000, '{"info": null}', '{"info": {"features": {"label": 3}}}']
    + [json.dumps({"info": {"features": {"label": {"names": names}}}}) for names in (None, "ab", ["a", "a"], [1, 2])],
)
def test_metadata_of_another_form_tell_no_names(tmp_path, metadata):
    parquet(class_labels([1, 0], metadata), path := tmp_path / "a.parquet")
    assert [type(record["label"]) for record in read(path)] == [int, int]
    parquet(class_labels([[1], [0]], json.dumps({"info": {"features": FEATURES}})), path)
    assert [record["label"] for record in read(path)] == [[1], [0]]


TWO = [{"text": "x", "label": 1}, {"text": "y", "label": 0}]
FORMS = {
    "a list": json.dumps(TWO),
    "a list over lines": json.dumps(TWO, indent=2),
    "a list with a comma too many": "[" + ",".join(json.dumps(each) for each in TWO) + ",\n]",
    "objects over lines": "\n".join(json.dumps(each, indent=2) for each in TWO),
    "objects on one line": " ".join(map(json.dumps, TWO)),
    "objects between commas": ",\n".join(map(json.dumps, TWO)),
    "inside data": json.dumps({"version": 2, "authors": ["a", "b"], "data": TWO}),
    "inside examples, over lines": json.dumps({"examples": TWO}, indent=1),
    "splits": json.dumps({"train": TWO[:1], "test": TWO[1:]}),
    "the Hub's viewer": json.dumps({"features": [{"name": "text"}],
                                    "rows": [{"row_idx": n, "row": row} for n, row in enumerate(TWO)]}),
    "pandas, columns": '{"text": {"0": "x", "1": "y"}, "label": {"0": 1, "1": 0}}',
    "pandas, columns of some rows": '{"text": {"7": "x", "3": "y"}, "label": {"7": 1, "3": 0}}',
    "pandas, index": '{"0": {"text": "x", "label": 1}, "1": {"text": "y", "label": 0}}',
    "pandas, split": '{"columns": ["text", "label"], "index": [0, 1], "data": [["x", 1], ["y", 0]]}',
    "pandas, table": json.dumps({"schema": {"fields": [{"name": "text"}]}, "data": TWO}),
    "lists": '{"text": ["x", "y"], "label": [1, 0]}',
}  # fmt: skip


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("form", FORMS)
def test_json_of_every_form(tmp_path, form, suffix):
    assert read(written(tmp_path, f"a{suffix}", FORMS[form])) == TWO


def test_json_that_is_one_record_or_none(tmp_path):
    one = {"question": "?", "choices": [{"text": "a"}, {"text": "b"}], "chosen": [{"role": "user", "content": "x"}]}
    for content in (json.dumps(one), json.dumps(one, indent=1), json.dumps([one])):
        assert read(written(tmp_path, "a.json", content)) == [one]
    for content in ("", " \n", "[]", "[ \n ]"):
        assert read(written(tmp_path, "a.json", content)) == []
    named = {"q1": {"text": "x"}, "q2": {"text": "y", "id": "own"}}
    assert read(written(tmp_path, "a.json", json.dumps(named))) == [
        {"id": "q1", "text": "x"},
        {"id": "own", "text": "y"},
    ]


def test_json_records_know_their_lines(tmp_path):
    assert places(written(tmp_path, "a.jsonl", '\n{"a": 1}\n\n{"a": 2}\n')) == ["line 2", "line 4"]
    assert places(written(tmp_path, "a.json", '[\n{"a": 1},\n{"a":\n 2},\n{"a": 3}]')) == ["line 2", "line 3", "line 5"]
    assert places(written(tmp_path, "a.json", '{"a":\n1}\n{"a": 2}')) == ["line 1", "line 3"]
    assert places(written(tmp_path, "a.json", '{"data": [{"a": 1}, {"a": 2}]}')) == ["record 1", "record 2"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ('{"text": ', "line 2 is not JSON: Expecting value"),
        ("{'text': 'x'}", "line 2 is not JSON: Expecting property name enclosed in double quotes"),
        ("17", "line 2 is not an object with named values"),
        ('["x"]', "line 2 is not an object with named values"),
        ('{"text": "\\ud83d"}', r"line 2: half of a character (\ud83d, a lone surrogate); remove it"),
        ('{"\\uD83D": 1}', r"line 2: half of a character (\ud83d, a lone surrogate); remove it"),
        ('{"a": [{"b": "\\uDE00"}]}', r"line 2: half of a character (\ude00, a lone surrogate); remove it"),
        ('{"text": "x", "label": 1, "text": "y"}', "line 2: one object holds 'text' twice"),
        ('{"a": [{"b": 1, "b": 2}]}', "line 2: one object holds 'b' twice"),
        ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "line 2: values inside values, more than 50 deep"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "line 2: values inside values, more than 50 deep"),
        ('{"a": ' + "1" * 5000 + "}", "line 2: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
@pytest.mark.parametrize("form", ["lines", "list"])
def test_json_that_is_refused_says_the_line(tmp_path, second, message, form):
    first, third = '{"text": "😀"}', '{"text": "\\ud83d\\ude00"}'
    lines = f"{first}\n{second}\n{third}\n" if form == "lines" else f"[{first},\n{second},\n{third}]"
    found = refused(written(tmp_path, "a.json", lines))
    assert found.startswith(f" cannot be read as JSON: {message}") or (second.endswith(": ") and "line 3" in found)


def test_pairs_of_surrogates_are_characters(tmp_path):
    assert read(written(tmp_path, "a.jsonl", '{"\\ud83d\\ude00": ["\\uD83D\\uDE00"]}\n')) == [{"😀": ["😀"]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"a": 1} {"a": 2}]', "line 1 is not JSON: no ',' or ']' after the value that begins there"),
        ('[{"a": 1},\n{"a": 2}', "line 2 is not JSON: no ',' or ']' after"),
        ('[{"a": 1}] [{"a": 2}]', "line 1 is not JSON: the list does not end with the file"),
        ("[", "line 1 is not JSON: the list does not end"),
        ("null", "line 1 is not an object"),
        ('{"data": [{"a": 1}], "data": [{"a": 2}]}', "one object holds 'data' twice"),
        ('{"data": [{"a": 1}, {"a": 1, "a": 2}]}', "record 2: one object holds 'a' twice"),
        ('{"data": [{"a": 1}], "rows": [{"b": 1}]}', "'data' and 'rows' are both lists of objects; keep the one"),
        ("<!DOCTYPE html><html>", "it is a page of the web, and no table"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a pointer of Git LFS; fetch the file"),
    ],
)
def test_json_that_is_refused_as_a_whole(tmp_path, content, message):
    assert refused(written(tmp_path, "a.json", content)).startswith(f" cannot be read as JSON: {message}")


def test_json_numbers_that_are_none(tmp_path):
    found = read(written(tmp_path, "a.jsonl", '{"a": NaN, "b": Infinity}\n{"a": -Infinity}\n'))
    assert np.isnan(found[0]["a"])
    assert found[0]["b"] == -found[1]["a"] == float("inf")


AB = [{"text": "x", "label": "1"}, {"text": "y", "label": "0"}]


def labelled(first, second):
    return [{**AB[0], "text": first}, {**AB[1], "text": second}]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "text;label\nx;1\ny;0\n", AB),
        ("a.csv", 'text;label\n"a, b";1\nc, d;0\n', labelled("a, b", "c, d")),
        ("a.csv", "text\tlabel\nx\t1\ny\t0\n", AB),
        ("a.csv", "text|label\nx|1\ny|0\n", AB),
        ("a.csv", '"text, or so";label\nx;1\n', [{"text, or so": "x", "label": "1"}]),
        ("a.csv", "sep=;\r\ntext;label\r\nx;1\r\ny;0\r\n", AB),
        ("a.csv", "text,label\rx,1\ry,0\r", AB),
        ("a.csv", "\n\ntext,label\n\nx,1\n\ny,0\n\n", AB),
        ("a.csv", "text,label\nx,1,\ny,0,\n", AB),
        ("a.csv", "text,label,\nx,1,\ny,0,\n", [{**each, "#3": ""} for each in AB]),
        ("a.csv", ",text,label\n0,x,1\n1,y,0\n", [{"#1": "0", **AB[0]}, {"#1": "1", **AB[1]}]),
        ("a.csv", 'text,label\n"two\nlines",1\n"a ""b""\r\n",0\n', labelled("two\nlines", 'a "b"\r\n')),
        ("a.csv", '"the\n text", label \nx,1\n', [{"the text": "x", "label": "1"}]),
        ("a.csv", "text,label\n", []),
        ("a.csv", "", []),
        ("a.csv", "\ufeff", []),
        ("a.csv", "text\nonly\n", [{"text": "only"}]),
        ("a.tsv", 'text\tlabel\n"bare" quotes\t1\nthree " more\t0\n', labelled('"bare" quotes', 'three " more')),
        ("a.tsv", 'text\tlabel\n"a ""b"" c"\t1\n\n', [{"text": 'a "b" c', "label": "1"}]),
        ("a.tsv", 'text\tlabel\n"two\nlines"\t1\ny\t0\n', [{"text": "two\nlines", "label": "1"}, AB[1]]),
        ("a.tsv", 'text\tlabel\n"a\tb"\t1\ny\t0\n', [{"text": "a\tb", "label": "1"}, AB[1]]),
        ("a.tsv", 'text\tlabel\r\nShe said "no"\t1\r\n\r\n', [{"text": 'She said "no"', "label": "1"}]),
    ],
)  # fmt: skip
def test_delimited(tmp_path, name, content, expected):
    assert read(written(tmp_path, name, content)) == expected


def test_lines_of_delimited_records_are_those_where_they_begin(tmp_path):
    path = written(tmp_path, "a.csv", 'text,label\n"two\nlines",1\n\nx,1\n')
    assert places(path) == ["line 2", "line 5"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "text,label\nx,1,2\n", "line 2 has 3 columns, not 2 (text, label); values that hold a"),
        ("a.csv", "text,label\nx,1\ny\n", "line 3 has 1 columns, not 2 (text, label)"),
        ("a.csv", '"a\nb",c\nx\n', "line 3 has 1 columns, not 2 (a b, c)"),
        ("a.csv", 'text,label\nx,1\n"y,1\nz,0\n', "line 3: a quotation mark is opened and never closed"),
        ("a.csv", 'text,label\n"a"b,1\n', "line 2: ',' expected after '\"'; a quotation mark inside a quoted value"),
        ("a.csv", "text,text\nx,1\n", "two columns are called 'text'; if the first line is an example and not names"),
        ("a.csv", "text,label\nx\0y,1\n", "line 2 holds a NUL character; the file is broken, or no text"),
        ("a.csv", b"text,label\nx,1\nna\xefve,1\n", "line 3 is not UTF-8 (byte 0xef); if the file is Latin-1: iconv"),
        ("a.csv", b"\xff\xfet\0e\0x", "it is not whole UTF-16-LE, though it begins as such"),
        ("a.csv", b"PK\x03\x04\x14\0", "it is a zip archive, as .xlsx files are; unpack it, or save the sheet as CSV"),
        ("a.csv", gzip.compress(b"text,label\n", mtime=0), "it is compressed by gzip; end its name with .gz"),
        ("a.csv", "version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        ("a.tsv", "text\tlabel\nx\n", "line 2 has 1 columns, not 2"),
    ],
)  # fmt: skip
def test_delimited_that_is_refused(tmp_path, name, content, message):
    kind = name[2:].upper()
    assert refused(written(tmp_path, name, content)).startswith(f" cannot be read as {kind}: {message}")


def test_very_wide_tables_are_refused_in_a_short_line(tmp_path):
    names = ",".join(f"column {n}" for n in range(5000))
    message = refused(written(tmp_path, "a.csv", f"{names}\nx\n"))
    assert "(column 0, column 1," in message
    assert len(message) < 300


def test_header_is_known_by_its_names(tmp_path):
    headless, headed = tmp_path / "a.tsv", tmp_path / "b.tsv"
    headless.write_text("1\tgood\n0\tbad\n")
    headed.write_text("sentence\tlabel\ngood\t1\nbad\t0\n")
    expected = [{"label": "1", "sentence": "good"}, {"label": "0", "sentence": "bad"}]
    columns = ("label", "sentence")
    assert read(headless, columns) == expected
    assert read(headed, columns) == expected
    assert read(headless, formats.NUMBERED) == [{"#1": "1", "#2": "good"}, {"#1": "0", "#2": "bad"}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", " cannot be read as .txt: give every text a line"),
        ("a", b"x", " cannot be read, for its name has no suffix: a table ends with one of"),
        ("a.docx", b"x", " cannot be read as .docx: a table ends with one of"),
        ("a.xlsx", b"PK\x03\x04", " cannot be read as .xlsx: save the sheet as CSV (UTF-8)"),
        ("a.pkl.gz", b"x", " cannot be read as .pkl: reading a pickle can run anything"),
        ("a.parquet.gz", b"x", " cannot be read: Parquet is not compressed as a whole; unpack it"),
        ("a.parquet", b"not parquet", " cannot be read as Parquet: "),
        ("a.parquet", b"", " cannot be read as Parquet: "),
        (
            "a.parquet",
            b"version https://git-lfs.github.com/spec/v1\n",
            " cannot be read as Parquet: it is a pointer of",
        ),
        ("a.arrow", b"not arrow", " cannot be read as Arrow: "),
        ("a.arrow", b"", " cannot be read as Arrow: "),
        ("a.arrow", b"ARROW1\0\0", " cannot be read as Arrow: "),
        ("a.arrow", b"PAR1\x15\x04", " cannot be read as Arrow: it is Parquet; end its name with .parquet"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}\n' * 999, mtime=0)[:-20], " cannot be read as JSON: "),
        ("a.jsonl.gz", b"not gzip", " cannot be read as JSON: "),
        ("a.jsonl.bz2", b"not bzip2", " cannot be read as JSON: "),
        ("a.jsonl.xz", b"not xz", " cannot be read as JSON: "),
        ("a.jsonl.zst", b"not zstd", " cannot be read as JSON: "),
        ("a.jsonl.zst", COMPRESSED[".zst"](b'{"text": "x"}\n' * 999)[:-5], " cannot be read as JSON: "),
    ],
)
def test_files_of_no_format(tmp_path, name, content, message):
    assert refused(written(tmp_path, name, content)).startswith(message)


def test_columns_that_share_a_name(tmp_path):
    table = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], names=["a", "a"])
    for name, write in COLUMNAR:
        write(table, tmp_path / name)
        assert refused(tmp_path / name).endswith("two columns are called 'a'")


def test_a_folder_is_a_folder_whatever_its_name(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(UserError, match=r"a\.csv holds no data file: none that ends with one of"):
        list(sources.Local(str(tmp_path / "a.csv")).records())
    written(tmp_path / "a.csv", "b.csv", "text,label\nx,1\n")
    assert list(sources.Local(str(tmp_path / "a.csv")).records()) == [{"text": "x", "label": "1"}]


def test_folder_is_all_its_files(tmp_path):
    (tmp_path / "split=train").mkdir()  # a name that must not become a column
    parquet(pyarrow.Table.from_pylist(RECORDS), tmp_path / "split=train" / "a.parquet")
    written(tmp_path, "b.jsonl", TEXTS[".jsonl"])
    (tmp_path / "README.md").write_text("not data")
    for name in ("dataset_info.json", "dataset-metadata.json", ".hidden.json"):
        (tmp_path / name).write_text('{"description": "no data"}')
    found = list(sources.Local(str(tmp_path)).records())
    assert found == RECORDS * 2
    assert found[-1].where == "split=train/a.parquet, row 3"
    assert list(sources.Local(f"{tmp_path}/**/*.parquet").records()) == RECORDS


def test_files_of_a_folder_that_hold_different_things(tmp_path):
    written(tmp_path, "a.jsonl", '{"text": "x"}\n')
    written(tmp_path, "config.json", '{"model": "y"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl and config\.json have no column in common; name .* '.*/\*\.jsonl'"):
        list(sources.Local(str(tmp_path)).records())
    for name, line in (("a.tsv", "1\tgood"), ("b.tsv", "0\tbad")):  # without headers, they have those they are given
        written(tmp_path, name, f"{line}\n")
    found = list(sources.Local(f"{tmp_path}/*.tsv", ("label", "text")).records())
    assert found == [{"label": "1", "text": "good"}, {"label": "0", "text": "bad"}]


def saved_to_disk(folder, shards, features=None):
    """A folder as `datasets.save_to_disk` writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        table = pyarrow.Table.from_pylist(rows)
        stream(
            table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), folder / name
        )
    stream(pyarrow.table({"indices": [0]}), folder / "cache-0123456789abcdef.arrow")
    state = {
        "_data_files": [{"filename": name} for name in names],
        "_fingerprint": "0123456789abcdef",
        "_split": "train",
    }
    state |= {"_format_columns": None, "_format_kwargs": {}, "_format_type": None, "_output_all_columns": False}
    (folder / "state.json").write_text(json.dumps(state, indent=2))
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    (folder / "dataset_info.json").write_text(json.dumps(info, indent=2))


def test_what_datasets_saved_to_disk(tmp_path):
    saved_to_disk(tmp_path / "one", [RECORDS[:2], RECORDS[2:]])
    source = sources.Local(str(tmp_path / "one"))
    assert list(source.records()) == RECORDS
    assert list(source.open().origin.files) == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    saved_to_disk(tmp_path / "all" / "train", [RECORDS[:2]])
    saved_to_disk(tmp_path / "all" / "test", [RECORDS[2:]])
    (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert list(sources.Local(str(tmp_path / "all")).records()) == [RECORDS[2], *RECORDS[:2]]
    (tmp_path / "one" / "data-00001-of-00002.arrow").unlink()
    with pytest.raises(UserError, match=r"state\.json names data-00001-of-00002\.arrow, which is not there"):
        list(source.records())
    for state, message in (('{"_data_files": [3]}', "names no files"), ("{", "is not whole JSON")):
        (tmp_path / "one" / "state.json").write_text(state)
        with pytest.raises(UserError, match=message):
            list(source.records())


def test_missing_file_and_empty_folder(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.jsonl does not exist"):
        list(sources.Local(str(tmp_path / "nowhere.jsonl")).records())
    with pytest.raises(UserError, match="holds no data file"):
        list(sources.Local(str(tmp_path)).records())
    with pytest.raises(UserError, match="no file matches"):
        list(sources.Local(str(tmp_path / "*.csv")).records())


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ('["a", 1]', ["a", 1]),
        ("['a', None, \"it's\"]", ["a", None, "it's"]),
        ('{"a": [1]}', {"a": [1]}),
        ("['a' 'b']", ["ab"]),  # as numpy prints: one value, so too few to choose from
        ("[0.1 0.9]", None),
        ("[" * 10_000, None),
        ("[" * 10_000 + "]" * 10_000, None),
        ("-" * 10_000 + "1", None),
        ('["\\ud83d"]', None),
        ("['\\U0000d83d']", None),
        ('{"a": 1, "a": 2}', None),
        ("__import__('os')", None),
        ("1" * 5000, None),
        ("", None),
    ],
)
def test_lists_in_cells(cell, value):
    if value is not None:
        assert from_cell(cell) == value
        return
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        from_cell(cell)


def test_fields_name_what_is_there():
    with pytest.raises(UserError, match="no column 'text' or 'sentence'; it has: review, label"):
        records.field({"review": "x", "label": 1}, "text", "sentence")
    with pytest.raises(UserError, match="None stands where text should"):
        records.text_field({"text": None}, "text")
    with pytest.raises(UserError, match=re.escape(r"it has: 'a\nb', c")):
        records.field({"a\nb": 1, "c": 2}, "text")


@pytest.mark.parametrize(("value", "label"), [(1, 1), ("0", 0), (True, 1), ("False", 0), (1.0, 1), ("-1", -1), (2, 2)])
def test_classes_are_whole_numbers(value, label):
    assert records.class_field({"label": value}, "label") == label


@pytest.mark.parametrize("value", [0.7, "0.7", "good", None, float("nan"), float("inf"), "", "1_0", "9" * 5000, [1]])
def test_other_labels_are_refused(value):
    with pytest.raises(UserError, match="is not a whole number") as caught:
        records.class_field({"label": value}, "label")
    assert len(str(caught.value)) < 200


def test_references():
    assert sources.parse("hf:org/name@v1:a/*.parquet,b.jsonl") == sources.Hub(
        "org/name", ("a/*.parquet", "b.jsonl"), "v1"
    )
    assert sources.parse("hf:org/name") == sources.Hub("org/name", (), "main")
    assert sources.parse("my.csv", ("a", "b")) == sources.Local("my.csv", ("a", "b"))


@pytest.mark.parametrize("module", ["data.records", "data.formats.json", "data.tables.columns", "data.tables.messages"])
def test_the_examples_in_docstrings_run(module):
    failed, attempted = doctest.testmod(importlib.import_module(f"w2s_jax.{module}"))
    assert failed == 0 < attempted
