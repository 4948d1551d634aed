"""The Hub as a source of data and of models: exactly what was named is read, at one commit, which is written down."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

import w2s_jax
from tests import hub_datasets, hub_models
from tests.fake_hub import GRANTED, FakeHub

pytest.importorskip("huggingface_hub")

NAME = "somebody/towns"
ROOT = Path(__file__).parent.parent

# What every one of these programs begins with: `told` prints what became of a call.
HEAD = """
import json, sys
from w2s_jax.data import sources, tasks
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.runtime import hub
from w2s_jax.runtime.errors import UserError

def told(function):
    try:
        found = function()
    except UserError as error:
        found = {"error": str(error)}
    print(json.dumps(found))

def texts(reference, at_most=None):
    def read():
        opened = sources.parse(reference).open(at_most)
        origin = [opened.origin.name, opened.origin.version, sorted(opened.origin.files)]
        return {"records": sorted(str(each) for each in opened.records), "origin": origin,
                "available": opened.available, "whole": opened.is_whole}
    told(read)
"""


def table(texts: list[str], every: int = 2) -> bytes:
    """Texts of which every so manieth is of class 1."""
    sink = pa.BufferOutputStream()
    labels = [int(k % every == every - 1) for k in range(len(texts))]
    pyarrow.parquet.write_table(pa.table({"text": texts, "label": labels}), sink)
    return bytes(sink.getvalue())


def record(text: str, label: int) -> str:
    return str({"text": text, "label": label})


FILES = {
    "README.md": b"# Towns\n",
    "dataset_infos.json": b"{}",
    "data/train-00000-of-00002.parquet": table(["Ulm", "Rom"]),
    "data/train-00001-of-00002.parquet": table(["Bern"]),
    "data/test-00000-of-00001.parquet": table(["Graz"]),
}
TRAIN = sorted([record("Ulm", 0), record("Rom", 1), record("Bern", 0)])


@pytest.fixture
def hub():
    with FakeHub() as running:
        running.add("datasets", NAME, FILES)
        yield running


def start(hub: FakeHub, home: Path, program: list[str], token: str = "", **changes: str) -> Any:
    cache = {"W2S_CACHE": str(home / "w2s"), "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    environment = {**os.environ, **hub.environment(home, token), **cache, **changes}
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False, cwd=home)


def ask(hub: FakeHub, home: Path, code: str, token: str = "", **changes: str) -> list[Any]:
    """What a process prints, a line of JSON each."""
    home.mkdir(exist_ok=True)
    process = start(hub, home, [sys.executable, "-c", HEAD + code], token, **changes)
    assert process.returncode == 0, process.stderr
    return [json.loads(line) for line in process.stdout.splitlines()]


def w2s(hub: FakeHub, home: Path, *arguments: str, token: str = "", **changes: str) -> Any:
    home.mkdir(exist_ok=True)
    return start(hub, home, [sys.executable, "-m", "w2s_jax.cli", *arguments], token, **changes)


EVERY_TASK = """
from tests import hub_datasets
names = list(hub_datasets.EXPECTED)
for name in names[::{step}]:
    for source in dict.fromkeys([None, *tasks.get(name).other_sources]):
        if source == "tfds":
            continue
        examples, reading = tasks.read_task(tasks.get(name), TaskConfig(name, source))
        hub_datasets.EXPECTED[name].check(reading, examples, tasks.get(name).answers)
        assert len(reading.origin.version) == 40 and reading.origin.files and reading.available is None
        print(json.dumps([name, source]))
"""


@pytest.mark.parametrize("step", [1, -1], ids=["forward", "backward"])
def test_every_task_reads_its_own_files_and_no_others(tmp_path, step):
    """Tasks of one repository share a folder of the cache, in whichever order they are read."""
    with FakeHub() as hub:
        hub_datasets.serve(hub)
        read = ask(hub, tmp_path, EVERY_TASK.format(step=step))
    assert len(read) > 40
    assert ["social_i_qa", "mirror"] in read
    assert {name for name, _ in read} == set(hub_datasets.EXPECTED)


def test_imdb_of_the_hub_has_no_unlabelled_reviews(tmp_path):
    code = """
