"""The fake Hub is to huggingface_hub what the real one is, and the invented data sets are what they say they are."""

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests import hub_datasets
from tests.fake_hub import GRANTED, FakeHub

pytest.importorskip("huggingface_hub")

NAME = "somebody/towns"
CARD = b"# Towns\n"
SHARDS = {f"data/train-0000{k}-of-00002.parquet": bytes([k]) * 300_000 for k in range(2)}
FILES = {"README.md": CARD, "data/a list+.json": b"[]\n", **SHARDS, **{f"other/{k}.txt": b"%d" % k for k in range(9)}}
# Makes the calls that it is given, one after another, and prints what each returns or raises, a line each.
CALLS = """
import json, sys, time
import huggingface_hub
time.sleep = lambda _: None
for name, keywords in json.load(sys.stdin):
    try:
        found = getattr(huggingface_hub, name)(**keywords)
        found = found if isinstance(found, str) or hasattr(found, "__dict__") else list(found)
    except Exception as error:
        found = {"error": type(error).__name__}
    print(json.dumps(found, default=lambda value: getattr(value, "__dict__", None) or str(value)))
"""


def call(function: str, **keywords: Any) -> tuple[str, dict[str, Any]]:
    return function, {"repo_id": NAME, "repo_type": "dataset", **keywords}


