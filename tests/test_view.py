"""The page over runs: its parts are what results and stages hold, and a browser shows them."""

import dataclasses
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from tests import synthetic
from tests import tiny as make
from tests.browser import needs_browser, show
from tests.test_decomposed import write_tasks
from w2s_jax import api, cli, view
from w2s_jax.config import Method
from w2s_jax.data.splits import Split
from w2s_jax.evaluation import storage
from w2s_jax.pipeline import graph
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Advised, Decomposed, Recursive
from w2s_jax.view import content
from w2s_jax.view.content import SCALE, Content
from w2s_jax.view.progress import QUIET_SECONDS

HOSTILE = '</script><img src=x onerror="document.title=1"><script>document.title="owned"</script>'


@pytest.fixture(scope="module")
def run(finished: make.Finished) -> Path:
    """A finished run's folder."""
    plan = finished.experiment
    folder = Path(plan.out) / plan.name
    if not (folder / storage.FILE).exists():
        storage.save(finished.results, folder)
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "out"
    view.bundle([run], out)
    return out


def parts_of(folder: Path) -> dict[str, Any]:
    """Every part of a bundle, as a browser's JSON.parse reads it."""
    found = {}
    for path in (folder / "data").iterdir():
        said = re.fullmatch(r'w2s\.part\(("[^"]+"), JSON\.parse\((".*")\)\);\n', path.read_text(), re.DOTALL)
        assert said is not None
        found[json.loads(said[1])] = json.loads(json.loads(said[2]))
    return found


def at(bundle: Path, tab: str, **values: object) -> str:
    return f"{(bundle / 'index.html').as_uri()}#{tab}?{urlencode(values)}"


# ---- Parts


def test_a_bundle_holds_results_examples_and_what_each_model_said(bundle: Path, run: Path) -> None:
    parts = parts_of(bundle)
    results = api.load_results(run)
    assert parts["results-0"] == json.loads((run / storage.FILE).read_text())
    (about,) = parts["runs"]
    assert about["why_no_examples"] is None
    frame = results.predictions(run.parent)
    rows = frame.to_pylist() if hasattr(frame, "to_pylist") else frame.to_dict("records")
    (found,) = about["sets"]
    texts, answers = parts[f"texts-0-{found['texts']}"], parts["answers-0-0"]
    assert found["methods"] == ["naive", "confidence", "probed"]
    for method in found["methods"]:
        mine = [row for row in rows if row["method"] == method]
        assert [row["id"] for row in mine] == texts["ids"]
        assert [[row["text"]] for row in mine] == texts["texts"]
        assert [row["truth"] for row in mine] == texts["truth"]
        models = {
            "supervisor": answers["supervisor"],
            "ceiling": answers["ceiling"],
            "student": answers["students"][method],
        }
        for role, said in models.items():
            ones = np.array([row[f"p_{role}"] for row in mine])
            right = np.where(np.array(texts["truth"]) == 1, ones, 1 - ones)
            assert said["says"] == [row[f"predicted_{role}"] for row in mine]
            np.testing.assert_allclose(np.array(said["right"]) / SCALE, right, atol=1e-4)
            np.testing.assert_allclose(np.array(said["margin"]) / SCALE, 2 * right - 1, atol=2e-4)
            np.testing.assert_allclose(np.array(said["sure"]) / SCALE, np.maximum(ones, 1 - ones), atol=1e-4)


def test_margins_of_several_classes() -> None:
    split = Split(("a", "b"), ("one", "two"), np.array([2, 0]), ("a", "b"))
    said = content._said(np.array([[0.5, 0.2, 0.3], [0.6, 0.1, 0.3]], np.float32), split)
    assert said == {"says": [0, 0], "sure": [5000, 6000], "right": [3000, 6000], "margin": [-2000, 3000]}


def test_every_two_methods_are_compared(run: Path) -> None:
    results = api.load_results(run)
    compared = [(each.method, each.baseline) for each in (*results.comparisons, *results.pairs)]
    assert compared == [("confidence", "naive"), ("probed", "naive"), ("probed", "confidence")]