examples, reading = tasks.read_task(tasks.get("imdb"), TaskConfig("imdb", "hub"))
print(json.dumps([reading.records, reading.unlabelled, sorted([e.text, e.label] for e in examples)[:2]]))
"""
    with FakeHub() as hub:
        hub_datasets.serve(hub, names=["stanfordnlp/imdb"])
        ((records, unlabelled, some),) = ask(hub, tmp_path, code)
    assert (records, unlabelled) == (48, 0)
    assert some == [["A film of Belkaford.  It drags.", 0], ["A film of Belkaford.  It sings.", 1]]


def test_files_are_those_that_patterns_name_whatever_the_cache_holds(hub, tmp_path):
    everything, train, test, alone = ask(
        hub,
        tmp_path,
        f"texts('hf:{NAME}'); texts('hf:{NAME}:data/train-*'); texts('hf:{NAME}:data/test-*.parquet'); "
        f"texts('hf:{NAME}:data/train-00001-of-00002.parquet')",
    )
    assert everything["records"] == sorted([*TRAIN, record("Graz", 0)])
    assert train["records"] == TRAIN
    assert test["records"] == [record("Graz", 0)]
    assert train["origin"] == [f"Hub {NAME}", hub.commit("datasets", NAME), sorted(p for p in FILES if "train" in p)]
    assert "1 of 2 files data/train-* are there" in alone["error"], "a part of a split is not the split"
    assert sorted(hub.downloads) == sorted(path for path in FILES if path.startswith("data/")), "each of them once"


def test_what_is_not_there_is_named_with_what_is(hub, tmp_path):
    hub.add("datasets", "somebody/script", {"script.py": b"raise SystemExit", "README.md": b""})
    hub.add("datasets", "somebody/mixed", {"a/x.parquet": b"", "b/x.parquet": b"", "b/x.csv": b""})
    hub.add("datasets", "somebody/gated", FILES)
    hub.gate("somebody/gated")
    found = ask(
        hub,
        tmp_path,
        f"texts('hf:{NAME}:nowhere/*.parquet'); texts('hf:{NAME}@v9'); texts('hf:somebody/none'); "
        "texts('hf:somebody/gated'); texts('hf:somebody/script'); texts('hf:somebody/mixed'); texts('hf:a/b/c')",
    )
    errors = [each["error"] for each in found]
    commit = hub.commit("datasets", NAME)[:12]
    assert errors[0].startswith(
        f"Hub data set '{NAME}' at 'main' (commit {commit}) has no file 'nowhere/*.parquet'; it holds: README.md, data/"
    )
    assert errors[1] == f"Hub data set '{NAME}' has no revision 'v9'"
    assert errors[2].startswith("Hub has no data set 'somebody/none', or it is private")
    assert "is gated" in errors[3]
    assert "HF_TOKEN" in errors[3]
    assert errors[4].endswith("has no data file that can be read; it holds: README.md, script.py")
    assert "several kinds of data: a/*.parquet, b/*.csv, b/*.parquet; name the files to be read" in errors[5]
    assert errors[6] == "'a/b/c' is no name of a Hub data set; want 'org/name'"
    assert not any("\n" in error for error in errors)
    (opened,) = ask(hub, tmp_path, "texts('hf:somebody/gated:data/test-*')", token=GRANTED)
    assert opened["records"] == [record("Graz", 0)]


def test_a_conversion_that_is_gone_names_the_other_sources(tmp_path):
    with FakeHub() as hub:
        hub_datasets.serve(hub, names=["ybisk/piqa", "baber/piqa"])
        hub.remove("datasets", "ybisk/piqa", "refs/convert/parquet")
        code = """
