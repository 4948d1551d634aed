"""A judge of parts as supervisor: who learns what, and what the parts' labels are put together to."""

import dataclasses
import json

import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import config, metrics, models
from w2s_jax.config import Decomposed, LabelStep, Method, TaskConfig
from w2s_jax.data import formulas
from w2s_jax.data.formulas import AtLeast, Atom, Not, atoms, parse, truth, write
from w2s_jax.evaluation import oversight, results
from w2s_jax.pipeline import estimate, experiment, inputs, materials, runner
from w2s_jax.plan import workloads
from w2s_jax.report import table
from w2s_jax.runtime.errors import UserError
from w2s_jax.runtime.progress import Reporter

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
        methods={"naive": Method(), "equal queries": Method(labels=(LabelStep("random_rows", {"share": 0.5}),))},
    )


def supervisor(plan):
    return next(cell for cell in experiment.cells(plan) if cell.supervisor == "decomposed").stages["supervisor"]


def labelled(plan):
    """The decomposed supervisor and its judge, made; and what they say."""
    stage = supervisor(plan)
    store = runner.open_store(plan)
    assert not runner.run_stages([*stage.members, stage], store, Reporter(quiet=True))
    return stage, *(store.read(each.folder).predictions for each in (stage.members[0], stage))


def test_labels_are_made_of_the_judges_and_know_no_truth_of_what_they_label(tmp_path):
    plan = plan_of(tmp_path, write_tasks(tmp_path / "true"))
    stage, judged, labels = labelled(plan)
    split, parts = (experiment.stage_splits(each).predict["transfer"] for each in (stage, stage.members[0]))
    said = dict(zip(parts.texts, judged.for_split("transfer", parts.ids)[:, 1].tolist(), strict=True))
    found = labels.for_split("transfer", split.ids)
    for text, row in zip(split.texts, found, strict=True):
        assert row[1] == pytest.approx(formulas.probability(parse(text), said), abs=1e-5)
    assert np.ptp(found[:, 1]) > 0.1
    learned = {group.removeprefix("block ") for group in materials.splits(stage.task, 0).supervisor.groups}
    others = {block for block in range(40) if str(block) not in learned}
    assert len(others) > 20
    flipped = plan_of(tmp_path, write_tasks(tmp_path / "flipped", others))
    again, _, same = labelled(flipped)
    assert again.key != stage.key, "the validation split's truth is part of a judge's key"
    assert (same.ids, same.splits) == (labels.ids, labels.splits)
    np.testing.assert_array_equal(same.logits, labels.logits)
    test, before = (materials.splits(each.task, 0).test for each in (again, stage))
    assert test.texts == before.texts
    np.testing.assert_array_equal(test.labels, 1 - before.labels)


def test_a_judge_gets_parts_of_its_split_and_their_truth_alone(tmp_path):
    task = write_tasks(tmp_path)
    stage = supervisor(plan_of(tmp_path, task))
    (judge,) = stage.members
    known = {example.text: example.label for example in materials.examples(judge.task.name, None, None, False)}
    whole = materials.splits(task, 0)
    given = inputs.stage_inputs(judge, lambda _: pytest.fail("it needs no other stage"))
    expected = list(dict.fromkeys(atom for text in whole.supervisor.texts for atom in atoms(parse(text))))
    assert len(expected) <= len(whole.supervisor)
    assert list(given.train.split.texts) == expected
    assert given.train.targets.argmax(axis=1).tolist() == [known[text] for text in expected]
    assert all(split.labels is None for split in given.predict.values())
    few = materials.splits(materials.atoms(dataclasses.replace(task, supervisor=6)), 0).supervisor
    assert list(few.texts) == list(materials.splits(materials.atoms(task), 0).supervisor.texts)[:6]


def test_a_judge_that_is_always_right_makes_labels_that_are(tmp_path):
    stage = supervisor(plan_of(tmp_path, write_tasks(tmp_path)))
    (judge,) = stage.members

    class Right:
        def for_split(self, name, ids):
            split = getattr(materials.splits(judge.task, 0), name)
            assert split.ids == ids
            return np.eye(2)[split.labels]

    for name, probs in inputs.aggregate(stage, lambda _: Right()).items():
        np.testing.assert_array_equal(probs, np.eye(2)[getattr(materials.splits(stage.task, 0), name).labels])


def test_how_texts_come_apart_decides_the_key_and_other_keys_do_not_change(tmp_path):
    plan = plan_of(tmp_path, write_tasks(tmp_path / "a"))
    other = plan_of(tmp_path, write_tasks(tmp_path / "b", tree="lambda text: formulas.Not(formulas.parse(text))"))
    assert supervisor(plan).members[0].key == supervisor(other).members[0].key
    assert supervisor(plan).key != supervisor(other).key
    flat, again = (next(experiment.cells(each)).stages for each in (plan, other))
    assert {role: stage.key for role, stage in flat.items()} == {role: stage.key for role, stage in again.items()}


