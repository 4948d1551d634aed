"""An experiment as JSON is the very experiment again, and what cannot be is one line."""

import dataclasses
import json
from pathlib import Path

import pytest

from tests import tiny as make
from w2s_jax import api, config, serialize
from w2s_jax.config import Experiment, Method
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.evaluation import storage
from w2s_jax.label_transforms.transform import Transform
from w2s_jax.runtime import packaged, references
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Prompt, Train
from w2s_jax.supervisors import Decomposed, Ensemble, Errors, Given
from w2s_jax.train.learner import Learner

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in packaged.experiments().values())

MINE = """
from dataclasses import dataclass, field
import numpy as np
from w2s_jax import Learner, Supervisor, WayToLearn


@dataclass(frozen=True)
class Committee(Supervisor):
    members: tuple[Learner, ...]
    type: str = "any"
    size: int = field(init=False, default=0)

    def __post_init__(self):
        object.__setattr__(self, "size", len(self.members))

    def label(self, inputs):
        return {name: np.full((len(split), 2), 0.5, np.float32) for name, split in inputs.splits.items()}


@dataclass(frozen=True)
class Sure(WayToLearn):
    of: int = 1

    def learn(self, teaching):
        splits = {**teaching.lesson.predict, "validation": teaching.lesson.validation.split}
        return {name: np.tile(np.eye(2, dtype=np.float32)[self.of], (len(split), 1)) for name, split in splits.items()}


def loss(logits, targets, *, type="plain"):
    return ((logits - targets) ** 2).sum(axis=-1)


def transform(weak):
    return np.arange(len(weak)), weak


class Kept:
    inner = staticmethod(loss)
"""


@pytest.fixture
def mine(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def again(experiment: Experiment) -> Experiment:
    return serialize.experiment(json.loads(json.dumps(serialize.to_json(experiment))))


@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_is_rebuilt(path):
    experiment = config.load(str(ROOT / path))
    assert again(experiment) == experiment


def test_every_kind_of_value_is_rebuilt():
    learner = Learner("m", parameters="probe")
    supervisors = {
        "errors": Errors(Ensemble((learner, Given("labels.jsonl"))), "unsure"),
        "parts": Decomposed(learner),
    }
    methods = {
        "m": Method(Train("confidence", {"alpha": 0.5}), labels=(Transform("random_rows", {"share": 0.5}),)),
        "p": Method(Prompt(shots=2, template="{text}?")),
    }
    experiment = Experiment("e", (TaskConfig(),), supervisors, {"s": learner}, methods, seeds=(3,))
    assert again(experiment) == experiment
    assert repr(again(experiment)) == repr(experiment), "ints stay ints, tuples tuples"


def test_results_hold_the_experiment_that_gave_them(mine, tmp_path):
    plan = make.experiment(tmp_path)
    probe = dataclasses.replace(plan.students["strong"], parameters="probe")
    names = ("Committee", "Sure", "loss", "transform")
    committee, sure, loss, transform = (references.named(mine, name) for name in names)
    plan = dataclasses.replace(
        plan,
        supervisors={"ours": committee((probe, probe), type="own")},
        students={"strong": probe},
        methods={
            "sure": Method(sure(of=0)),
            "objects": Method(Train(loss, {"type": "plain"}), labels=(Transform(transform),)),
            "names": Method(Train(f"{mine}:loss", {"type": "plain"}), labels=(Transform(f"{mine}:transform"),)),
        },
    )
    api.run(plan, quiet=True)
    rebuilt = serialize.experiment(storage.load(Path(plan.out) / plan.name).config)
    assert rebuilt == plan
    assert type(rebuilt.supervisors["ours"]) is committee
    planned = api.Planned([rebuilt])
    assert [stage.name for stage in planned.stages] == [stage.name for stage in api.Planned([plan]).stages]
    assert {state for _, state in planned.status()} == {"done"}


@pytest.mark.parametrize("value", [lambda logits, targets: logits, object()])
def test_what_has_no_file_is_written_as_what_it_was(value):
    assert serialize.to_json(value) == repr(value)


def test_functions_and_classes_go_by_their_file(mine):
    kept = references.named(mine, "Kept")
    assert serialize.to_json(kept) == {"@reference": f"{mine}:Kept"}
    assert serialize.to_json(references.named(mine, "loss")) == {"@reference": f"{mine}:loss"}
    assert serialize.to_json({"f": [kept.inner]}) == {"f": [{"@reference": f"{mine}:loss"}]}


def test_what_cannot_be_rebuilt_is_one_line(mine):
    written = serialize.to_json(Learner("m"))
    cases = [
        ({**written, "@type": "Lerner"}, "unknown type 'Lerner'.*Learner"),
        ({**written, "speed": 3}, "Learner cannot be rebuilt from results: .*speed"),
        ({**written, "@type": f"{mine}:Nobody"}, "has no 'Nobody'"),
        ({**written, "@type": "gone.py:Kind"}, "gone.py does not exist"),
        (written, "is no experiment of this version"),
        ({}, "is no experiment of this version"),
    ]
    for value, message in cases:
        with pytest.raises(UserError, match=message) as error:
            serialize.experiment(value)
        assert "\n" not in str(error.value)