def ask(hub: FakeHub, home: Path, *calls: tuple[str, dict[str, Any]], token: str = "", **changes: str) -> list[Any]:
    """What a process finds that makes these calls one after another."""
    environment = {**os.environ, **hub.environment(home, token), **changes}
    command = [sys.executable, "-c", CALLS]
    process = subprocess.run(
        command, input=json.dumps(calls), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def files_in(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def hub():
    with FakeHub(page_size=5) as running:
        running.add("datasets", NAME, FILES)
        yield running


def test_files_and_lists_are_those_of_the_commit(hub, tmp_path):
    snapshot, tree, top, info, card, refs = ask(
        hub,
        tmp_path,
        call("snapshot_download", allow_patterns=["data/*"]),
        call("list_repo_tree", recursive=True),
        call("list_repo_tree"),
        call("repo_info", files_metadata=True),
        call("hf_hub_download", filename="README.md"),
        call("list_repo_refs"),
    )
    commit = hub.commit("datasets", NAME)
    assert Path(snapshot).name == info["sha"] == refs["branches"][0]["target_commit"] == commit
    assert files_in(snapshot) == {path: content for path, content in FILES.items() if not path.startswith("other")}
    assert card == f"{snapshot}/README.md"
    assert sorted(hub.downloads) == sorted(files_in(snapshot))

    sizes = {path: len(content) for path, content in FILES.items()}
    assert {file["path"]: file["size"] for file in tree if "blob_id" in file} == sizes
    assert {file["rfilename"]: file["size"] for file in info["siblings"]} == sizes
    assert [entry["path"] for entry in top] == ["README.md", "data", "other"]
    pages = [asked for asked in hub.requests if "recursive=true" in asked.path]
    assert len(pages) == 2 * 3, "14 entries in pages of 5, for the snapshot and for the list"


def test_contents_have_the_names_that_git_and_git_lfs_give(hub, tmp_path):
    (tree,) = ask(hub, tmp_path, call("list_repo_tree", recursive=True))
    files = {file["path"]: file for file in tree}
    path, content = next(iter(SHARDS.items()))
    lfs = files[path]["lfs"]
    assert (lfs["sha256"], lfs["size"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert files["README.md"]["lfs"] is None
    git = subprocess.run(["git", "hash-object", "--stdin"], input=CARD, capture_output=True, check=False)
    if git.returncode == 0:
        assert files["README.md"]["blob_id"] == git.stdout.decode().strip()


def test_what_cannot_be_had_raises_what_the_real_one_makes_huggingface_hub_raise(hub, tmp_path):
    for name in ("somebody/gated", "somebody/hidden"):
        hub.add("models", name, {"model.safetensors": b"weights"})
    hub.gate("somebody/gated")
    hub.hide("somebody/hidden")
    gated, hidden = ({"repo_id": name, "repo_type": "model"} for name in ("somebody/gated", "somebody/hidden"))
    calls = [
        call("snapshot_download", **gated),
        call("repo_info", **gated),
        call("snapshot_download", **hidden),
        call("snapshot_download", repo_id="somebody/missing"),
        call("snapshot_download", revision="v9"),
        call("hf_hub_download", filename="missing.json"),
        call("list_repo_tree", path_in_repo="missing"),
    ]
    missing = [{"error": f"{what}Error"} for what in ("RepositoryNotFound", "RevisionNotFound")]
    missing += [{"error": "RemoteEntryNotFoundError"}] * 2
    closed, seen, *others = ask(hub, tmp_path / "nobody", *calls)
    assert (closed, seen["gated"]) == ({"error": "GatedRepoError"}, "manual")
    assert others == [{"error": "RepositoryNotFoundError"}, *missing]
    assert {asked.status for asked in hub.requests if asked.status >= 400} == {401, 404}

    hub.requests.clear()
    closed, _, *others = ask(hub, tmp_path / "somebody", *calls, token="hf_somebody")
    assert [closed, *others] == [{"error": "GatedRepoError"}, {"error": "RepositoryNotFoundError"}, *missing]
    assert {asked.status for asked in hub.requests if asked.status >= 400} == {403, 404}

    hub.requests.clear()
    opened, _, shown, *others = ask(hub, tmp_path / "granted", *calls, token=GRANTED)
    assert files_in(opened) == files_in(shown) == {"model.safetensors": b"weights"}
    assert others == missing
    assert all(asked.token for asked in hub.requests if asked.status == 302), "and none is sent with the redirection"


def test_a_broken_download_is_begun_again(hub, tmp_path):
    path = next(iter(SHARDS))
    hub.cut(path, after=100_000)
    hub.cut("README.md", after=3)
    found = ask(hub, tmp_path, *(call("hf_hub_download", filename=name) for name in (path, "README.md")))
    assert [Path(file).read_bytes() for file in found] == [SHARDS[path], CARD]
    assert hub.downloads == [path, path, "README.md", "README.md"], "its last 10 MB, which are all of it here"


@pytest.mark.parametrize(
    ("path", "asked", "status", "first", "last"),
    [
        ("README.md", "bytes=2-", 206, 2, 7),
        ("README.md", "bytes=2-3", 206, 2, 3),
        ("README.md", "bytes=6-99", 206, 6, 7),
        ("data/train-00001-of-00002.parquet", "bytes=100000-", 206, 100_000, 299_999),  # redirected
        ("README.md", None, 200, 0, 7),
        ("README.md", "bytes=8-", 416, 8, 7),
    ],
)
def test_parts_of_files(hub, path, asked, status, first, last):
    request = urllib.request.Request(f"{hub.endpoint}/datasets/{NAME}/resolve/main/{path}")
    if asked is not None:
        request.add_header("Range", asked)
    try:
        answer = urllib.request.urlopen(request)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        assert answer.status == hub.requests[-1].status == status
        assert answer.read() == FILES[path][first : last + 1]
        parts = {206: f"bytes {first}-{last}/{len(FILES[path])}", 416: f"bytes */{len(FILES[path])}"}
        assert answer.headers.get("Content-Range") == parts.get(status)
    assert (hub.requests[-1].file, hub.requests[-1].range) == (path, asked)


def test_without_the_hub_the_cache_answers(hub, tmp_path):
    (online,) = ask(hub, tmp_path, call("snapshot_download", allow_patterns=["data/*"]))
    hub.requests.clear()
    calls = [call("snapshot_download", allow_patterns=[pattern]) for pattern in ("data/*", "other/*")]
    incomplete = {"error": "IncompleteSnapshotError"}
    assert ask(hub, tmp_path, *calls, HF_HUB_OFFLINE="1") == [online, incomplete]
    assert hub.requests == []
    hub.close()
    assert ask(hub, tmp_path, *calls) == [online, incomplete], "closed, the Hub cannot be reached"


def test_a_branch_moves_and_earlier_commits_stay(hub, tmp_path):
    before = hub.commit("datasets", NAME)
    hub.add("datasets", NAME, FILES, "refs/tags/v1")
    first, *others = SHARDS
    after = hub.add("datasets", NAME, FILES | {first: b"changed"})
    assert hub.add("datasets", NAME, {"default/train/0000.parquet": b"converted"}, "refs/convert/parquet") != after
    revisions = ("v1", before, before[:8], "main", "refs/convert/parquet")
    snapshots = ask(hub, tmp_path, *(call("snapshot_download", revision=revision) for revision in revisions))
    assert [Path(snapshot).name for snapshot in snapshots[:4]] == [before, before, before, after]
    assert [files_in(snapshot)[first] for snapshot in snapshots[:4]] == [SHARDS[first]] * 3 + [b"changed"]
    assert files_in(snapshots[4]) == {"default/train/0000.parquet": b"converted"}
    assert hub.downloads.count(first) == 2, "once for each content"
    assert all(hub.downloads.count(path) == 1 for path in others)
    assert sorted(
        path.name for path in (Path(snapshots[0]).parents[1] / "refs").rglob("*") if path.is_file()
    ) == sorted(["v1", before[:8], "main", "parquet"])
    hub.remove("datasets", NAME, "refs/convert/parquet")
    (gone,) = ask(hub, tmp_path, call("snapshot_download", revision="refs/convert/parquet"))
    assert gone == {"error": "RevisionNotFoundError"}


def test_data_sets_lie_as_in_their_repositories(hub, tmp_path):
    hub_datasets.serve(hub, records=4)
    repositories = {name: dict(hub_datasets.commits(name, 4)) for name in hub_datasets.REPOSITORIES}
    ethics = {"repo_id": "hendrycks/ethics", "revision": "refs/convert/parquet"}
    virtue, shards = ask(
        hub,
        tmp_path,
        call("snapshot_download", allow_patterns=["virtue/*/*.parquet"], **ethics),
        call("snapshot_download", allow_patterns=["*/*-of-00004.parquet"], repo_id="fancyzhx/amazon_polarity"),
    )
    assert set(files_in(virtue)) == {f"virtue/{split}/0000.parquet" for split in ("train", "validation", "test")}
    assert set(files_in(shards)) == {f"amazon_polarity/train-0000{k}-of-00004.parquet" for k in range(4)}
    assert not any(path.endswith(".parquet") for path in repositories["hendrycks/ethics"]["main"])
    assert "refs/convert/parquet" not in repositories["Rowan/hellaswag"]


def test_columns_have_the_types_that_the_datasets_library_writes():
    content = dict(hub_datasets.commits("allenai/quartz", 24))["main"]["data/train-00000-of-00001.parquet"]
    table = pa.parquet.ParquetFile(pa.BufferReader(content))
    strings = pa.list_(pa.string())
    assert table.schema_arrow.field("choices").type == pa.struct([("text", strings), ("label", strings)])
    assert table.num_row_groups == 3
    content = dict(hub_datasets.commits("nyu-mll/glue", 24))["main"]["cola/test-00000-of-00001.parquet"]
    table = pa.parquet.read_table(pa.BufferReader(content))
    assert (table.schema.field("label").type, set(table["label"].to_pylist())) == (pa.int64(), {-1})
    label = {"names": ["unacceptable", "acceptable"], "_type": "ClassLabel"}
    assert json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"] == label


def test_puzzles_are_mates_and_nothing_else_mates():
    chess = pytest.importorskip("chess")
    puzzles = [hub_datasets.puzzle(i) for i in range(400)]
    assert len({puzzle["FEN"] for puzzle in puzzles}) == 400
    for puzzle in puzzles:
        board = chess.Board(puzzle["FEN"])
        assert board.is_valid()
        played, best = map(chess.Move.from_uci, puzzle["Moves"].split())
        assert played in board.legal_moves
        board.push(played)
        mates = []
        for move in list(board.legal_moves):
            board.push(move)
            mates += [move] * board.is_checkmate()
            board.pop()
        assert mates == [best]
