"""Every way to make labels and to learn from them, through the whole engine, on probes that take milliseconds."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests import tiny as make
from tests.test_experiment import bits, quiet
from w2s_jax.config import Advised, Ensemble, Errors, Experiment, Given, LabelStep, Method, TaskConfig
from w2s_jax.label_transforms import LABEL_TRANSFORMS
from w2s_jax.pipeline import experiment, inputs, materials, runner
from w2s_jax.runtime.errors import UserError
from w2s_jax.train import finetune
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

HEADS = OptimizerConfig(learning_rate=1e-2)


def probes(folder: Path, **changes: object) -> Experiment:
    """The tiny experiment with heads on frozen features, and a middle student."""
    plan = make.experiment(folder)
    weak, strong = (
        dataclasses.replace(learner, parameters="probe", epochs=3)
        for learner in (plan.supervisors["weak"], plan.students["strong"])
    )
    middle = dataclasses.replace(strong, read_layer=1)
    fields: dict = {"supervisors": {"weak": weak}, "students": {"middle": middle, "strong": strong}, "seeds": (0, 1)}
    return dataclasses.replace(plan, **{**fields, **changes})


def run(plan):
    results, failures = runner.run(plan, quiet())
    assert failures == []
    return results


def students(plan, name):
    return [cell.stages["student"] for cell in experiment.cells(plan) if cell.student == name]


def read(plan):
    store = runner.open_store(plan)
    return lambda stage: store.read(stage.folder).predictions


def test_bootstrapping_gives_every_link_its_own_part_of_the_transfer_split(tmp_path):
    plan = probes(tmp_path, methods={"chain": Method(through=("middle",))})
    run(plan)
    last = students(plan, "strong")[0]
    first = last.teacher
    assert first.teacher.role == "supervisor"
    assert (first.learner.read_layer, last.learner.read_layer) == (1, None)
    trained = [set(experiment.stage_splits(stage).train.ids) for stage in (first, last)]
    whole = experiment.stage_splits(students(probes(tmp_path), "strong")[0]).train.ids
    assert not trained[0] & trained[1]
    assert trained[0] | trained[1] == set(whole)
    given = inputs.stage_inputs(last, read(plan))
    taught = read(plan)(first).for_split("transfer", given.train.split.ids)
    np.testing.assert_array_equal(given.train.targets, taught)


def test_rounds_learn_from_the_round_before(tmp_path):
    plan = probes(tmp_path, methods={"naive": Method(), "again": Method(rounds=3)})
    run(plan)
    naive, last = students(plan, "strong")[:2]
    assert last.teacher.teacher.teacher.role == "supervisor"
    assert last.teacher.teacher.predicts == ("transfer", "validation", "test")
    assert experiment.stage_splits(last).train.ids == experiment.stage_splits(naive).train.ids


@pytest.mark.parametrize("how", ["average", "bagging", "boosting"])
def test_an_ensemble_supervises(tmp_path, how):
    plan = probes(tmp_path)
    weak = plan.supervisors["weak"]
    members = (weak, dataclasses.replace(weak, epochs=1), dataclasses.replace(weak, epochs=2))
    plan = dataclasses.replace(plan, supervisors={"several": Ensemble(members, how)})
    results = run(plan)
    assert {cell.supervisor for cell in results.cells} == {"several"}
    together = next(experiment.cells(plan)).stages["supervisor"]
    tables = [read(plan)(member) for member in together.members]
    ids = experiment.stage_splits(together).predict["test"].ids
    mean = np.mean([table.for_split("test", ids) for table in tables], axis=0)
    combined = read(plan)(together).for_split("test", ids)
    if how != "boosting":
        np.testing.assert_allclose(combined, mean, atol=1e-5)
    given = [inputs.stage_inputs(member, read(plan)).train.split.ids for member in together.members]
    repeated = [len(set(ids)) < len(ids) for ids in given]
    assert repeated == [how != "average"] * 3


def test_boosting_draws_what_the_members_before_got_wrong(tmp_path):
    plan = probes(tmp_path)
    weak = plan.supervisors["weak"]
    plan = dataclasses.replace(plan, supervisors={"boosted": Ensemble((weak,) * 4, "boosting")}, seeds=(0,))
    run(plan)
    second = next(experiment.cells(plan)).stages["supervisor"].members[1]
    split = materials.splits(second.task, second.seed).supervisor
    first = read(plan)(second.members[0]).for_split("supervisor", split.ids).argmax(axis=1)
    wrong = {split.ids[row] for row in np.flatnonzero(first != split.labels)}
    drawn = inputs.stage_inputs(second, read(plan)).train.split.ids
    share = sum(identifier in wrong for identifier in drawn) / len(drawn)
    assert share > len(wrong) / len(split.ids) + 0.05, "half the weight is on what was wrong"


@pytest.mark.parametrize("kind", ["independent", "longest", "shortest", "unsure"])
def test_simulated_errors_are_as_many_as_the_real_supervisors(tmp_path, kind):
    plan = probes(tmp_path)
    real = plan.supervisors["weak"]
    plan = dataclasses.replace(plan, supervisors={"real": real, "simulated": Errors(real, kind)})
    results = run(plan)
    accuracy = {(cell.supervisor, cell.seed): cell.scores["accuracy"]["supervisor"] for cell in results.cells}
    for seed in plan.seeds:
        assert accuracy["simulated", seed] == accuracy["real", seed]
    pairs = [(student, method) for student in plan.students for method in plan.methods]
    assert [(each.student, each.method) for each in results.audits] == pairs
    found = results.audits[0]
    assert (found.overseer, found.errors, found.seeds) == ("real", "simulated", plan.seeds)
    scores = {(c.supervisor, c.seed): c.scores for c in results.cells if (c.student, c.method) == pairs[0]}
    roles = (("taught", "simulated", "supervisor"), ("policy", "simulated", "student"), ("honest", "real", "student"))
    for policy, supervisor, role in (*roles, ("expert", "real", "ceiling")):
        of_seeds = [scores[supervisor, seed][role].accuracy for seed in plan.seeds]
        assert found.accuracy[policy] == pytest.approx(np.mean(of_seeds))
    stage = next(cell for cell in experiment.cells(plan) if cell.supervisor == "simulated").stages["supervisor"]
    split = materials.splits(stage.task, stage.seed).transfer
    said, like = (read(plan)(each).for_split("transfer", split.ids) for each in (stage, stage.members[0]))
    wrong, really = (probs.argmax(axis=1) != split.labels for probs in (said, like))
    for of_said, of_like in ((wrong, really), (~wrong, ~really)):
        dealt, real_ones = (np.sort(each.max(axis=1)) for each in (said[of_said], like[of_like]))
        np.testing.assert_allclose(dealt, real_ones, atol=1e-6)
    lengths = np.array([len(text) for text in split.texts])
    if kind == "longest":
        assert lengths[wrong].min() >= lengths[~wrong].max()
    if kind == "shortest":
        assert lengths[wrong].max() <= lengths[~wrong].min()
    if kind == "unsure":
        confidence = like.max(axis=1)
        assert confidence[wrong].max() <= confidence[~wrong].min()


@pytest.mark.parametrize("name", sorted(set(LABEL_TRANSFORMS) - {"assign", "learned_weights", "em_posterior"}))
def test_every_step_of_label_work_runs_in_the_graph(tmp_path, name):
    options = {"threshold": 0.5} if name == "confidence_filter" else {}
    plan = probes(tmp_path, methods={"naive": Method(), "work": Method(labels=(LabelStep(name, options),))}, seeds=(0,))
    results = run(plan)
    assert {cell.method for cell in results.cells} == {"naive", "work"}


def test_steps_that_look_at_members_and_students(tmp_path):
    plan = probes(tmp_path)
    weak = plan.supervisors["weak"]
    several = Ensemble((weak, dataclasses.replace(weak, epochs=1)))
    methods = {
        "naive": Method(),
        "learned": Method(labels=(LabelStep("learned_weights"),)),
        "co-supervised": Method(labels=(LabelStep("assign"),), rounds=2),
    }
    plan = dataclasses.replace(plan, supervisors={"several": several}, methods=methods, seeds=(0,))
    run(plan)
    last = students(plan, "strong")[2]
    assert last.teacher.role == "supervisor"
    assert last.previous.role == "student"
    alone = dataclasses.replace(plan, supervisors={"weak": weak})
    _, failures = runner.run(alone, quiet())
    assert any("several supervisors" in failure.reason for failure in failures)


def test_the_hint_is_what_the_supervisor_thinks(tmp_path):
    plan = probes(tmp_path, methods={"hint": Method(hint=True)}, seeds=(0,))
    run(plan)
    stage = students(plan, "strong")[0]
    given = inputs.stage_inputs(stage, read(plan))
    for split, name in ((given.train.split, "transfer"), (given.predict["test"], "test")):
        weak = read(plan)(stage.teacher).for_split(name, split.ids).argmax(axis=1)
        for text, label in zip(split.texts, weak, strict=True):
            assert text.endswith(f"\nI think this is {['No', 'Yes'][label]}. What do you think?")


def test_ccs_learns_without_labels(tmp_path):
    plan = probes(tmp_path, methods={"ccs": Method(learn="ccs", options={"steps": 50})}, seeds=(0,))
    assert len(run(plan).cells) == 2


def test_saliency_reads_the_finetuned_student_out_with_ground_truth(tmp_path):
    plan = make.experiment(
        tmp_path, methods={"naive": Method(), "probed": Method(readout="truth_probe")}, keep_params=False
    )
    run(plan)
    naive, readout = students(plan, "strong")
    assert readout.role == "readout"
    assert readout.body is naive
    store = runner.open_store(plan)
    assert "head" in store.params(naive.folder), "what another stage starts from is kept"


def test_features_of_the_readout_are_those_of_the_finetuned_student(tmp_path):
    from w2s_jax.pipeline.make import Workshop, feature_texts

    plan = make.experiment(tmp_path, methods={"naive": Method(), "probed": Method(readout="truth_probe")})
    run(plan)
    naive, readout = students(plan, "strong")
    workshop = Workshop(runner.open_store(plan), quiet())
    before = workshop.features(naive.learner, naive.task, feature_texts(readout), None)
    after = workshop.features(readout.learner, readout.task, feature_texts(readout), readout.body)
    assert np.abs(before.matrix - after.matrix).max() > 1e-3
    split = experiment.stage_splits(naive).predict["test"]
    head = workshop.store.params(naive.folder)["head"]["kernel"]
    probs = finetune.softmax(after.matrix[after.rows(split.texts)] @ head)
    np.testing.assert_allclose(probs, read(plan)(naive).for_split("test", split.ids), atol=1e-4)


def arrays(folder: Path, classes: int = 3, rows: int = 200, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    strong = rng.normal(0, 0.5, (rows, 6)) + 2 * np.eye(6)[labels]
    teacher = np.full((rows, classes), 0.2 / (classes - 1))
    said = np.where(rng.random(rows) < 0.3, rng.integers(0, classes, rows), labels)
    teacher[np.arange(rows), said] = 0.8
    path = folder / "vision.npz"
    np.savez(path, labels=labels, dino=strong, alexnet=teacher)
    return path


def vision(path: Path, out: Path, **changes: object) -> Experiment:
    fields: dict = {
        "name": "vision",
        "tasks": (TaskConfig(str(path), supervisor=30, transfer=60, validation=30, test=60, balance=False),),
        "supervisors": {"alexnet": Given(f"{path}:alexnet")},
        "students": {"dino": Learner(f"{path}:dino", parameters="probe", epochs=30, optimizer=HEADS)},
        "methods": {"naive": Method()},
        "seeds": (0, 1),
        "out": str(out),
    }
    return Experiment(**{**fields, **changes})


def test_given_features_and_probabilities_of_any_number_of_classes(tmp_path):
    path = arrays(tmp_path)
    results = run(vision(path, tmp_path / "runs"))
    supervisor = np.mean([cell.scores["accuracy"]["supervisor"] for cell in results.cells])
    student = np.mean([cell.scores["accuracy"]["student"] for cell in results.cells])
    assert 0.7 < supervisor < 0.9
    assert student > supervisor
    with np.load(path) as content:
        said, labels = content["alexnet"].argmax(axis=1), content["labels"]
    split = materials.splits(vision(path, tmp_path).tasks[0], 0).test
    rows = [int(text[1:]) for text in split.texts]
    assert results.cells[0].scores["accuracy"]["supervisor"] == pytest.approx((said[rows] == labels[rows]).mean())


def test_equal_tasks_of_two_names_are_both_measured(tmp_path):
    first = arrays(tmp_path)
    second = tmp_path / "again.npz"
    second.write_bytes(first.read_bytes())
    (task,) = vision(first, tmp_path).tasks
    tasks = (task, dataclasses.replace(task, name=str(second)))
    assert len(run(vision(first, tmp_path / "runs", tasks=tasks)).cells) == 4


def test_arrays_of_each_tasks_own_file(tmp_path):
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    paths = [arrays(folder, seed=seed).rename(folder / f"{folder.name}.npz") for seed, folder in enumerate(folders)]
    (task,) = vision(paths[0], tmp_path).tasks
    learner = Learner(":dino", parameters="probe", epochs=30, optimizer=HEADS)
    short = vision(
        paths[0],
        tmp_path / "runs",
        tasks=tuple(dataclasses.replace(task, name=str(path)) for path in paths),
        supervisors={
            "given": Given(":alexnet"),
            "ensemble": Ensemble((learner, learner)),
            "errors": Errors(learner),
        },
        students={"dino": learner},
    )
    whole = vision(paths[1], tmp_path / "runs")
    keys = {(cell.task, cell.supervisor, cell.seed): cell.stages["student"].key for cell in experiment.cells(short)}
    for cell in experiment.cells(whole):
        assert keys[cell.task, "given", cell.seed] == cell.stages["student"].key
    assert len(set(keys.values())) == len(keys) == 2 * 3 * 2
    assert len(run(short).cells) == len(keys)
    judged = dataclasses.replace(short, supervisors={"judge": Advised(learner, Learner("smollm2-135m"), "debate")})
    with pytest.raises(
        UserError, match="':dino' is an array of the task's own file, which judges of texts cannot read"
    ):
        [cell.stages["supervisor"].key for cell in experiment.cells(judged)]
    with pytest.raises(UserError, match=r"':alexnet' is an array of the task's own .npz file, which 'cities' is not"):
        list(experiment.cells(dataclasses.replace(short, tasks=(TaskConfig("cities"),))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"supervisors": {"x": Given("missing.npz:a")}}, "missing.npz does not exist"),
        ({"supervisors": {"x": Given("{path}:nothing")}}, "has no array 'nothing'; it holds: labels, dino, alexnet"),
        ({"supervisors": {"x": Given("{path}:dino")}}, "must be probabilities"),
        ({"students": {"x": Learner("{path}:dino", parameters="full")}}, "only a probe can learn from"),
    ],
)
def test_bad_arrays_are_one_line(tmp_path, change, message):
    path = arrays(tmp_path)
    ((field, makers),) = change.items()
    fixed = {
        name: dataclasses.replace(maker, **{key: value.format(path=path)})
        for name, maker in makers.items()
        for key, value in vars(maker).items()
        if (isinstance(value, str) and ".npz" in value) or "{path}" in str(value)
    }
    with pytest.raises(UserError, match=message):
        runner.run(vision(path, tmp_path / "runs", **{field: fixed}), quiet())


def pairs(folder: Path, rows: int = 160) -> str:
    """A task of two replies, of which the one with more good words is better."""
    source = make.reviews(folder / "replies.jsonl", rows)
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    good = [line["text"] for line in lines if line["label"]]
    bad = [line["text"] for line in lines if not line["label"]]
    file = folder / "pairs.py"
    file.write_text(
        "from w2s_jax.data.example import Example\n"
        "from w2s_jax.data.tasks import Task\n"
        "from w2s_jax.data.sources import BuiltIn\n"
        f"good, bad = {good!r}, {bad!r}\n"
        "def format(record):\n"
        "    i, label = record['i'], record['i'] % 2\n"
        "    both = (bad[i], good[i]) if label else (good[i], bad[i])\n"
        "    yield Example(f'p{i}', both, label, f'p{i}')\n"
        "records = lambda: ({'i': i} for i in range(min(len(good), len(bad))))\n"
        "task = Task('pairs', 'which is better?', BuiltIn(records, 'made here'), format)\n"
    )
    return f"{file}:task"


@pytest.mark.parametrize("parameters", ["probe", *make.slow("full")])
def test_reward_models_compare_two_replies(tmp_path, parameters):
    task = TaskConfig(pairs(tmp_path), supervisor=16, transfer=16, validation=8, test=16)
    plan = make.experiment(tmp_path, tasks=(task,))
    learners = {
        "supervisors": {"weak": dataclasses.replace(plan.supervisors["weak"], parameters=parameters)},
        "students": {"strong": dataclasses.replace(plan.students["strong"], parameters=parameters)},
    }
    plan = dataclasses.replace(plan, **learners)
    results = run(plan)
    assert all(0 <= cell.scores["accuracy"]["student"] <= 1 for cell in results.cells)
    if parameters == "full":
        kernel = runner.open_store(plan).params(students(plan, "strong")[0].folder)["head"]["kernel"]
        assert kernel.shape[-1] == 1, "one scalar a reply"


def test_a_killed_sweep_of_probes_ends_with_the_same_bits(tmp_path):
    """Some stages of every group are lost; the rest of the group decides their bits too, so they are fitted again."""
    import shutil

    plan = probes(tmp_path, methods={"naive": Method(), "confidence": Method("confidence"), "again": Method(rounds=2)})
    run(plan)
    expected = bits(plan)
    store = runner.open_store(plan)
    for stage in experiment.stages(plan)[::3]:
        shutil.rmtree(store.folder(stage.folder))
    run(plan)
    assert bits(plan) == expected


def test_a_sweep_makes_once_what_experiments_share(tmp_path):
    first = probes(tmp_path)
    second = dataclasses.replace(first, name="other", methods={"naive": Method(), "kl": Method("kl")})
    together = runner.all_stages([first, second])
    apart = [experiment.stages(plan) for plan in (first, second)]
    assert len(together) == len({stage.key for stages in apart for stage in stages}) < sum(map(len, apart))
    found, failures = runner.sweep([first, second], quiet())
    assert failures == []
    assert [results.name for results in found] == ["tiny", "other"]


def test_students_after_the_listed_pairs_are_links_of_chains_only(tmp_path):
    plan = probes(tmp_path, methods={"chain": Method(through=("middle",))})
    backwards = dict(reversed(plan.students.items()))
    last = next(name for name in backwards if name != "middle")
    order = {last: backwards[last], "middle": backwards["middle"]}
    (supervisor,) = plan.supervisors
    plan = dataclasses.replace(plan, students=order, pairs="listed")
    assert plan.model_pairs() == [(supervisor, last)]
    with pytest.raises(UserError, match="only go through"):
        dataclasses.replace(plan, methods={"naive": Method()})


def test_ladder_pairs_a_supervisor_with_itself_and_what_is_stronger(tmp_path):
    plan = probes(tmp_path)
    models = {**plan.supervisors, **plan.students}
    plan = dataclasses.replace(plan, supervisors=models, students=models, pairs="ladder")
    names = list(models)
    assert plan.model_pairs() == [(names[i], names[j]) for i in range(3) for j in range(i, 3)]


@pytest.mark.parametrize(
    ("make_method", "message"),
    [
        (lambda: Method(rounds=0), "rounds must be 1 or more"),
        (lambda: Method(through=("a",), rounds=2), "not both"),
        (lambda: Method(learn="ccs", rounds=2), "trains no student"),
        (lambda: Ensemble((Learner(),)), "two members or more"),
    ],
)
def test_methods_that_make_no_sense_are_refused(make_method, message):
    with pytest.raises(UserError, match=message):
        make_method()


def test_a_chain_through_an_unknown_student_is_refused(tmp_path):
    with pytest.raises(UserError, match="goes through 'nobody'"):
        probes(tmp_path, methods={"chain": Method(through=("nobody",))})
