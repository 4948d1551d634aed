"""A judge of parts as supervisor: who learns what, and what the parts' labels are put together to."""

import dataclasses
import json

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, metrics, models, serialize
from w2s_jax.config import Method
from w2s_jax.data import formulas
from w2s_jax.data.formulas import AtLeast, Atom, Not, atoms, parse, truth, write
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.task_data import TaskData
from w2s_jax.evaluation import storage
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.pipeline import estimate, schedule
from w2s_jax.pipeline.session import Session
from w2s_jax.plan import workloads
from w2s_jax.report import table
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter
from w2s_jax.supervisors import Decomposed, decomposed

TASKS = """
from w2s_jax.data import formulas, sources, tasks
from w2s_jax.data.formulas import Parts

parts = tasks.Task("parts", "", sources.Local("{folder}/parts.jsonl"), tasks.labelled_text)
taken_apart = Parts("{folder}/mine.py:parts", {tree})
whole = tasks.Task("whole", "", sources.Local("{folder}/whole.jsonl"), tasks.labelled_text, parts=taken_apart)
"""
BLOCK = 4


def write_tasks(folder, flipped=(), tree="formulas.parse"):
    """Formulas over reviews, blocks of which share four; those of some blocks labelled with what is not true."""
    folder.mkdir(exist_ok=True)
    rows = [json.loads(line) for line in make.reviews(folder / "reviews.jsonl").read_text().splitlines()]
    whole = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        a, b, c, d = (Atom(row["text"]) for row in block)
        true = {row["text"]: bool(row["label"]) for row in block}
        wrong = start // BLOCK in flipped
        trees = (
            AtLeast(2, (a, b)),
            AtLeast(1, (a, Not(c))),
            AtLeast(2, (b, c, d)),
            AtLeast(2, (Not(b), c, a, d)),
            AtLeast(2, (a, AtLeast(1, (Not(a), d)))),
        )
        for each in trees:
            label = int(truth(each, true)) ^ wrong
            whole.append({"text": write(each), "label": label, "group": f"block {start // BLOCK}"})
        for row in block:
            row["label"] ^= wrong
    for name, lines in (("parts", rows), ("whole", whole)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "mine.py").write_text(TASKS.format(folder=folder, tree=tree))
    return TaskConfig(f"{folder}/mine.py:whole", supervisor=48, transfer=64, validation=16, test=40, balance=False)


def plan_of(folder, task):
    plan = make.experiment(folder)
    judge, student = (
        dataclasses.replace(each, parameters="probe", epochs=4)
        for each in (plan.supervisors["weak"], plan.students["strong"])
    )
    return dataclasses.replace(
        plan,
        tasks=(task,),
        supervisors={"flat": judge, "decomposed": Decomposed(judge)},
        students={"strong": student},
        methods={"naive": Method(), "equal queries": Method(labels=(Transform("random_rows", {"share": 0.5}),))},
    )


def supervisor(plan):
    return next(cell for cell in api.Planned([plan]).cells[0] if cell.supervisor == "decomposed").stages["supervisor"]


def session_of(plan, kind=Session):
    return kind(api.open_store(plan), Reporter(quiet=True))


def labelled(plan):
    """The decomposed supervisor and its judge, finished; and what they say."""
    stage, session = supervisor(plan), session_of(plan)
    assert not schedule.run_stages([*stage.needs, stage], session)
    return stage, session.read(stage.needs[0]), session.read(stage)


def test_labels_are_made_of_the_judges_and_know_no_truth_of_what_they_label(tmp_path):
    plan = plan_of(tmp_path, write_tasks(tmp_path / "true"))
    stage, judged, labels = labelled(plan)
    split, parts = (each.shown.predict["transfer"] for each in (stage, stage.needs[0]))
    said = dict(zip(parts.texts, judged.for_split("transfer", parts.ids)[:, 1].tolist(), strict=True))
    found = labels.for_split("transfer", split.ids)
    for text, row in zip(split.texts, found, strict=True):
        assert row[1] == pytest.approx(formulas.probability(parse(text), said), abs=1e-5)
    assert np.ptp(found[:, 1]) > 0.1
    learned = {group.removeprefix("block ") for group in stage.task.splits(0).supervisor.groups}
    others = {block for block in range(40) if str(block) not in learned}
    assert len(others) > 20
    flipped = plan_of(tmp_path, write_tasks(tmp_path / "flipped", others))
    again, _, same = labelled(flipped)
    assert again.key != stage.key, "the validation split's truth is part of a judge's key"
    assert (same.ids, same.splits) == (labels.ids, labels.splits)
    np.testing.assert_array_equal(same.logits, labels.logits)
    test, before = (each.task.splits(0).test for each in (again, stage))
    assert test.texts == before.texts
    np.testing.assert_array_equal(test.labels, 1 - before.labels)