@pytest.mark.slow
def test_a_debate_and_the_parts_of_a_text_are_beside_the_example(tmp_path: Path) -> None:
    plan = make.probes(tmp_path, seeds=(0,), methods={"naive": Method()})
    judge = plan.supervisors["weak"]
    advised = Advised(judge, plan.students["strong"], tokens=2, temperature=1.0)
    recursive = Recursive(advised, plan.students["strong"], candidates=2)
    parts = (write_tasks(tmp_path / "parts"),)
    for name, changes in {
        "debate": {"supervisors": {"judge": advised, "weak": judge, "recursive": recursive}},
        "parts": {"supervisors": {"judge": Decomposed(judge)}, "tasks": parts},
    }.items():
        changed = dataclasses.replace(plan, name=name, students={"strong": plan.students["strong"]}, **changes)
        results = make.run(changed)
        folder = storage.save(results, Path(changed.out) / name).parent
        found = Content([folder])
        first = found.part("answers-0-0")["beside"]
        assert len(first) == len(found.part("texts-0-0")["ids"])
        if name == "debate":
            assert {title for title, _ in first["0"]} == {"argues for No", "argues for Yes"}
            assert found.part("answers-0-1")["beside"] == {}
            chosen = found.part("answers-0-2")["beside"]
            assert {title for title, _ in chosen["0"]} == {"argues for No", "argues for Yes"}
            assert len(chosen) == len(first)
        else:
            text = found.part("texts-0-0")["texts"][0][0]
            assert all(
                re.match(r"part, true with [01]\.\d\d$", title) and f'"{said}"' in text for title, said in first["0"]
            )


