"""A second round: the student that learned from a study's answers becomes the next study's assistant."""

import asyncio
import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from tests import tiny as make
from tests.test_answering import plan as text_plan
from tests.test_studied import studied
from tests.test_study_assistants import text_of
from w2s_jax import models
from w2s_jax.config import Method
from w2s_jax.data.task_data import TaskData
from w2s_jax.evaluation import export
from w2s_jax.study.assistants import Local, Message
from w2s_jax.supervisors import Studied


@pytest.mark.slow
def test_a_student_of_a_studys_answers_becomes_an_assistant(tmp_path):
    plan = text_plan(tmp_path, ("bad", "good"), methods={"naive": Method()})
    (task,) = plan.tasks
    (tmp_path / "study").mkdir()
    studied(tmp_path / "study", TaskData(task).examples)
    people = {"chat": Studied(str(tmp_path / "study"), "chat")}
    plan = dataclasses.replace(plan, supervisors=people, seeds=(0,), keep_params=True)
    results = make.run(plan)
    stage = Path(plan.out) / "stages" / results.cells[0].stages["student"]
    (folder,), _ = export.export(stage, tmp_path / "round2", plan.students["strong"].model)

    async def ask(model):
        voice = Local(str(model), temperature=1.0).open()
        try:
            return await text_of(voice, [Message("user", "the film was good")], tokens=8, seed=1)
        finally:
            await voice.close()

    before, after = (models.load(str(each)).params for each in (plan.students["strong"].model, folder))
    moved = jax.tree.map(lambda old, new: float(np.abs(old - new).max()), dict(before), dict(after))
    assert min(jax.tree.leaves(moved)) > 0
    assert asyncio.run(ask(folder)).strip()