def test_a_judge_gets_parts_of_its_split_and_their_truth_alone(tmp_path):
    task = write_tasks(tmp_path / "task")
    plan = plan_of(tmp_path, task)
    stage = supervisor(plan)
    (judge,) = stage.needs
    known = {example.text: example.label for example in judge.task.examples}
    whole = stage.task.splits(0).supervisor
    assert judge.needs == ()
    given = judge.make(session_of(plan)).lesson
    expected = list(dict.fromkeys(atom for text in whole.texts for atom in atoms(parse(text))))
    assert len(expected) <= len(whole)
    assert list(given.train.split.texts) == expected
    assert given.train.targets.argmax(axis=1).tolist() == [known[text] for text in expected]
    assert all(split.labels is None for split in given.predict.values())
    few, all_of_them = (
        TaskData(each).parts.splits(0).supervisor for each in (dataclasses.replace(task, supervisor=6), task)
    )
    assert list(few.texts) == list(all_of_them.texts)[:6]


class Right(Session):
    """Its stages are always right."""

    def read(self, stage):
        class Truth:
            def for_split(self, name, ids):
                split = getattr(stage.splits, name)
                assert split.ids == ids
                return np.eye(2)[split.labels]

        return Truth()


def test_a_judge_that_is_always_right_makes_labels_that_are(tmp_path):
    plan = plan_of(tmp_path, write_tasks(tmp_path / "task"))
    stage = supervisor(plan)
    made = stage.make(session_of(plan, Right)).logits
    assert set(made) == {"transfer", "validation", "test"}
    for name, logits in made.items():
        np.testing.assert_allclose(np.exp(logits), np.eye(2)[getattr(stage.splits, name).labels], atol=1e-6)


def test_how_texts_come_apart_decides_the_key_and_other_keys_do_not_change(tmp_path):
    plan = plan_of(tmp_path, write_tasks(tmp_path / "a"))
    other = plan_of(tmp_path, write_tasks(tmp_path / "b", tree="lambda text: formulas.Not(formulas.parse(text))"))
    assert supervisor(plan).needs[0].key == supervisor(other).needs[0].key
    assert supervisor(plan).key != supervisor(other).key
    flat, again = (api.Planned([each]).cells[0][0].stages for each in (plan, other))
    assert {role: stage.key for role, stage in flat.items()} == {role: stage.key for role, stage in again.items()}


def test_the_estimate_counts_a_judges_reading_of_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_speed", lambda: 1.0)
    plan = plan_of(tmp_path, write_tasks(tmp_path / "task"))
    stage = supervisor(plan)
    (judge,) = stage.needs
    texts, model = judge.task.texts, judge.learner.model
    tokens = sum(len(ids) for ids in models.outline(model)[1].encode(list(texts)))
    seconds = estimate.estimate([judge, stage], api.open_store(plan)).seconds
    assert len(texts) == 160, "each part once"
    assert seconds == pytest.approx(2 * tokens * models.size(model, embeddings=False) + 2 * estimate.LEAST_SECONDS)


def test_what_does_not_come_apart_is_refused_before_anything_is_made(tmp_path):
    plan = plan_of(tmp_path, make.experiment(tmp_path).tasks[0])
    with pytest.raises(UserError, match="do not come apart; those of city_formulas do"):
        api.run(plan, quiet=True)
    assert not list((tmp_path / "runs").glob("stages/*"))
    task = write_tasks(tmp_path / "a")
    (tmp_path / "a" / "mine.py").write_text((tmp_path / "a" / "mine.py").read_text() + "\nparts = whole\n")
    with pytest.raises(UserError, match="is no text of task"):
        api.run(plan_of(tmp_path, task), quiet=True)
    three = write_tasks(tmp_path / "b")
    text = (tmp_path / "b" / "mine.py").read_text().replace("tasks.labelled_text)", "tasks.labelled_text, 3)", 1)
    (tmp_path / "b" / "mine.py").write_text(text)
    with pytest.raises(UserError, match="must both have two classes"):
        api.run(plan_of(tmp_path, three), quiet=True)


