"""Finished stages on disk: a damaged one is named, and who learned from other labels than there are now is refused."""

import dataclasses
import json

import pytest

from tests import tiny as make
from w2s_jax import api
from w2s_jax.config import Method
from w2s_jax.data import predictions as predictions_table
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.supervisors import Ensemble


def test_a_damaged_stage_is_named_and_refused(finished, tmp_path):
    plan = finished.copy(tmp_path)
    folder = api.open_store(plan).folder(make.stages(plan)[0].name)
    for file in ("predictions.parquet", "history.json", "curve.npy", "manifest.json"):
        content = (folder / file).read_bytes()
        flipped = bytearray(content)
        flipped[len(content) // 2] ^= 1
        edited = b'{"schema": "another"}' if file == "manifest.json" else bytes(flipped)
        for damaged in (content[: len(content) // 2], edited):
            (folder / file).write_bytes(damaged)
            with pytest.raises(UserError, match=file):
                make.run(plan)
        (folder / file).write_bytes(content)
    make.run(plan)


def replaced(plan, stage):
    """Other predictions, manifest and all, where this stage's were."""
    store = api.open_store(plan)
    folder = store.folder(stage.name)
    predictions = store.read(stage.name).predictions
    flipped = predictions._replace(probs=predictions.probs[:, ::-1], logits=predictions.logits[:, ::-1])
    predictions_table.write_predictions(folder / "predictions.parquet", flipped, {})
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["predictions.parquet"] = files.sha256_file(folder / "predictions.parquet")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_student_of_other_labels_is_refused(finished, tmp_path):
    """The supervisor's file is replaced after the student has learned from it."""
    plan = finished.copy(tmp_path)
    cell = make.cells(plan)[0]
    replaced(plan, cell.stages["supervisor"])
    with pytest.raises(UserError, match=f"{cell.stages['student'].name} read other predictions than"):
        make.run(plan)


METHODS = {"chain": Method(through=("middle",)), "rounds": Method(rounds=3)}


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    """A finished run of a chain and of rounds below one student, and of several supervisors of another."""

    def build(folder):
        plan = make.probes(folder, methods=METHODS, seeds=(0,))
        weak = plan.supervisors["weak"]
        several = Ensemble((weak, dataclasses.replace(weak, epochs=1)))
        students = {name: plan.students[name] for name in ("strong", "middle")}
        supervisors = {"weak": weak, "several": several}
        return dataclasses.replace(plan, supervisors=supervisors, students=students, pairs="listed")

    return make.finish(tmp_path_factory.mktemp("links"), build)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("depth", [1, 2])
def test_every_link_is_checked_against_the_labels_it_learned_from(links, tmp_path, method, depth):
    """Of a chain, of rounds, and the supervisor below them: `depth` stages above the one that is replaced."""
    plan = links.copy(tmp_path)
    of = ("weak", "strong", method)
    last = next(cell.stages["student"] for cell in make.cells(plan) if (cell[1], *cell[2:4]) == of)
    learned, inner = last, last.teacher
    for _ in range(depth - 1):
        learned, inner = inner, inner.teacher
    replaced(plan, inner)
    with pytest.raises(UserError, match=f"{learned.name} read other predictions than {inner.name} now holds"):
        make.run(plan)


def test_a_supervisor_of_supervisors_is_checked_against_its_members(links, tmp_path):
    plan = links.copy(tmp_path)
    together = next(cell.stages["supervisor"] for cell in make.cells(plan) if cell.supervisor == "several")
    member = next(each for each in together.members if each.learner.epochs == 1)
    replaced(plan, member)
    with pytest.raises(UserError, match=f"{together.name} read other predictions than {member.name} now holds"):
        make.run(plan)
