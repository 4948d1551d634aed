"""What a student is given: no ground truth, its teacher's labels, transformed, hinted at, and link by link."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api
from w2s_jax.config import Method
from w2s_jax.data.splits import Split
from w2s_jax.data.task_data import TaskData
from w2s_jax.label_transforms import LABEL_TRANSFORMS
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.pipeline import schedule
from w2s_jax.runtime.sharding import make_mesh
from w2s_jax.stages.base import part
from w2s_jax.students import CCS, Train
from w2s_jax.supervisors import Ensemble


def lesson(plan, stage):
    """What a stage's model is to learn."""
    return stage.make(make.session(plan)).lesson


def test_no_model_is_given_ground_truth_but_as_its_targets(finished):
    plan, store = finished.experiment, make.read(finished.experiment)
    for stage in make.stages(plan):
        if stage.role == "student":
            assert stage.shown.train.labels is None
            assert stage.shown.validation.labels is None
        given = lesson(plan, stage)
        splits = [given.train.split, given.validation.split, *given.predict.values(), *stage.shown.predict.values()]
        assert all(isinstance(split, Split) and split.labels is None for split in splits)
        if stage.role == "student":
            weak = store(stage.teacher)
            for name, part in (("transfer", given.train), ("validation", given.validation)):
                np.testing.assert_array_equal(part.targets, weak.for_split(name, part.split.ids))
            assert set(given.train.targets.ravel()) - {0.0, 1.0}, "weak labels are soft"


class Scrambled(TaskData):
    """A task whose ground truth is wrong for every example of transfer, validation and test."""

    def splits(self, seed):
        found = super().splits(seed)
        wrong = {
            name: dataclasses.replace(getattr(found, name), labels=1 - getattr(found, name).labels)
            for name in ("transfer", "validation", "test")
        }
        return dataclasses.replace(found, **wrong)


def test_a_students_bits_do_not_depend_on_ground_truth(finished, tmp_path):
    """The labels of transfer, validation and test are scrambled after the supervisor is done: no student changes."""
    plan = finished.copy(tmp_path)
    expected = make.bits(plan)
    store = api.open_store(plan)
    students = make.stages(plan, "student")
    assert len(students) == 2
    for stage in students:
        shutil.rmtree(store.folder(stage.name))
    scrambled = Scrambled(students[0].task.config)  # one, for who trains together can change the last bits
    blind = [dataclasses.replace(stage, task=scrambled) for stage in students]
    for stage, other in zip(students, blind, strict=True):
        assert (stage.splits.transfer.labels != other.splits.transfer.labels).all()
        assert stage.key == other.key
    assert schedule.run_stages(blind, make.session(plan, make_mesh())) == []
    assert make.bits(plan) == expected


def test_student_and_ceiling_see_the_same_examples_in_the_same_order(tiny):
    student, ceiling = (make.stages(tiny, role)[0] for role in ("student", "ceiling"))
    assert student.shown.train.ids == ceiling.shown.train.ids
    assert student.seed == ceiling.seed
    assert not set(student.teacher.shown.train.ids) & set(student.shown.train.ids)


def test_bootstrapping_gives_every_link_its_own_part_of_the_transfer_split(probe_folder):
    plan = make.probes(probe_folder, methods={"chain": Method(through=("middle",))})
    make.run(plan)
    last = make.students(plan)[0]
    first = last.teacher
    assert first.teacher.role == "supervisor"
    assert (first.learner.read_layer, last.learner.read_layer) == (1, None)
    trained = [set(stage.shown.train.ids) for stage in (first, last)]
    assert not trained[0] & trained[1]
    assert trained[0] | trained[1] == set(last.splits.transfer.ids)
    given = lesson(plan, last).train
    taught = make.read(plan)(first).for_split("transfer", given.split.ids)
    np.testing.assert_array_equal(given.targets, taught)


def test_parts_of_the_transfer_split_share_no_group_and_no_text():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n, parts = int(rng.integers(6, 40)), int(rng.integers(2, 4))
        texts = tuple(f"text {i}" for i in rng.integers(0, n, n))
        split = Split(tuple(map(str, range(n))), texts, None, tuple(f"group {i}" for i in rng.integers(0, n, n)))
        each = [part(split, index, parts) for index in range(parts)]
        assert sorted(name for one in each for name in one.ids) == sorted(split.ids)
        for column in ("texts", "groups"):
            held = [set(getattr(one, column)) for one in each]
            assert all(not a & b for a, b in itertools.combinations(held, 2))


