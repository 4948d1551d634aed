"""The weak-label table: whole or refused, keyed by example id, and without room for the truth."""

import json
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from w2s_jax.data.predictions import COLUMNS, Predictions, read_predictions, write_predictions
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

IDS, SPLITS = ["a", "b", "c", "a"], ["transfer", "transfer", "test", "test"]


def make(logits=None):
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32) if logits is None else logits
    exponents = np.exp(logits)
    return Predictions(IDS, SPLITS, exponents / exponents.sum(-1, keepdims=True), logits)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "predictions.parquet"
    write_predictions(path, make(), {"model": "tiny"})
    return path


def rewrite(path: Path, columns: dict) -> None:
    """Another table, with a manifest that fits it."""
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    manifest = path.with_suffix(".json")
    files.write_json(manifest, {**files.read_json(manifest), "sha256": files.sha256_file(path)})


def test_comes_back_bit_for_bit(table):
    written, read = make(), read_predictions(table)
    assert list(read.ids) == IDS
    assert list(read.splits) == SPLITS
    for name in ("probs", "logits"):
        assert getattr(read, name).dtype == np.float32
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))


def test_manifest_proves_the_table(table):
    manifest = files.read_json(table.with_suffix(".json"))
    assert manifest["sha256"] == files.sha256_file(table)
    assert (manifest["rows"], manifest["classes"], manifest["provenance"]) == (4, 3, {"model": "tiny"})


def test_same_predictions_same_bytes(table, tmp_path):
    write_predictions(tmp_path / "again.parquet", make(), {})
    assert (tmp_path / "again.parquet").read_bytes() == table.read_bytes()


def test_rows_are_found_by_id_not_by_place(table):
    read = read_predictions(table)
    np.testing.assert_array_equal(read.for_split("transfer", ["b", "a"]), make().probs[[1, 0]])
    np.testing.assert_array_equal(read.for_split("test", ["a"]), make().probs[[3]])


def test_missing_examples_are_named(table):
    with pytest.raises(UserError, match=r"2 of 3 transfer examples have no prediction, 'c' among them"):
        read_predictions(table).for_split("transfer", ["a", "c", "d"])


def test_there_is_no_room_for_the_truth(table):
    """Neither the type nor the file has a place for it, and a table with one more column is refused."""
    assert Predictions._fields == ("ids", "splits", "probs", "logits")
    columns = pyarrow.parquet.read_table(table)
    assert columns.column_names == COLUMNS == ["id", "split", "probs", "logits"]
    rewrite(table, {**dict(zip(COLUMNS, columns.columns, strict=True)), "label": [0, 1, 0, 1]})
    with pytest.raises(UserError, match="has columns id, split, probs, logits, label; it must have"):
        read_predictions(table)


def test_damage_is_noticed(table):
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 1
    for damaged in (bytes(content), bytes(content[:-9]), b""):
        table.write_bytes(damaged)
        with pytest.raises(UserError, match="was truncated or edited"):
            read_predictions(table)
    table.unlink()
    with pytest.raises(UserError, match="is missing"):
        read_predictions(table)


def test_bad_manifest_is_one_line(table):
    manifest = table.with_suffix(".json")
    whole = manifest.read_text()
    for text, message in (
        ("[]", "has schema None"),
        (whole.replace("predictions/1", "predictions/9"), "has schema 'w2s_jax/predictions/9'; this version reads"),
        (whole[:40], "is not whole JSON"),
        (json.dumps({"schema": "w2s_jax/predictions/1"}), "was truncated or edited"),
    ):
        manifest.write_text(text)
        with pytest.raises(UserError, match=message):
            read_predictions(table)
    manifest.unlink()
    with pytest.raises(UserError, match=r"predictions\.json does not exist"):
        read_predictions(table)


def bad(**changes):
    return make()._replace(**changes)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        (bad(splits=["transfer", "transfer", "test", "test"][::-1], ids=["a", "a", "b", "c"]), "appears twice"),
        (bad(ids=IDS[:3]), "not equally many"),
        (bad(probs=make().probs * 2), r"not in \[0, 1\]"),
        (bad(probs=np.full((4, 3), np.nan, np.float32)), r"not in \[0, 1\]"),
        (bad(probs=make().probs * 0.9), "do not sum to 1"),
    ],
)
def test_what_is_not_a_table_of_probabilities_is_neither_written_nor_read(tmp_path, table, predictions, message):
    path = tmp_path / "bad.parquet"
    with pytest.raises(UserError, match=message):
        write_predictions(path, predictions, {})
    assert not path.exists()
    if len(predictions.ids) == 4:
        flat = {"id": list(predictions.ids), "split": list(predictions.splits)}
        vectors = {name: predictions[2 + i].tolist() for i, name in enumerate(("probs", "logits"))}
        kind = pyarrow.list_(pyarrow.float32(), 3)
        rewrite(table, {**flat, **{name: pyarrow.array(rows, kind) for name, rows in vectors.items()}})
        with pytest.raises(UserError, match=message):
            read_predictions(table)