def test_what_parts_are_worth_by_hand():
    labels = np.arange(100) % 2

    def right(count):
        return np.eye(2)[np.where(np.arange(100) < count, labels, 1 - labels)] * 0.8 + 0.1

    names = {"task": "t", "supervisor": "parts", "student": "s", "method": "naive"}
    cells = [metrics.Triple(right(70), right(75), right(90), labels) for _ in range(2)]
    found = decomposed.decomposition(names, "whole", [0, 1], [2.0, 3.0], [0.6, 0.64], cells, [right(60), right(60)])
    assert (found.kind, found.supervisor, found.method, found.seeds) == ("decomposition", "parts", "naive", (0, 1))
    accuracy = {"parts": 0.62, "decomposed": 0.7, "student": 0.75, "ceiling": 0.9, "flat": 0.6}
    assert found.values == pytest.approx({"queries": 2.5, **accuracy})
    assert found.pgr.value == pytest.approx(0.5), "from the flat judge's .6, not from the .7 that it learned from"
    assert "with accuracy 0.600: (student - flat) / (ceiling - flat) = 0.50" in found.sentence
    alone = decomposed.decomposition(names, None, [0, 1], [2.0, 3.0], [0.6, 0.64], cells)
    assert alone.pgr is None
    assert "flat" not in {*alone.values, *alone.sentence.split()}


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["probe", "full"])
def test_an_experiment_with_a_decomposed_supervisor(tmp_path, parameters):
    plan = plan_of(tmp_path, write_tasks(tmp_path / "task"))
    judge = dataclasses.replace(plan.supervisors["flat"], parameters=parameters)
    supervisors = {"flat": judge, "decomposed": Decomposed(judge), "alone": Decomposed(plan.students["strong"])}
    plan = dataclasses.replace(plan, supervisors=supervisors, seeds=(0, 1))
    found = api.run(plan, quiet=True)
    assert len(found.cells) == 12
    of = [(each.supervisor, each.pgr is not None, each.method) for each in found.findings]
    assert of == [
        (name, flat, method) for name, flat in (("decomposed", True), ("alone", False)) for method in plan.methods
    ]
    _, equal, *_ = found.findings
    assert (equal.kind, equal.seeds) == ("decomposition", (0, 1))
    assert "compared with flat" in equal.sentence

    def mean(supervisor, role):
        key = (supervisor, "equal queries")
        return np.mean([c.scores["accuracy"][role] for c in found.cells if (c.supervisor, c.method) == key])

    for name, of in {"flat": "flat", "decomposed": "decomposed"}.items():
        assert equal.values[name] == pytest.approx(mean(of, "supervisor"))
    assert equal.values["student"] == pytest.approx(mean("decomposed", "student"))
    planned, right, queries = api.Planned([plan]), [], []
    for cell in planned.cells[0]:
        if (cell.supervisor, cell.method) == ("decomposed", "equal queries"):
            (judge_of_parts,) = cell.stages["supervisor"].needs
            test = judge_of_parts.splits.test
            said = planned.store.read(judge_of_parts.name).predictions.for_split("test", test.ids)
            right.append(metrics.accuracy(said, test.labels))
            whole = TaskData(plan.tasks[0]).splits(cell.seed).transfer
            queries += [len(atoms(parse(text))) for text in whole.texts]
    assert equal.values["parts"] == pytest.approx(np.mean(right))
    assert equal.values["queries"] == pytest.approx(np.mean(queries))
    assert storage.load(tmp_path / "runs" / "tiny").findings == found.findings
    assert equal.sentence in table.markdown(found)
    assert "by parts" in supervisor(plan).title
    assert {stage for each in workloads(plan) for stage in each.stages} >= {"supervisor alone"}
    assert serialize.to_json(plan)["supervisors"]["decomposed"]["judge"]["model"] == judge.model
