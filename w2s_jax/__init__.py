"""Weak-to-strong generalization in JAX: the front door. Everything loads on first use, so that importing it is cheap.

>>> import w2s_jax as w2s
>>> results = w2s.run(w2s.load_experiment("quickstart_probe"))   # doctest: +SKIP
>>> results.to_frame()                                           # doctest: +SKIP

An experiment is data: `Experiment, TaskConfig, Learner, Method, Train, Prompt, CCS, Transform, ...`; kinds of
supervisors are `Advised, Asked, Debated, Decomposed, Ensemble, Errors, Given, Recursive, Studied`, and the parts of a
debate `TwoSided, Questioned, Speaker, BestOf, ...`. `run`, `sweep`, `load_experiment` and `load_results` do things;
`losses` and `metrics` are the functions themselves. To add something of your own, see `Supervisor`, `WayToLearn`,
`Loss`, `LabelTransform`, `Metric`, `Task` and `Tracker`.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from w2s_jax import losses as losses
    from w2s_jax import metrics as metrics
    from w2s_jax import models as models
    from w2s_jax.api import load_experiment as load_experiment
    from w2s_jax.api import load_results as load_results
    from w2s_jax.api import run as run
    from w2s_jax.api import sweep as sweep
    from w2s_jax.config import Experiment as Experiment
    from w2s_jax.config import MeshConfig as MeshConfig
    from w2s_jax.config import Method as Method
    from w2s_jax.config import Published as Published
    from w2s_jax.data.example import Example as Example
    from w2s_jax.data.task_config import TaskConfig as TaskConfig
    from w2s_jax.data.tasks import Task as Task
    from w2s_jax.evaluation.results import Results as Results
    from w2s_jax.label_transforms import LabelTransform as LabelTransform
    from w2s_jax.label_transforms.transform import Transform as Transform
    from w2s_jax.losses import Loss as Loss
    from w2s_jax.metrics import Metric as Metric
    from w2s_jax.models.preference import Preference as Preference
    from w2s_jax.runtime.errors import UserError as UserError
    from w2s_jax.runtime.tracking import Tracker as Tracker
    from w2s_jax.stages.student import WayToLearn as WayToLearn
    from w2s_jax.stages.supervise import Supervisor as Supervisor
    from w2s_jax.students import CCS as CCS
    from w2s_jax.students import Prompt as Prompt
    from w2s_jax.students import Train as Train
    from w2s_jax.supervisors import Advised as Advised
    from w2s_jax.supervisors import Asked as Asked
    from w2s_jax.supervisors import Debated as Debated
    from w2s_jax.supervisors import Decomposed as Decomposed
    from w2s_jax.supervisors import Ensemble as Ensemble
    from w2s_jax.supervisors import Errors as Errors
    from w2s_jax.supervisors import Given as Given
    from w2s_jax.supervisors import Recursive as Recursive
    from w2s_jax.supervisors import Studied as Studied
    from w2s_jax.supervisors.debates import BestOf as BestOf
    from w2s_jax.supervisors.debates import Criticized as Criticized
    from w2s_jax.supervisors.debates import Proposed as Proposed
    from w2s_jax.supervisors.debates import Questioned as Questioned
    from w2s_jax.supervisors.debates import Refined as Refined
    from w2s_jax.supervisors.debates import Speaker as Speaker
    from w2s_jax.supervisors.debates import Tuned as Tuned
    from w2s_jax.supervisors.debates import TwoSided as TwoSided
    from w2s_jax.train.learner import Generative as Generative
    from w2s_jax.train.learner import Learner as Learner
    from w2s_jax.train.loop import LoopSettings as LoopSettings
    from w2s_jax.train.optimizer import OptimizerConfig as OptimizerConfig

# Where each name lives; "" is a module itself.
_HOME = {
    "CCS": "students",
    "Advised": "supervisors",
    "Asked": "supervisors",
    "Debated": "supervisors",
    "Decomposed": "supervisors",
    "Ensemble": "supervisors",
    "Errors": "supervisors",
    "Example": "data.example",
    "Experiment": "config",
    "Generative": "train.learner",
    "Given": "supervisors",
    "LabelTransform": "label_transforms",
    "Learner": "train.learner",
    "WayToLearn": "stages.student",
    "LoopSettings": "train.loop",
    "Loss": "losses",
    "MeshConfig": "config",
    "Method": "config",
    "Metric": "metrics",
    "OptimizerConfig": "train.optimizer",
    "Preference": "models.preference",
    "Prompt": "students",
    "Published": "config",
    "Recursive": "supervisors",
    "Studied": "supervisors",
    "Results": "evaluation.results",
    "Supervisor": "stages.supervise",
    "Task": "data.tasks",
    "TaskConfig": "data.task_config",
    "Tracker": "runtime.tracking",
    "Train": "students",
    "Transform": "label_transforms.transform",
    "UserError": "runtime.errors",
    "BestOf": "supervisors.debates",
    "Criticized": "supervisors.debates",
    "Proposed": "supervisors.debates",
    "Questioned": "supervisors.debates",
    "Refined": "supervisors.debates",
    "Speaker": "supervisors.debates",
    "Tuned": "supervisors.debates",
    "TwoSided": "supervisors.debates",
    "load_experiment": "api",
    "load_results": "api",
    "losses": "",
    "metrics": "",
    "models": "",
    "run": "api",
    "sweep": "api",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'w2s_jax' has no attribute {name!r}")
    home = _HOME[name]
    module = importlib.import_module(f"w2s_jax.{home or name}")
    found = getattr(module, name) if home else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