def test_what_cannot_be_shown_is_said(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = storage.save(api.load_results(run), tmp_path / "moved" / "tiny").parent
    found = Content([alone]).part("runs")[0]
    assert "are not at" in found["why_no_examples"]
    with pytest.raises(UserError, match=r"has no results\.json"):
        view.bundle([tmp_path], tmp_path / "out")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty and no earlier bundle"):
        view.bundle([run], tmp_path)
    assert cli.main(["view", str(run), "--bundle", str(tmp_path / "out")]) == cli.OK
    assert cli.main(["view", str(run), "--bundle", str(tmp_path / "out")]) == cli.OK, "an earlier bundle is replaced"
    assert cli.main(["view", str(run), "--bundle", str(tmp_path / "mine.txt")]) == cli.BAD_INPUT
    assert cli.main(["view", str(run), "--port", "99999"]) == cli.BAD_INPUT
    assert f"wrote {tmp_path / 'out' / 'index.html'}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["texts-0-9", "answers-0-9", "results-1", "results-0-0", "texts-0", "../runs", ""])
def test_there_is_no_part_of_another_name(run: Path, name: str) -> None:
    with pytest.raises(KeyError):
        Content([run]).part(name)


# ---- Stages


def test_stages_are_shown_as_far_as_they_are(tmp_path: Path) -> None:
    plan = make.experiment(tmp_path)
    folder, planned = Path(plan.out) / plan.name, api.Planned([plan])
    planned.write_graphs()
    found = Content([folder])
    stages = found.part("stages-0")["stages"]
    assert [each["name"] for each in stages] == [stage.name for stage in planned.stages]
    assert {each["state"] for each in stages} == {"to do"}
    assert found.names() == ["runs", "stages-0"]
    assert found.part("runs")[0]["why_no_examples"] == "The run has no results yet."
    first, second, third, _ = planned.stages
    now = time.time()
    lines = [(first, 1, now - 20), (first, 6, now - 10), (second, 3, now - 2 * QUIET_SECONDS)]
    (folder / "log.jsonl").write_text(
        "".join(
            json.dumps({"event": "log", "time": when, "stage": stage.name, "step": step, "loss": 0.5, "steps": 11})
            + "\n"
            for stage, step, when in lines
        )
        + '{"event": "log", "sta'
    )
    store = planned.store
    store.failed(third.name).parent.mkdir(parents=True)
    store.failed(third.name).write_text("ValueError: <b>no</b>\n")
    with store.claim(first.name):
        running, stopped, failed, todo = found.part("stages-0")["stages"]
    assert (running["state"], running["step"], running["steps"], running["loss"]) == ("running", 6, 11, 0.5)
    assert running["left"] == pytest.approx(10.0)
    assert (stopped["state"], stopped["step"]) == ("stopped", 3)
    assert "left" not in stopped
    assert (failed["state"], failed["error"]) == ("failed", "ValueError: <b>no</b>\n")
    assert todo["state"] == "to do"
    assert found.part("stages-0")["stages"][0]["state"] == "stopped", "its process has let go of it"
    assert set(todo["needs"]) <= {stage.name for stage in planned.stages}


def test_a_finished_runs_stages_are_done_and_took_time(bundle: Path, run: Path) -> None:
    stages = parts_of(bundle)["stages-0"]["stages"]
    assert isinstance(stages, list)
    assert {each["state"] for each in stages} == {"done"}
    assert all(each["seconds"] >= 0 for each in stages)
    written = json.loads((run / graph.FILE).read_text()) if (run / graph.FILE).exists() else stages
    assert len(written) == len(stages)


# ---- The server


def test_the_server_gives_the_same_page_and_nothing_else(run: Path, bundle: Path) -> None:
    pytest.importorskip("starlette")
    testing = pytest.importorskip("starlette.testclient")
    from w2s_jax.view import server

    client = testing.TestClient(server.application([run]), base_url="http://localhost")
    assert client.get("/").text.replace('data-live="yes"', 'data-live="no"') == (bundle / "index.html").read_text()
    for name in ("view.js", "charts.js", "view.css", "data/runs.js", "data/texts-0-0.js", "data/answers-0-0.js"):
        assert client.get(f"/{name}").text == (bundle / name).read_text(), name
    for path in (bundle / "figures").iterdir():
        found = client.get(f"/figures/{path.name}").content
        assert found == path.read_bytes() if path.suffix == ".csv" else found[:4] == path.read_bytes()[:4]
    for name in ("data/none.js", "figures/none.svg", "figures/accuracy.exe", "view.py", "..%2f..%2fsetup.py"):
        assert client.get(f"/{name}").status_code == 404, name
    assert client.post("/").status_code == 405
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/data/runs.js").headers["x-content-type-options"] == "nosniff"


def copied(run: Path, folder: Path) -> Path:
    """A copy of a run and its stages, to be damaged."""
    shutil.copytree(run, folder / "tiny")
    shutil.copytree(run.parent / "stages", folder / "stages")
    return folder / "tiny"


def test_a_page_is_not_given_the_parts_of_later_results(run: Path, tmp_path: Path) -> None:
    testing = pytest.importorskip("starlette.testclient")
    from w2s_jax.view import server

    mine = copied(run, tmp_path)
    client = testing.TestClient(server.application([mine]), base_url="http://localhost")
    (version,) = re.findall(r'data-version="(\w+)"', client.get("/").text)
    first = client.get("/data/answers-0-0.js", params={"v": version}).text
    assert "problem" not in first
    text = (mine / storage.FILE).read_text()
    (mine / storage.FILE).write_text(text[: len(text) // 2])
    assert client.get("/").status_code == 500
    assert str(mine) in client.get("/").text
    results = json.loads(text)
    kept = [cell for cell in results["cells"] if cell["method"] != "naive"]
    (mine / storage.FILE).write_text(json.dumps({**results, "cells": kept}))
    assert "The results have changed" in client.get("/data/answers-0-0.js", params={"v": version}).text
    assert client.get("/data/stages-0.js", params={"v": version}).status_code == 200
    (now,) = re.findall(r'data-version="(\w+)"', client.get("/").text)
    assert now != version
    assert "problem" not in client.get("/data/answers-0-0.js", params={"v": now}).text


def test_damage_spoils_its_own_part_and_is_not_remembered(run: Path, tmp_path: Path) -> None:
    testing = pytest.importorskip("starlette.testclient")
    from w2s_jax.view import server

    mine = copied(run, tmp_path)
    cell = api.load_results(mine).cells[0]
    manifest = tmp_path / "stages" / cell.stages["supervisor"] / "manifest.json"
    whole = manifest.read_text()
    client = testing.TestClient(server.application([mine]), base_url="http://localhost")
    for damaged in ("{}", "[]", whole[:50]):
        manifest.write_text(damaged)
        assert "problem" in client.get("/data/answers-0-0.js").text, damaged
        assert "problem" not in client.get("/data/texts-0-0.js").text
    notes: list[str] = []
    assert view.bundle([mine], tmp_path / "out", notes.append)
    assert notes
    assert all(note.startswith("not shown: ") for note in notes)
    manifest.write_text(whole)
    assert "problem" not in client.get("/data/answers-0-0.js").text
    lines = ("3", '{"event": "log"}', '{"event": "log", "stage": "s", "step": 1, "time": 1, "loss": NaN}')
    (mine / "log.jsonl").write_text("\n".join(lines))
    assert "problem" not in client.get("/data/stages-0.js").text


def test_a_bundle_keeps_nothing_of_an_earlier_one(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    view.bundle([run, copied(run, tmp_path)], out)
    (tmp_path / "alone").mkdir()
    alone = storage.save(api.load_results(run), tmp_path / "alone" / "tiny").parent
    written = view.bundle([alone], out)
    assert {path for path in out.rglob("*") if path.is_file()} == set(written)
    assert not list((out / "data").glob("texts*"))


# ---- In a browser


@needs_browser
def test_each_tab_opens_from_a_disk(bundle: Path, run: Path) -> None:
    results = api.load_results(run)
    grid = show(at(bundle, "grid"))
    assert len(grid.of("heat")) == 1
    pgr = results.summaries[0].pgr["accuracy"]
    assert (pgr.reason or f"{pgr.value:.2f}") in grid.text
    cell = show(at(bundle, "cell", method="confidence"))
    assert f"{results.summaries[1].scores['accuracy']['student'].value:.3f}" in cell.text
    assert "probed − confidence" in cell.text
    assert len(cell.of("svg")) >= 2
    assert f"jax {results.made['packages']['jax']}" in cell.text
    stages = show(at(bundle, "stages"))
    count = len(parts_of(bundle)["stages-0"]["stages"])
    assert f"{count} of {count} stages done" in stages.text
    report = show(at(bundle, "report"))
    assert "Each task and pair of models" in report.text


FILTERS = {
    "all": lambda weak, mine, strong, others, truth: truth == truth,
    "rose": lambda weak, mine, strong, others, truth: (weak != truth) & (mine == truth),
    "copied": lambda weak, mine, strong, others, truth: (weak != truth) & (mine == weak),
    "lost": lambda weak, mine, strong, others, truth: (weak == truth) & (mine != truth),
    "disagree": lambda weak, mine, strong, others, truth: np.ptp(others, axis=0) > 0,
    "ceiling": lambda weak, mine, strong, others, truth: strong != truth,
}


@needs_browser
def test_filters_show_the_examples_they_name(bundle: Path) -> None:
    parts = parts_of(bundle)
    texts, answers = parts["texts-0-0"], parts["answers-0-0"]
    truth = np.array(texts["truth"])
    weak, strong = (np.array(answers[name]["says"]) for name in ("supervisor", "ceiling"))
    others = np.array([each["says"] for each in answers["students"].values()])
    mine = np.array(answers["students"]["confidence"]["says"])
    rose = show(at(bundle, "examples", method="confidence", filter="rose"))
    for name, passes in FILTERS.items():
        expected = int(passes(weak, mine, strong, others, truth).sum())
        title = {"all": "all", "rose": "supervisor wrong, student right", "copied": "student copied the error"}
        title |= {"lost": "supervisor right, student wrong", "disagree": "methods disagree", "ceiling": "ceiling wrong"}
        assert f"{title[name]} ({expected})" in rose.text
    shown = [each["aria-label"] for each in rose.of("example")]
    rows = np.flatnonzero(FILTERS["rose"](weak, mine, strong, others, truth))
    assert shown == [f"example {texts['ids'][row]}" for row in rows]
    word = texts["texts"][3][0].split()[0]
    found = show(at(bundle, "examples", q=word.upper()))
    assert len(found.of("example")) == sum(word in each[0] for each in texts["texts"])
    chosen = show(at(bundle, "examples", id=texts["ids"][7]))
    assert chosen.of("chosen")[0]["aria-label"] == f"example {texts['ids'][7]}"
    margins = np.array(answers["students"]["naive"]["margin"])
    first = show(at(bundle, "examples", sort="margin")).of("example")[0]["aria-label"]
    assert first == f"example {texts['ids'][int(np.argmin(margins))]}"


@needs_browser
@pytest.mark.slow
def test_texts_and_names_are_never_markup(tmp_path: Path) -> None:
    plan = make.experiment(tmp_path)
    path = Path(plan.tasks[0].name)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps({**row, "text": f"{row['text']} {HOSTILE}"}) + "\n" for row in rows))
    probes = make.probes(tmp_path, name="hostile", methods={HOSTILE: Method()}, seeds=(0,))
    probes = dataclasses.replace(probes, students={"strong": probes.students["strong"]})
    folder = storage.save(make.run(probes), Path(probes.out) / "hostile").parent
    out = tmp_path / "out"
    view.bundle([folder], out)
    for tab in ("report", "grid", "cell", "examples", "stages"):
        shown = show(at(out, tab))
        assert "hostile" in re.findall(r"<title>(.*?)</title>", shown.source)[0], tab
        assert not [each for each in shown.of("img") if each.get("onerror")], tab
    assert HOSTILE in show(at(out, "examples")).text


@needs_browser
def test_a_runs_page_is_served(run: Path) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    import threading

    from w2s_jax.view import server

    config = uvicorn.Config(server.application([run]), host="127.0.0.1", port=0, log_level="error")
    socket = config.bind_socket()
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [socket]}, daemon=True)
    thread.start()
    try:
        shown = show(f"http://127.0.0.1:{socket.getsockname()[1]}/#stages")
        assert re.search(r"(\d+) of \1 stages done", shown.text)
    finally:
        running.should_exit = True
        thread.join(10)


