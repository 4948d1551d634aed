"""Asking the student in words, in the graph: with examples or without, and after generative finetuning."""

import dataclasses

import jax
import numpy as np
import pytest

from tests import tiny as make
from w2s_jax import api, models
from w2s_jax.config import Method
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Prompt
from w2s_jax.train import prompting
from w2s_jax.train.learner import Generative

ZERO_SHOT = Method(Prompt())
METHODS = {
    "naive": Method(),
    "zero-shot": ZERO_SHOT,
    "two-shot": Method(Prompt(shots=2, template="{text} is")),
    "two-shot truth": Method(Prompt(shots=2, shown="truth")),
    "EM": Method(labels=(Transform("em_posterior"),)),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of one model, as it is and after generative finetuning, asked and probed."""

    def build(folder):
        plan = make.probes(folder, methods=METHODS, seeds=(0,))
        plain = plan.students["strong"]
        adapted = dataclasses.replace(plain, generative=Generative(batch_size=8, learning_rate=1e-2))
        shallow = dataclasses.replace(adapted, read_layer=1)
        return dataclasses.replace(plan, students={"plain": plain, "adapted": adapted, "shallow": shallow})

    return make.finish(tmp_path_factory.mktemp("prompts"), build)


def stages(finished, method):
    """The student's stage, by student."""
    cells = make.cells(finished.experiment)
    return {cell.student: cell.stages["student"] for cell in cells if cell.method == method}


def answers(finished, stage):
    ids = stage.shown.predict["test"].ids
    predictions = make.read(finished.experiment)(stage)
    rows = [place for place, split in enumerate(predictions.splits) if split == "test"]
    assert [predictions.ids[place] for place in rows] == list(ids)
    return predictions.logits[rows]


def test_student_and_ceiling_start_from_one_body_that_saw_no_labels(finished):
    assert len(finished.results.cells) == len(METHODS) * 3
    for cell in make.cells(finished.experiment):
        student, ceiling = (cell.stages[role].body for role in ("student", "ceiling"))
        if cell.student == "plain":
            assert student is ceiling is None
            continue
        assert student.key == ceiling.key
        assert student.shown.train.labels is None
        assert student.shown.validation.labels is None


def test_only_truth_labelled_shots_see_truth(finished):
    for method in METHODS:
        for stage in stages(finished, method).values():
            assert (stage.shown.train.labels is not None) == (method == "two-shot truth")


@pytest.mark.parametrize("method", ["zero-shot", "two-shot"])
def test_after_generative_finetuning_the_adapted_parameters_answer(finished, method):
    """They answer otherwise than the published ones, and as they do outside the graph."""
    found = stages(finished, method)
    plain, adapted = (answers(finished, found[name]) for name in ("plain", "adapted"))
    assert np.abs(plain - adapted).max() > 1e-2
    stage, plan = found["adapted"], finished.experiment
    published = models.load(stage.learner.model)
    saved = api.open_store(plan).params(stage.body.name)["backbone"]
    pretrained = dataclasses.replace(published, params=jax.tree.map(np.asarray, saved))
    learning = stage.way
    labels = make.read(plan)(stage.teacher).for_split("transfer", stage.shown.train.ids).argmax(axis=1)
    shown = _shots(stage, labels) if learning.shots else []
    for start, expected in ((pretrained, adapted), (published, plain)):
        direct = prompting.Asking(stage.learner, start).logits(
            stage.shown.predict["test"].texts,
            shown,
            (" No", " Yes"),
            template=learning.template or stage.task.definition.templates[0],
        )
        np.testing.assert_allclose(direct, expected, atol=1e-4)


def _shots(stage, labels):
    from w2s_jax.students.prompt import _drawn

    rows = _drawn(labels, stage.way.shots, stage.seed)
    assert sorted(labels[rows]) == [0, 1], "one of each class"
    return [(stage.shown.train.texts[row], int(labels[row])) for row in rows]


def test_the_whole_model_is_asked_whatever_layer_a_probe_reads(finished):
    deep, shallow = (stages(finished, "zero-shot")[name] for name in ("adapted", "shallow"))
    assert shallow.learner.read_layer == 1
    np.testing.assert_allclose(answers(finished, deep), answers(finished, shallow), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shots": -1}, "0 shots or more"),
        ({"shown": "true"}, "weak or truth"),
        ({"template": "Well?"}, r"must hold \{text\}"),
    ],
)
def test_prompts_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Prompt(**fields)


def test_titles_tell_whose_labels_are_shown(finished):
    found = {method: stages(finished, method)["plain"].describe() for method in METHODS}
    assert found["zero-shot"].endswith("zero-shot prompt")
    assert found["two-shot"].endswith("prompt with 2 weak labels")
    assert found["two-shot truth"].endswith("prompt with 2 true labels")


def test_a_comparison_cannot_be_asked(tmp_path):
    task = make.TaskConfig(make.pairs(tmp_path), supervisor=16, transfer=16, validation=8, test=16)
    plan = make.probes(tmp_path, tasks=(task,), methods={"zero-shot": ZERO_SHOT})
    with pytest.raises(UserError, match="a comparison of two texts cannot be asked"):
        make.run(plan)
