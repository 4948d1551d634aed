"""Broken files: whatever stands in one, it is read, or refused in one line that names it.

Arrow itself may crash at broken bytes, or ask for more memory than there is; so its files are read in a child process
of limited memory.
"""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from w2s_jax.data import tasks
from w2s_jax.data.tables import columns
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.runtime.errors import UserError

ROWS = [
    {"text": f"a text, number {n}", "label": ["ham", "spam"][n % 2], "id": f"k{n}", "group": None, "difficulty": n / 2}
    for n in range(12)
]
QUESTIONS = [
    {"question": f"What is {n}?", "choices": ["one", "two", "three"], "answer": "ABC"[n % 3], "passage": "On numbers."}
    for n in range(6)
]
COMPARED = [
    {
        "prompt": f"Hi {n}",
        "chosen": [{"role": "user", "content": f"Hi {n}"}, {"role": "assistant", "content": "Hello 😀"}],
        "rejected": [{"role": "user", "content": f"Hi {n}"}, {"role": "assistant", "content": "Go away."}],
    }
    for n in range(6)
]
SOFT = [{"text": f"a text {n}", "probs": [n / 10, 1 - n / 10]} for n in range(9)]
TABLES = (ROWS, QUESTIONS, COMPARED, SOFT)


def lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def delimited(rows: list[dict], delimiter: str) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = [[row.get(name, "") for name in names] for row in rows]
    cells = [names, *([value if isinstance(value, str) else json.dumps(value) for value in row] for row in values)]
    quoted = [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in cells]
    return "\n".join(quoted).encode()


def parquet(rows: list[dict], **options: object) -> bytes:
    sink = io.BytesIO()
    pyarrow.parquet.write_table(table(rows), sink, row_group_size=4, **options)
    return sink.getvalue()


def arrow(rows: list[dict], *, stream: bool, compression: str | None = None) -> bytes:
    sink = io.BytesIO()
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    new = pyarrow.ipc.new_stream if stream else pyarrow.ipc.new_file
    with new(sink, (made := table(rows)).schema, options=options) as writer:
        writer.write_table(made, max_chunksize=4)
    return sink.getvalue()


def table(rows: list[dict]) -> pyarrow.Table:
    """With all that Arrow's files may hold: dictionaries, times, class names."""
    made = pyarrow.Table.from_pylist(rows)
    if "label" in made.column_names:
        place = made.column_names.index("label")
        made = made.set_column(place, "label", made["label"].dictionary_encode())
    made = made.append_column("when", pyarrow.array(range(len(rows)), pyarrow.timestamp("ns", "UTC")))
    features = {"features": {"label": {"names": ["ham", "spam"], "_type": "ClassLabel"}}}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": features})})


TEXTS = [
    (suffix, content)
    for rows in TABLES
    for suffix, content in (
        (".jsonl", lines(rows)),
        (".json", json.dumps(rows, indent=1).encode()),
        (".json", json.dumps({"data": rows}, ensure_ascii=False).encode()),
        (".csv", delimited(rows, ",")),
        (".csv", delimited(rows, ";").decode().encode("utf-16")),
        (".tsv", delimited(rows, "\t")),
        (".jsonl.gz", gzip.compress(lines(rows), mtime=0)),
        (".csv.bz2", bz2.compress(delimited(rows, ","))),
        (".csv.xz", lzma.compress(delimited(rows, ","))),
        (".jsonl.zst", pyarrow.compress(lines(rows), codec="zstd", asbytes=True)),
    )
]
BINARIES = [
    (suffix, content)
    for rows in TABLES
    for suffix, content in (
        (".parquet", parquet(rows)),
        (".parquet", parquet(rows, compression="none", use_dictionary=False)),
        (".parquet", parquet(rows, compression="zstd", data_page_version="2.0")),
        (".arrow", arrow(rows, stream=True)),
        (".arrow", arrow(rows, stream=False)),
        (".arrow", arrow(rows, stream=False, compression="lz4")),
    )
]
# Bytes that mean something to one format or another.
TOKENS = [
    b"\0",
    b"\xff",
    b'"',
    b"'",
    b",",
    b"\n",
    b"\r",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\ud83d",
    b"NaN",
    b"1e999",
    b"null",
    b"-1",
]
TOKENS += [
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"[" * 2000,
    b'"text":',
    b"0" * 5000,
    b"\x1f\x8b",
    b"PAR1",
    b"\xff\xff\xff\x7f",
]


def mutated(content: bytes, chance: random.Random) -> bytes:
    """The bytes with one to three faults."""
    found = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        at, to = sorted(chance.randrange(len(found) + 1) for _ in range(2))
        match chance.randrange(7):
            case 0 | 1:
                for _ in range(chance.choice([1, 1, 4, 30])):
                    if found:
                        found[chance.randrange(len(found))] ^= 1 << chance.randrange(8)
            case 2:
                del found[at:]
            case 3:
                found[at:at] = chance.choice(TOKENS)
            case 4:
                found[at : at + 4] = chance.choice(TOKENS)[:4]
            case 5:
                found[:] = found[to:] + found[at:to] + found[:at]
            case 6:
                del found[at : min(to, at + 40)]
    return bytes(found)