def test_rounds_learn_from_the_round_before(probe_folder):
    plan = make.probes(probe_folder, methods={"naive": Method(), "again": Method(rounds=3)})
    make.run(plan)
    naive, last = make.students(plan)[:2]
    assert last.teacher.teacher.teacher.role == "supervisor"
    assert last.teacher.teacher.predicts == ("transfer", "validation", "test")
    assert last.shown.train.ids == naive.shown.train.ids
    given = lesson(plan, last).train
    np.testing.assert_array_equal(given.targets, make.read(plan)(last.teacher).for_split("transfer", given.split.ids))


def test_label_transforms_run_in_the_graph(probe_folder):
    """All of them that need neither several supervisors, nor a student, nor a language model."""
    names = sorted(set(LABEL_TRANSFORMS) - {"assign", "learned_weights", "em_posterior"})
    options = {"confidence_filter": {"share": 0.5}}
    methods = {name: Method(labels=(Transform(name, options.get(name, {})),)) for name in names}
    plan = make.probes(probe_folder, methods={"naive": Method(), **methods}, seeds=(0,))
    plan = dataclasses.replace(plan, students={"strong": plan.students["strong"]})
    results = make.run(plan)
    assert [cell.method for cell in results.cells] == ["naive", *names]
    naive = lesson(plan, make.students(plan)[0]).train
    for stage in make.students(plan)[1:]:
        given = lesson(plan, stage).train
        kept = [naive.split.ids.index(identifier) for identifier in given.split.ids]
        changed = len(kept) != len(naive.split) or np.abs(given.targets - naive.targets[kept]).max() > 0
        assert changed or stage.transforms[0].name == "balanced_resample", "these weak labels are balanced"


def test_transforms_that_look_at_members_and_students(probe_folder):
    plan = make.probes(probe_folder)
    weak = plan.supervisors["weak"]
    several = Ensemble((weak, dataclasses.replace(weak, epochs=1)))
    methods = {
        "naive": Method(),
        "learned": Method(labels=(Transform("learned_weights"),)),
        "co-supervised": Method(labels=(Transform("assign"),), rounds=2),
    }
    plan = dataclasses.replace(plan, supervisors={"several": several}, methods=methods, seeds=(0,))
    make.run(plan)
    last = make.students(plan)[2]
    assert last.teacher.role == "supervisor"
    assert last.previous.role == "student"
    alone = dataclasses.replace(plan, supervisors={"weak": weak})
    _, failures, *_ = make.attempt(alone)
    assert any("several supervisors" in failure.reason for failure in failures)


def test_the_hint_is_what_the_supervisor_thinks(probe_folder):
    plan = make.probes(probe_folder, methods={"hint": Method(hint=True)}, seeds=(0,))
    make.run(plan)
    stage = make.students(plan)[0]
    given = lesson(plan, stage)
    for split, name in ((given.train.split, "transfer"), (given.predict["test"], "test")):
        weak = make.read(plan)(stage.teacher).for_split(name, split.ids).argmax(axis=1)
        for text, label in zip(split.texts, weak, strict=True):
            assert text.endswith(f"\nI think this is {['No', 'Yes'][label]}. What do you think?")


def test_ccs_learns_without_labels(probe_folder):
    """Weak labels decide only which side means yes: turned around, they turn the answers around."""
    plan = make.probes(probe_folder, methods={"ccs": Method(CCS(steps=50))}, seeds=(0,))
    assert len(make.run(plan).cells) == 2


@pytest.mark.parametrize("parameters", ["probe", *make.slow("full")])
def test_reward_models_compare_two_replies(tmp_path, parameters):
    task = make.TaskConfig(make.pairs(tmp_path), supervisor=16, transfer=16, validation=8, test=16)
    plan = make.experiment(tmp_path, tasks=(task,))
    learners = {
        "supervisors": {"weak": dataclasses.replace(plan.supervisors["weak"], parameters=parameters)},
        "students": {"strong": dataclasses.replace(plan.students["strong"], parameters=parameters)},
    }
    plan = dataclasses.replace(plan, **learners)
    results = make.run(plan)
    assert all(0 <= cell.scores["accuracy"]["student"] <= 1 for cell in results.cells)
    if parameters == "full":
        kernel = api.open_store(plan).params(make.students(plan)[0].name)["head"]["kernel"]
        assert kernel.shape[-1] == 1, "one scalar a reply"


@pytest.mark.parametrize("parameters", make.slow("head", "lora"))
def test_other_ways_to_train_run_through_the_same_graph(tmp_path, parameters):
    plan = make.experiment(tmp_path, methods={"naive": Method(), "confidence": Method(Train("confidence"))})
    student = dataclasses.replace(plan.students["strong"], parameters=parameters, read_layer=1)
    assert len(make.run(dataclasses.replace(plan, students={"strong": student})).cells) == 2