told(lambda: len(tasks.load("piqa")))
told(lambda: len(tasks.load("piqa", "mirror")))
told(lambda: len(tasks.load("sciq", "tfds")))
"""
        gone, mirrored, none = ask(hub, tmp_path, code)
    assert gone["error"] == (
        "task 'piqa': Hub data set 'ybisk/piqa' has no revision 'refs/convert/parquet'; the task can also be read "
        "from: tfds, mirror, as with source='tfds'"
    )
    assert mirrored > 40
    assert none["error"] == "task 'sciq' has no source 'tfds'; it has: hub"


def many(shards: int, rows: int) -> dict[str, bytes]:
    names = [f"big/train-{k:05d}-of-{shards:05d}.parquet" for k in range(shards)]
    tables = {name: table([f"{k} {row}" for row in range(rows)], 10) for k, name in enumerate(names)}
    return {**tables, "big/test-00000-of-00001.parquet": table([f"test {row}" for row in range(rows)], 10)}


def test_a_part_of_a_large_split_is_fetched_and_read_the_same_every_time(hub, tmp_path):
    hub.add("datasets", "somebody/big", many(4, 1000))
    code = "texts('hf:somebody/big', {}); texts('hf:somebody/big', {})"
    few, more = ask(hub, tmp_path / "one", code.format(200, 2500))
    fetched = list(hub.downloads)
    assert len(few["origin"][2]) == 2, "one of four shards, and the split that has but one"
    assert len(more["origin"][2]) == 3
    assert sorted(fetched) == sorted(more["origin"][2])
    assert few["available"] == 2000
    assert not few["whole"]
    assert 150 < len(few["records"]) < 250
    assert len({text.split("'")[3].split()[0] for text in few["records"]}) == 2, "of both files"
    assert 2300 < len(more["records"]) < 2700
    again, whole = ask(hub, tmp_path / "two", code.format(200, 100_000))
    assert again == few
    assert (len(whole["records"]), whole["whole"], whole["available"]) == (5000, True, 5000)


def test_a_pool_reads_as_much_as_it_needs(hub, tmp_path):
    hub.add("datasets", "somebody/big", many(4, 1000))
    code = """
from w2s_jax.data import task_data
task_data.LEAST_RECORDS, task_data.RECORDS_PER_EXAMPLE = 100, 1
for pool in (50, 1000):
    config = TaskConfig("hf:somebody/big", pool=pool, supervisor=10, transfer=10, validation=2, test=10)
    found = task_data.TaskData(config)
    found.splits(0)
    read = found.reading
    print(json.dumps([len(found.examples), read.records, read.available, len(read.origin.files), read.describe()]))
"""
    (few, records, available, files, words), (most, *rest) = ask(hub, tmp_path, code)
    assert (available, files) == (2000, 2)
    assert few == 50
    assert 500 < records < 700, "of 150 records too few are of class 1"
    assert f"{records:,} records, a sample of the 2,000 in the files that were opened: 50 examples" in words
    assert (most, rest[:3]) == (1000, [5000, None, 5]), "it reads on until all is read"


def test_a_moved_branch_is_another_commit_and_a_pinned_one_stays(hub, tmp_path):
    before = hub.commit("datasets", NAME)
    test = f"hf:{NAME}{{}}:data/test-*"
    (old,) = ask(hub, tmp_path, f"texts('{test.format('')}')")
    after = hub.add("datasets", NAME, FILES | {"data/test-00000-of-00001.parquet": table(["Linz"])})
    code = f"texts('{test.format('')}'); texts('{test.format('@' + before)}')"
    new, pinned = ask(hub, tmp_path, code)
    assert (old["records"], new["records"], pinned["records"]) == (
        [record("Graz", 0)],
        [record("Linz", 0)],
        [record("Graz", 0)],
    )
    assert [each["origin"][1] for each in (old, new, pinned)] == [before, after, before]
    during = f"""
