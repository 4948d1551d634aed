"""The graph of stages: what cells and experiments share, what a stage's key is made of, and which pairs are cells."""

import dataclasses

import pytest

from tests import tiny as make
from w2s_jax import api
from w2s_jax.config import Method
from w2s_jax.models.preference import Preference
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages.base import learner_identity
from w2s_jax.students import CCS, Train
from w2s_jax.supervisors import Ensemble
from w2s_jax.train.learner import Learner


def keys(plan):
    return {stage.key for stage in make.stages(plan)}


def test_equal_stages_are_computed_once_whatever_they_are_called(finished, tmp_path):
    plan = finished.copy(tmp_path)
    store = api.open_store(plan)

    def written():
        return {path.parent.name: path.stat().st_mtime_ns for path in store.root.glob("*/manifest.json")}

    before = written()
    renamed = dataclasses.replace(
        plan,
        name="other",
        methods={"a": plan.methods["naive"], "b": plan.methods["confidence"]},
        students={"renamed": plan.students["strong"]},
    )
    assert [cell.method for cell in make.run(renamed).cells] == ["a", "b"]
    assert set(before) == {stage.name for stage in make.stages(plan)}
    assert written() == before
    assert len(list(store.root.iterdir())) == len(before)


def student(plan, **changes):
    return dataclasses.replace(plan, students={"strong": dataclasses.replace(plan.students["strong"], **changes)})


def confidence(plan, **options):
    return dataclasses.replace(plan, methods={"m": Method(Train("confidence", options))})


@pytest.mark.parametrize(
    ("change", "remade"),
    [
        (lambda e: dataclasses.replace(e, seeds=(1,)), 4),
        (lambda e: student(e, epochs=1), 3),
        (lambda e: student(e, loop=dataclasses.replace(e.students["strong"].loop, checkpoint_seconds=9.0)), 0),
        (lambda e: student(e, preference=Preference("dpo", 0.7)), 3),
        (lambda e: student(e, output="text", template="{text} is"), 3),
        (lambda e: confidence(e, alpha=0.75), 1),
        (lambda e: confidence(e, alpha=0.5), 0),
    ],
)
def test_a_stage_is_the_hash_of_what_decides_its_bits(tiny, change, remade):
    assert len(keys(change(tiny)) - keys(tiny)) == remade


def test_changed_weights_or_data_change_the_stages(tmp_path):
    first = keys(make.experiment(tmp_path / "a"))
    assert first == keys(make.experiment(tmp_path / "b")), "paths do not count"
    plan = make.experiment(tmp_path / "c")
    make.llama(tmp_path / "c" / "strong", seed=2)
    assert len(keys(plan) - first) == 3
    plan = make.experiment(tmp_path / "d")
    file = tmp_path / "d" / "reviews.jsonl"
    file.write_text(file.read_text().replace("good", "film"))
    assert not keys(plan) & first


def test_what_a_score_of_preferences_is_decides_the_stage(tmp_path):
    plain = Learner(str(make.llama(tmp_path / "m")))
    preferences = [Preference(score, beta) for score, beta in (("dpo", 0.7), ("simpo", 2.0), ("dpo", 0.1))]
    found = [learner_identity(dataclasses.replace(plain, preference=each))["preference"] for each in preferences]
    assert found == [{"score": each.score, "beta": each.beta} for each in preferences]
    assert learner_identity(plain)["preference"] is None


def test_what_a_model_is_told_decides_the_stages_of_those_that_are_told(tmp_path):
    """Names of classes count for a learner that writes them, and for no other."""
    plan = make.experiment(tmp_path)
    writes = student(plan, output="text", template="{text} is")
    for stage in [*make.stages(plan), *make.stages(writes)]:
        told = stage.learner.output == "text"
        assert (stage.identity["asking"] is not None) == told
        assert stage.answers == (stage.task.answers if told else ("0", "1")), "who is not told gets numbers"


def test_a_sweep_computes_once_what_experiments_share(probe_folder):
    first = make.probes(probe_folder)
    second = dataclasses.replace(first, name="other", methods={"naive": Method(), "kl": Method(Train("kl"))})
    together = api.Planned([first, second]).stages
    apart = [make.stages(plan) for plan in (first, second)]
    assert len(together) == len({stage.key for stages in apart for stage in stages}) < sum(map(len, apart))
    found = api.sweep([first, second], make.quiet())
    assert [each.failures for each in found] == [[], []]
    assert [each.results.name for each in found] == ["tiny", "other"]


def test_experiments_of_one_sweep_have_one_folder(tiny):
    with pytest.raises(UserError, match="one `out`, one `mesh`, and one `jobs`"):
        api.sweep([tiny, dataclasses.replace(tiny, out="elsewhere")], make.quiet())


def test_students_after_the_listed_pairs_are_links_of_chains_only(tmp_path):
    plan = make.probes(tmp_path, methods={"chain": Method(through=("middle",))})
    order = {name: plan.students[name] for name in ("strong", "middle")}
    (supervisor,) = plan.supervisors
    plan = dataclasses.replace(plan, students=order, pairs="listed")
    assert plan.model_pairs() == [(supervisor, "strong")]
    with pytest.raises(UserError, match="only go through"):
        dataclasses.replace(plan, methods={"naive": Method()})


def test_ladder_pairs_a_supervisor_with_itself_and_what_is_stronger(tmp_path):
    plan = make.probes(tmp_path)
    models = {**plan.supervisors, **plan.students}
    plan = dataclasses.replace(plan, supervisors=models, students=models, pairs="ladder")
    names = list(models)
    assert plan.model_pairs() == [(names[i], names[j]) for i in range(3) for j in range(i, 3)]


@pytest.mark.parametrize(
    ("make_method", "message"),
    [
        (lambda: Method(rounds=0), "rounds must be 1 or more"),
        (lambda: Method(through=("a",), rounds=2), "not both"),
        (lambda: Method(CCS(), rounds=2), "trains no student"),
        (lambda: Method("confidence"), "is no way to learn"),
        (lambda: Ensemble((Learner(),)), "two members or more"),
    ],
)
def test_methods_that_make_no_sense_are_refused(make_method, message):
    with pytest.raises(UserError, match=message):
        make_method()


def test_a_chain_through_an_unknown_student_is_refused(tmp_path):
    with pytest.raises(UserError, match="goes through 'nobody'"):
        make.probes(tmp_path, methods={"chain": Method(through=("nobody",))})