def test_the_estimate_counts_a_judges_reading_of_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "_speed", lambda: 1.0)
    plan = plan_of(tmp_path, write_tasks(tmp_path))
    stage = supervisor(plan)
    (judge,) = stage.members
    texts, model = materials.texts(judge.task), judge.learner.model
    tokens = sum(len(ids) for ids in models.outline(model)[1].encode(list(texts)))
    seconds = estimate.estimate([judge, stage], runner.open_store(plan)).seconds
    assert len(texts) == 160, "each part once"
    assert seconds == pytest.approx(2 * tokens * models.size(model, embeddings=False) + 2 * estimate.PROBE_SECONDS)


def test_what_does_not_come_apart_is_refused_before_anything_is_made(tmp_path):
    plan = plan_of(tmp_path, make.experiment(tmp_path).tasks[0])
    with pytest.raises(UserError, match="do not come apart; those of city_formulas do"):
        runner.run(plan, Reporter(quiet=True))
    assert not list((tmp_path / "runs").glob("stages/*"))
    task = write_tasks(tmp_path / "a")
    (tmp_path / "a" / "mine.py").write_text((tmp_path / "a" / "mine.py").read_text() + "\nparts = whole\n")
    with pytest.raises(UserError, match="is no text of task"):
        runner.run(plan_of(tmp_path, task), Reporter(quiet=True))
    three = write_tasks(tmp_path / "b")
    text = (tmp_path / "b" / "mine.py").read_text().replace("tasks.labelled_text)", "tasks.labelled_text, 3)", 1)
    (tmp_path / "b" / "mine.py").write_text(text)
    with pytest.raises(UserError, match="must both have two classes"):
        runner.run(plan_of(tmp_path, three), Reporter(quiet=True))


def test_what_parts_are_worth_by_hand():
    labels = np.arange(100) % 2

    def right(count):
        return np.eye(2)[np.where(np.arange(100) < count, labels, 1 - labels)] * 0.8 + 0.1

    names = {"task": "t", "decomposed": "parts", "flat": "whole", "student": "s", "method": "naive"}
    cells = [metrics.Triple(right(70), right(75), right(90), labels) for _ in range(2)]
    found = oversight.decomposition(names, [0, 1], [2.0, 3.0], [0.6, 0.64], cells, [right(60), right(60)])
    rows = {"decomposed": 0.7, "student": 0.75, "ceiling": 0.9, "flat": 0.6}
    assert found.accuracy == pytest.approx({"parts": 0.62, **rows})
    assert found.queries == 2.5
    assert found.pgr.value == pytest.approx(0.5), "from the flat judge's .6, not from the .7 that it learned from"
    assert "of whole rows 0.600: (student - flat) / (ceiling - flat) = 0.50" in table.decomposition(found)
    alone = oversight.decomposition({**names, "flat": None}, [0, 1], [2.0, 3.0], [0.6, 0.64], cells)
    assert alone.pgr is None
    assert "flat" not in {*alone.accuracy, *table.decomposition(alone).split()}


@pytest.mark.slow
@pytest.mark.parametrize("parameters", ["probe", "full"])
def test_an_experiment_with_a_decomposed_supervisor(tmp_path, parameters):
    plan = plan_of(tmp_path, write_tasks(tmp_path))
    judge = dataclasses.replace(plan.supervisors["flat"], parameters=parameters)
    supervisors = {"flat": judge, "decomposed": Decomposed(judge), "alone": Decomposed(plan.students["strong"])}
    plan = dataclasses.replace(plan, supervisors=supervisors, seeds=(0, 1))
    found, failures = runner.run(plan, Reporter(quiet=True))
    assert failures == []
    assert len(found.cells) == 12
    assert [(each.decomposed, each.flat, each.method) for each in found.decompositions] == [
        (name, flat, method) for name, flat in (("decomposed", "flat"), ("alone", None)) for method in plan.methods
    ]
    _, equal, *_ = found.decompositions
    assert equal.seeds == (0, 1)

    def mean(supervisor, role):
        key = (supervisor, "equal queries")
        return np.mean([c.scores[role].accuracy for c in found.cells if (c.supervisor, c.method) == key])

    for name, of in {"flat": "flat", "decomposed": "decomposed"}.items():
        assert equal.accuracy[name] == pytest.approx(mean(of, "supervisor"))
    assert equal.accuracy["student"] == pytest.approx(mean("decomposed", "student"))
    store, right, queries = runner.open_store(plan), [], []
    for cell in experiment.cells(plan):
        if (cell.supervisor, cell.method) == ("decomposed", "equal queries"):
            (member,) = cell.stages["supervisor"].members
            test = materials.splits(member.task, cell.seed).test
            said = store.read(member.folder).predictions.for_split("test", test.ids)
            right.append(metrics.accuracy(said, test.labels))
            rows = materials.splits(plan.tasks[0], cell.seed).transfer
            queries += [len(atoms(parse(text))) for text in rows.texts]
    assert equal.accuracy["parts"] == pytest.approx(np.mean(right))
    assert equal.queries == pytest.approx(np.mean(queries))
    results.save(found, tmp_path)
    assert results.load(tmp_path).decompositions == found.decompositions
    assert "labels of parts" in table.markdown(found)
    assert "by parts" in runner.describe(supervisor(plan))
    assert {stage for program in workloads(plan) for stage in program.stages} >= {"supervisor alone"}
    assert config.asdict(plan)["supervisors"]["decomposed"]["judge"]["model"] == judge.model