texts('{test.format("")}')
input()
texts('{test.format("")}')
"""
    environment = {**os.environ, **hub.environment(tmp_path), "W2S_CACHE": str(tmp_path / "w2s")}
    with subprocess.Popen(
        [sys.executable, "-c", HEAD + during], env=environment, cwd=ROOT, text=True, stdin=-1, stdout=-1
    ) as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        hub.add("datasets", NAME, FILES)
        rest, _ = process.communicate("\n", timeout=60)
    assert json.loads(rest) == first, "one process reads one commit"


def test_without_the_hub_the_cache_is_read_if_it_is_whole(hub, tmp_path):
    train, missing = f"texts('hf:{NAME}:data/train-*')", "texts('hf:somebody/none')"
    nothing, absent = ask(hub, tmp_path / "empty", f"{train}; {missing}", HF_HUB_OFFLINE="1")
    assert nothing["error"].startswith(f"the Hub cannot be reached, and the cache does not hold data set '{NAME}'")
    assert "does not hold data set 'somebody/none'" in absent["error"]
    (online,) = ask(hub, tmp_path, train)
    hub.requests.clear()
    test = f"texts('hf:{NAME}:data/test-*')"
    offline, other = ask(hub, tmp_path, f"{train}; {test}", HF_HUB_OFFLINE="1")
    assert offline == online
    assert "data/test-00000-of-00001.parquet cannot be fetched, for the Hub cannot be reached" in other["error"]
    assert hub.requests == []
    hub.close()
    unreachable = start(hub, tmp_path, [sys.executable, "-c", HEAD + train])
    assert json.loads(unreachable.stdout) == online
    assert f"the Hub cannot be reached: data set {NAME} is read from the cache, at commit" in unreachable.stderr


def test_part_of_a_split_in_the_cache_is_not_taken_for_the_split(hub, tmp_path):
    """As another program, or an interrupted download, leaves it."""
    fetch = "import huggingface_hub as h; h.hf_hub_download('{}', '{}', repo_type='dataset'); "
    first = fetch.format(NAME, "data/train-00000-of-00002.parquet")
    ask(hub, tmp_path, first)
    (found,) = ask(hub, tmp_path, f"texts('hf:{NAME}:data/train-*')", HF_HUB_OFFLINE="1")
    assert "what the commit holds is not known, so the cache may lack some of it" in found["error"]
    named, bare = ask(
        hub, tmp_path, f"texts('hf:{NAME}:data/test-00000-of-00001.parquet'); texts('hf:{NAME}')", HF_HUB_OFFLINE="1"
    )
    assert "has no file 'data/test-00000-of-00001.parquet'; the Hub cannot be reached, and the cache" in named["error"]
    assert "what the commit holds is not known" in bare["error"]
    (found,) = ask(hub, tmp_path, f"texts('hf:{NAME}:data/train-*')")
    assert found["records"] == TRAIN


def test_a_broken_connection_costs_nothing_and_damage_is_seen(hub, tmp_path):
    hub.cut("data/train-00000-of-00002.parquet", after=100)
    hub.spoil("data/train-00001-of-00002.parquet")
    code = f"texts('hf:{NAME}:data/train-*'); texts('hf:{NAME}:data/train-*')"
    damaged, mended = ask(hub, tmp_path, code)
    assert (
        "train-00001-of-00002.parquet arrived damaged, and was removed; run the same command again" in damaged["error"]
    )
    assert mended["records"] == TRAIN


MODEL = """
from w2s_jax import models

def model(name):
    def read():
        found = models.load(name)
        origin = models.origin(name)
        embedding = found.params["embed"]["embedding"] if "embed" in found.params else next(iter(found.params.values()))
        return [origin.name, origin.version, sorted(origin.files), models.fingerprint(name), models.size(name)]
    told(read)