class Large(Content):
    """Fifty thousand examples, of a run of whose stages there are none."""

    COUNT = 50_000

    def part(self, name: str) -> object:
        rng = np.random.default_rng(0)
        if name.startswith("texts"):
            words = [f"word{number}" for number in range(500)]
            texts = [[" ".join(rng.choice(words, 25))] for _ in range(self.COUNT)]
            ids = [f"{number:06d}" for number in range(self.COUNT)]
            return {
                "ids": ids,
                "texts": texts,
                "truth": rng.integers(0, 2, self.COUNT).tolist(),
                "groups": None,
                "classes": ["no", "yes"],
            }
        if name.startswith("answers"):
            return {
                "supervisor": self._said(rng),
                "ceiling": self._said(rng),
                "students": {m: self._said(rng) for m in ("naive", "confidence")},
                "beside": {},
            }
        found = super().part(name)
        if name == "runs":
            found[0]["why_no_examples"] = None
        return found

    def names(self) -> list[str]:
        return [*super().names(), "texts-0-0", "answers-0-0"]

    def _said(self, rng: np.random.Generator) -> dict[str, list[int]]:
        right = rng.random(self.COUNT)
        whole = {"sure": np.maximum(right, 1 - right), "right": right, "margin": 2 * right - 1}
        return {"says": rng.integers(0, 2, self.COUNT).tolist()} | {
            key: np.round(value * SCALE).astype(int).tolist() for key, value in whole.items()
        }


@needs_browser
@pytest.mark.slow
def test_fifty_thousand_examples_can_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.save(synthetic.three_tasks(1), tmp_path / "run")
    from w2s_jax.view import writing

    monkeypatch.setattr(writing, "Content", Large)
    view.bundle([tmp_path / "run"], tmp_path / "out")
    first = show(at(tmp_path / "out", "examples"), milliseconds=20_000)
    assert len(first.of("example")) == 50
    assert "50,000 of 50,000 test examples" in first.text
