"""A stage's key and its bits change together, or neither does: one input after another is changed under every kind."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests import golden
from tests import tiny as make
from w2s_jax import CCS, Errors, Experiment, Given, Method, api
from w2s_jax.data import task_data
from w2s_jax.stages.base import Fit, Stage
from w2s_jax.stages.supervise import Inputs, Supervisor

SPLITS = ("supervisor", "transfer", "validation", "test")


def places(plan: Experiment) -> dict[tuple, Stage]:
    """Every stage by where it stands: the cell and role that it answers, and the way along `needs` to it."""

    def walk(place: tuple, stage: Stage) -> Iterator[tuple[tuple, Stage]]:
        yield place, stage
        for index, need in enumerate(stage.needs):
            yield from walk((*place, index), need)

    cells = api.Planned([plan]).cells[0]
    return {
        place: stage
        for cell in cells
        for role, one in cell.stages.items()
        for place, stage in walk((cell.supervisor, cell.student, cell.method, cell.seed, role), one)
    }


def run(plan: Experiment) -> dict[tuple, tuple[str, bytes]]:
    """The key and the bits of every stage that could be made: a label transform may refuse some labels."""
    make.attempt(plan)
    store = api.open_store(plan)

    def bits(stage: Stage) -> bytes:
        found = store.read(stage.name)
        predictions, history = found.predictions, found.history
        arrays = (predictions.probs, predictions.logits, history.probs)
        said = json.dumps([list(predictions.ids), list(predictions.splits), history.losses, history.best])
        return b"".join([said.encode(), *(np.ascontiguousarray(array).tobytes() for array in arrays)])

    known: dict[str, bytes] = {}
    return {
        place: (stage.key, known.setdefault(stage.name, bits(stage) if stage.name not in known else b""))
        for place, stage in places(plan).items()
        if store.done(stage.name)
    }


def swapped_labels(split: str) -> Callable[[Experiment, list[dict]], None]:
    """In the file, the labels of two examples of a split that differ."""

    def change(plan: Experiment, rows: list[dict]) -> None:
        drawn = getattr(next(iter(places(plan).values())).splits, split)
        by_id = {row["id"]: row for row in rows}
        first = by_id[drawn.ids[0]]
        second = next(by_id[name] for name in drawn.ids if by_id[name]["label"] != first["label"])
        first["label"], second["label"] = second["label"], first["label"]

    return change


def other_text(split: str) -> Callable[[Experiment, list[dict]], None]:
    """In the file, a word more in one text of a split."""

    def change(plan: Experiment, rows: list[dict]) -> None:
        drawn = getattr(next(iter(places(plan).values())).splits, split)
        next(row for row in rows if row["id"] == drawn.ids[0])["text"] += " very not"

    return change


CHANGES = {
    **{f"labels of {split}": swapped_labels(split) for split in SPLITS},
    **{f"a text of {split}": other_text(split) for split in SPLITS},
}


def changed(plan: Experiment, out: Path, change: Callable[[Experiment, list[dict]], None]) -> Experiment:
    """The experiment again, in another folder, after a change of its file."""
    path = Path(plan.tasks[0].name)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(plan, rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return dataclasses.replace(plan, out=str(out))


def check(plan: Experiment, tmp_path: Path, names: list[str]) -> dict[str, dict[tuple, tuple[bool, bool]]]:
    """For each change, whether key and bits of each stage changed. Bits never do without the key."""
    before, whole = run(plan), Path(plan.tasks[0].name).read_text()
    found = {}
    for number, name in enumerate(names):
        after = run(changed(plan, tmp_path / f"changed {number}", CHANGES[name]))
        Path(plan.tasks[0].name).write_text(whole)
        found[name] = {
            place: (before[place][0] != after[place][0], before[place][1] != after[place][1])
            for place in before.keys() & after.keys()
        }
        assert len(found[name]) > 0.8 * len(before)
        stale = [place for place, (key, bits) in found[name].items() if bits and not key]
        assert not stale, f"{name}: other bits under one key: {stale[0]}"
    return found


def small(folder: Path, **fields: object) -> Experiment:
    """Probes of tiny models, one seed, whose splits do not depend on labels."""
    plan = make.probes(folder, **{"seeds": (0,), **fields})
    return dataclasses.replace(plan, tasks=(dataclasses.replace(plan.tasks[0], balance=False),))


@pytest.mark.slow
def test_key_and_bits_change_together(tmp_path):
    plan = small(tmp_path / "plan", methods={"naive": Method(), "hint": Method(hint=True)})
    weak = next(iter(plan.supervisors.values()))
    answers = tmp_path / "answers.jsonl"
    rows = [json.loads(line) for line in Path(plan.tasks[0].name).read_text().splitlines()]
    answers.write_text("".join(json.dumps({"id": row["id"], "label": row["label"]}) + "\n" for row in rows))
    supervisors = {"real": weak, "errors": Errors(weak), "unsure": Errors(weak, "unsure"), "given": Given(str(answers))}
    plan = dataclasses.replace(plan, supervisors=supervisors, students={"strong": plan.students["strong"]})
    found = check(plan, tmp_path, ["labels of test", "labels of transfer", "labels of supervisor", "a text of test"])
    of = {
        name: {place[0]: changes for place, changes in each.items() if place[2:] == ("naive", 0, "supervisor")}
        for name, each in found.items()
    }
    nothing, both = (False, False), (True, True)
    # Who simulates errors is given the truth of what it labels; nobody else is.
    assert of["labels of test"] == {"real": nothing, "errors": both, "unsure": both, "given": nothing}
    assert of["labels of transfer"] == {"real": nothing, "errors": both, "unsure": both, "given": nothing}
    assert of["labels of supervisor"]["real"] == both
    students = {place: each for place, each in found["labels of test"].items() if place[4:] == ("student",)}
    assert {place[0] for place, each in students.items() if each == nothing} == {"real", "given"}
    ceiling = next(place for place in found["labels of transfer"] if place[4:] == ("ceiling",))
    assert found["labels of transfer"][ceiling] == both
    assert found["labels of test"][ceiling] == nothing


def test_a_models_weights_and_the_answers_from_elsewhere_count(tmp_path):
    plan = small(tmp_path / "plan", methods={"naive": Method()})
    before = run(plan)
    folder = Path(next(iter(plan.students.values())).model)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][::-1].copy()
    save_file(tensors, folder / "model.safetensors")
    after = run(dataclasses.replace(plan, out=str(tmp_path / "after")))
    for place in before:
        if place[4:] == ("ceiling",):
            assert before[place][0] != after[place][0]
            assert before[place][1] != after[place][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["finetuning", "methods", "supervisors", "several", "learners"])
def test_key_and_bits_change_together_for_every_kind(name, tmp_path):
    """Every supervisor, way to learn, label transform and learner of the golden experiments, one seed."""
    plan = next(each for each in golden.experiments(tmp_path / "plan") if each.name == name)
    plan = dataclasses.replace(plan, seeds=(0,), tasks=(dataclasses.replace(plan.tasks[0], balance=False),))
    found = check(plan, tmp_path, list(CHANGES))
    for split in ("transfer", "test"):
        students = [each for place, each in found[f"labels of {split}"].items() if place[4:] == ("student",)]
        assert any(each == (False, False) for each in students), "a student that sees no truth has its labels again"


class Peeks(Supervisor):
    """Asks the task for what it was not given."""

    task = None

    def needs(self, task, seed):
        Peeks.task = task
        return ()

    def identity(self, task):
        return {"peeks": True}

    def label(self, inputs: Inputs) -> Fit:
        return {name: np.eye(2)[split.labels] for name, split in vars(Peeks.task.splits(inputs.seed)).items()}


def test_a_stage_that_asks_for_more_than_its_hash_covers_fails(tmp_path):
    plan = small(tmp_path / "plan", methods={"naive": Method()}, supervisors={"peeks": Peeks()})
    failures = make.attempt(plan).failures
    assert any("asks for examples that its hash does not cover" in failure.reason for failure in failures)
    with task_data.closed(), pytest.raises(AssertionError, match="its hash does not cover"):
        assert next(iter(places(plan).values())).splits


@pytest.mark.slow
def test_ccs_and_its_texts_are_hashed(tmp_path):
    plan = small(tmp_path / "plan", methods={"ccs": Method(CCS(tries=1, steps=5))})
    plan = dataclasses.replace(plan, students={"strong": plan.students["strong"]})
    found = check(plan, tmp_path, ["a text of supervisor", "labels of supervisor"])
    students = [each for place, each in found["a text of supervisor"].items() if place[4:] == ("student",)]
    assert all(key for key, _ in students), "features of all texts are computed together"