"""


def test_models_are_the_files_that_their_index_names(tmp_path):
    with FakeHub() as hub:
        layouts = {
            "openai-community/gpt2": hub_models.gpt2(tmp_path / "a"),
            "meta-llama/Meta-Llama-3-8B": hub_models.llama3(tmp_path / "a"),
            "mistralai/Mistral-7B": hub_models.mistral(tmp_path / "a"),
            "EleutherAI/pythia-step": hub_models.pythia_step(tmp_path / "b"),
            "somebody/slow": {
                "config.json": b"{}",
                "model.safetensors": b"",
                "spm.model": b"",
                "spiece.model": b"",
                "sentencepiece.bpe.model": b"",
            },
        }
        for name, files in layouts.items():
            hub.add("models", name, files)
        hub.gate("meta-llama/Meta-Llama-3-8B")
        names = list(layouts)[:4]
        calls = "".join(f"model({name!r})\n" for name in names)
        gpt2, gated, mistral, pickled = ask(hub, tmp_path / "home", MODEL + calls)
        assert gpt2[:3] == [
            "Hub openai-community/gpt2",
            hub.commit("models", names[0]),
            ["config.json", "model.safetensors", "tokenizer.json"],
        ]
        assert "is gated" in gated["error"]
        assert "HF_TOKEN" in gated["error"]
        shards = [f"model-0000{k}-of-00002.safetensors" for k in (1, 2)]
        assert mistral[2] == ["config.json", *shards, "tokenizer.json"]
        assert mistral[4] == gpt2[4]
        assert "has only pytorch_model.bin: reading a pickle can run anything, so it is refused" in pickled["error"]
        loaded = [path for path in hub.downloads if path.endswith((".bin", ".h5", ".pth", "consolidated.safetensors"))]
        assert loaded == []
        (llama,) = ask(hub, tmp_path / "home", MODEL + f"model({names[1]!r})", token=GRANTED)
        assert llama[2] == [
            "config.json",
            *(f"model-0000{k}-of-00004.safetensors" for k in range(1, 5)),
            "tokenizer.json",
        ]
        (parts,) = ask(
            hub,
            tmp_path / "home",
            "from w2s_jax.models import hub_files\n"
            "told(lambda: [p.name for p in hub_files.tokenizer_files(hub_files.fetch('somebody/slow', 'main'))])",
        )
        assert parts == ["spiece.model", "spm.model", "sentencepiece.bpe.model"], "each decides how text is read"


# One task of each repository in which several share a snapshot, so that a run reads more than one of them.
CELL = """
import dataclasses
from w2s_jax import load_experiment
whole = load_experiment("{config}")
small = dict(pool=None, supervisor=4, transfer=4, validation=4, test=4, shrink=True)
learners = lambda named: {{
    name: dataclasses.replace(
        each, max_tokens=64, epochs=1, dtype="float32", loop=dataclasses.replace(each.loop, select="loss")
    )
    for name, each in list(named.items())[:2]
}}
experiment = dataclasses.replace(
    whole,
    tasks=tuple(dataclasses.replace(task, **small) for task in whole.tasks{some}),
    supervisors=learners(whole.supervisors),
    students=learners(whole.students),
    methods=dict(list(whole.methods.items())[:2]),
    seeds=(0,),
    keep_params=False,
)
"""


@pytest.fixture
def paper(tmp_path):
    """Everything that both papers' configs name, as the Hub has it."""
    with FakeHub() as hub:
        hub_datasets.serve(hub)
        names = [f"openai-community/{name}" for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")]
        names += ["Qwen/Qwen1.5-0.5B", "meta-llama/Meta-Llama-3-8B"]
        for name, files in hub_models.as_named(names, tmp_path / "models").items():
            hub.add("models", name, files)
        yield hub


@pytest.mark.parametrize("config", ["burns2023/nlp", "eleuther2024/blog"])
def test_a_papers_config_plans_all_of_its_tasks_from_the_hub(paper, tmp_path, config):
    (tmp_path / "cell.py").write_text(CELL.format(config=config, some=""))
    process = w2s(paper, tmp_path, "run", "cell.py", "--dry-run")
    assert process.returncode == 0, process.stderr
    planned = set(re.findall(r" on (\w+), seed 0", process.stdout))
    assert planned == {task.name for task in w2s_jax.load_experiment(config).tasks}


@pytest.mark.slow
@pytest.mark.parametrize("config", ["burns2023/nlp", "eleuther2024/blog"])
def test_a_papers_cell_runs_from_the_hub(paper, tmp_path, config):
    (tmp_path / "cell.py").write_text(CELL.format(config=config, some="[5:7]"))
    process = w2s(paper, tmp_path, "run", "cell.py")
    assert process.returncode == 0, process.stderr
    (path,) = tmp_path.glob("runs/*/results.json")
    results = json.loads(path.read_text())
    read = results["models"] | {task["name"]: task["reading"]["origin"] for task in results["tasks"]}
    assert len(read) >= 4
    for origin in read.values():
        assert len(origin["version"]) == 40
        assert origin["files"]


LOCKED = """
from w2s_jax import Experiment, Learner, Method, TaskConfig
experiment = Experiment(
    name="locked",
    tasks=(TaskConfig("hf:somebody/towns:data/*.parquet", supervisor=2, transfer=2, validation=2, test=2),),
    supervisors={"gpt2": Learner("openai-community/gpt2", parameters="probe", max_tokens=16)},
    students={"gpt2": Learner("openai-community/gpt2", parameters="probe", max_tokens=16)},
    methods={"naive": Method()},
    seeds=(0,),
)
"""


def test_a_pinned_commit_moves_no_branch_and_altered_files_are_refused(hub, tmp_path):
    before = hub.commit("datasets", NAME)
    after = hub.add("datasets", NAME, FILES | {"data/test-00000-of-00001.parquet": table(["Linz"])})
    test = f"hf:{NAME}:data/test-*"
    code = f"hub.pin([('dataset', '{NAME}', 'main', '{before}')]); texts('{test}'); hub.pin([]); texts('{test}')"
    pinned, free = ask(hub, tmp_path, code)
    assert (pinned["origin"][1], pinned["records"]) == (before, [record("Graz", 0)])
    assert (free["origin"][1], free["records"]) == (after, [record("Linz", 0)]), "a pin ends with its lock"
    (offline,) = ask(hub, tmp_path, f"texts('{test}')", HF_HUB_OFFLINE="1")
    assert offline == free, "the branch is where it was"
    (blob,) = (path for path in tmp_path.glob("hub/*/blobs/*") if path.read_bytes() == table(["Linz"]))
    blob.write_bytes(table(["Paris"]))
    (altered,) = ask(hub, tmp_path, f"texts('{test}')")
    assert "was truncated or edited; delete it and run again" in altered["error"]


def test_annotations_of_one_text_are_not_torn_apart_by_a_pool(hub, tmp_path):
    votes = [f"text {k // 3}" for k in range(3000)]
    hub.add("datasets", "somebody/votes", {"a.parquet": table(votes, 3)})  # of three votes, one is for class 1
    code = """
from w2s_jax.data import task_data
task_data.LEAST_RECORDS, task_data.RECORDS_PER_EXAMPLE = 100, 1
found = task_data.TaskData(TaskConfig("hf:somebody/votes", pool=50, balance=False))
print(json.dumps([{example.label for example in found.examples} == {0}, found.reading.records]))
"""
    assert ask(hub, tmp_path, code) == [[True, 3000]]


@pytest.mark.slow
def test_a_locked_config_reads_what_it_read_and_refuses_what_changed(tmp_path):
    towns = {"data/train-00000-of-00001.parquet": table([f"town {k}" for k in range(20)])}
    with FakeHub() as hub:
        before = hub.add("datasets", NAME, towns)
        weights = hub.add("models", "openai-community/gpt2", hub_models.gpt2(tmp_path / "gpt2"))
        home = tmp_path / "home"
        home.mkdir()
        (home / "config.py").write_text(LOCKED)
        done = w2s(hub, home, "lock", "config.py")
        assert done.returncode == 0, done.stderr
        assert "wrote locked.lock.json; run with --lock locked.lock.json" in done.stdout
        lock = json.loads((home / "locked.lock.json").read_text())
        assert lock["hub"] == [
            ["dataset", NAME, "main", before],
            ["model", "openai-community/gpt2", "main", weights],
        ]
        hub.add("datasets", NAME, {"data/train-00000-of-00001.parquet": table([f"new {k}" for k in range(20)])})
        assert w2s(hub, home, "run", "config.py", "--lock", "locked.lock.json").returncode == 0
        results = json.loads((home / "runs" / "locked" / "results.json").read_text())
        assert results["tasks"][0]["reading"]["origin"]["version"] == before
        assert results["models"]["openai-community/gpt2"]["version"] == weights
        manifests = [
            json.loads(path.read_text())["made"]["origins"] for path in home.glob("runs/stages/*/manifest.json")
        ]
        assert manifests
        for made in manifests:
            assert [origin["version"] for origin in made["tasks"].values()] == [before]
        lock["tasks"][f"hf:{NAME}:data/*.parquet"]["files"]["data/train-00000-of-00001.parquet"] = "0" * 64
        (home / "other.json").write_text(json.dumps(lock))
        refused = w2s(hub, home, "run", "config.py", "--lock", "other.json", "--out", "elsewhere")
        assert refused.returncode == 2
        assert "has SHA-256" in refused.stderr
        assert "the lock has 000000000000; restore it, or write the lock again" in refused.stderr
        assert not list(home.glob("elsewhere/stages/*/manifest.json"))