def cases(files: list[tuple[str, bytes]], count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        suffix, content = files[number % len(files)]
        yield suffix, mutated(content, random.Random(number))


# Values and names that mean something to one kind of table or another.
ODD = [None, "", " ", "-", "A", "a", 0, 1, 2, -1, 1.5, 1e300, 10**30, float("nan"), float("inf"), True, False]
ODD += [[], {}, ["A"], [1], [[1]], [None], ["a", "b", "c"], [0.5, 0.5, 0], {"a": {"b": {"c": [1]}}}, {"text": []}]
ODD += [{"text": ["a", "b"], "label": 3}, {"role": "user"}, [{"role": "user", "content": None}], "0.5", "nan", "TRUE"]
ODD += ["[", '["a", "b", "c"]', "['a', 'b', 'c']", "[{'role':", '{"role": "user", "content": "x"}', "{text}", "#1"]
ODD += ["\n", "\u2028", "\x85", "\0", "😀", "x" * 1000, "1_0", "ham", "HAM"]
NAMES = [name for names in columns.NAMES.values() for name in names]
NAMES += ["A", "B", "option_a", "option_b", "a\nb", "", " ", "#1"]
OPTIONS: list[dict] = [
    {},
    {},
    {"empty": "drop"},
    {"duplicates": "keep"},
    {"choices": "letters"},
    {"classes": ("spam", "ham")},
    {"classes": ("0", "1", "-1")},
    {"columns": {"text": "question", "label": "answer"}},
    {"columns": {"label": "choices.0"}},
    {"columns": {"choices": "A, B"}},
    {"columns": {"text": "#1", "label": "#2"}},
    {"text": "{text} {id}"},
    {"text": "{#1}"},
]


def odd(rows: list[dict], chance: random.Random) -> list[dict]:
    """The rows with odd values and names."""
    found = [dict(row) for row in rows[: chance.randint(1, len(rows))]]
    everywhere = chance.random() < 0.5
    for _ in range(chance.randint(1, 4)):
        name, value, other = chance.choice(list(rows[0])), chance.choice(ODD), chance.choice(NAMES)
        action = chance.randrange(4)
        for row in found if everywhere else [chance.choice(found)]:
            match action:
                case 0 | 1 if name in row:
                    row[name] = value
                case 2 if name in row:
                    row[other] = row.pop(name)
                case 3:
                    row[other] = value
    return found


def odd_cases(count: int) -> Iterator[tuple[str, bytes, dict]]:
    for number in range(count):
        chance = random.Random(number)
        rows = odd(TABLES[number % len(TABLES)], chance)
        suffix, content = (".csv", delimited(rows, ",")) if number % 3 == 0 else (".jsonl", lines(rows))
        if number % 3 == 1:
            with contextlib.suppress(pyarrow.ArrowException, OverflowError):  # a column of several types
                suffix, content = ".parquet", parquet(rows)
        yield suffix, content, chance.choice(OPTIONS)


def check(path: Path, options: dict | None = None) -> bool:
    """Whether a file is read; if not, it is refused as it must be.

    Raises:
      AssertionError: it is refused otherwise, or by a fault of this package's own.
    """
    config = TaskConfig(str(path), **options or {})
    try:
        examples, _ = tasks.read_task(tasks.get(str(path), config.table), config)
    except UserError as error:
        refused: BaseException | None = error
    else:
        assert all(isinstance(example.label, int) for example in examples)
        return True
    message = str(refused)
    assert "\n" not in message
    assert str(path) in message
    assert len(message) < 3000
    while refused is not None:
        ours = not type(refused).__module__.startswith("pyarrow")
        assert not (ours and isinstance(refused, TypeError | LookupError | AttributeError | AssertionError)), message
        refused = refused.__cause__
    return False


def write(folder: Path, suffix: str, content: bytes) -> Path:
    path = folder / f"broken{suffix}"
    path.write_bytes(content)
    return path


def test_unbroken_files_are_read(tmp_path):
    assert all(check(write(tmp_path, *each)) for each in (*TEXTS, *BINARIES))


def test_broken_text_is_read_or_refused_in_one_line(tmp_path):
    read = [check(write(tmp_path, *case)) for case in cases(TEXTS, 1200)]
    assert sum(read) > 20


def test_odd_values_are_read_or_refused_in_one_line(tmp_path):
    read = [check(write(tmp_path, suffix, content), options) for suffix, content, options in odd_cases(1000)]
    assert 100 < sum(read) < 900


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="a child's memory is limited by what it has")
def test_broken_columns_are_read_or_refused_in_one_line_and_limited_memory(tmp_path):
    child = subprocess.run(
        [sys.executable, "-m", "tests.test_table_fuzz", str(tmp_path), "2400"],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    said = child.stdout.split()
    assert child.returncode == 0, f"case {said[-1:]} of BINARIES: {child.stderr[-2000:]}"
    assert int(said[-1]) > 20


def read_in_limited_memory(folder: Path, count: int) -> None:
    """Reads broken files of Arrow's in a gigabyte more than it has now; it prints each number before it is tried."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), used + (1 << 30)))
    read = 0
    for number, case in enumerate(cases(BINARIES, count)):
        print(number, flush=True)
        read += check(write(folder, *case))
    print(read)


if __name__ == "__main__":
    read_in_limited_memory(Path(sys.argv[1]), int(sys.argv[2]))
