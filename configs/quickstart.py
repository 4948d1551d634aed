"""A real supervisor teaches a real, stronger language model about the world's cities, in minutes on a laptop.

MiniLM-L6 (22.7 M, an encoder that knows little geography) is finetuned on ground truth and labels statements such as
"The city of Lyon is in France."; SmolLM2-135M, all of its weights, is finetuned on those labels.

Command:  w2s run configs/quickstart.py
"""

from w2s_jax.config import Experiment, Method, TaskConfig
from w2s_jax.train.learner import Learner
from w2s_jax.train.loop import LoopSettings
from w2s_jax.train.optimizer import OptimizerConfig

experiment = Experiment(
    name="quickstart",
    tasks=(TaskConfig("cities", supervisor=800, transfer=800, validation=200, test=500),),
    supervisors={
        "minilm-l6": Learner(
            "minilm-l6",
            max_tokens=64,
            epochs=2,
            optimizer=OptimizerConfig(learning_rate=2e-4, head_learning_rate=1e-2, warmup_fraction=0.1),
            loop=LoopSettings(evaluations=2),
        )
    },
    students={
        "smollm2-135m": Learner(
            "smollm2-135m",
            max_tokens=64,
            epochs=1,
            optimizer=OptimizerConfig(learning_rate=1e-4, head_learning_rate=1e-3, warmup_fraction=0.1),
            loop=LoopSettings(evaluations=1),
        )
    },
    methods={"naive": Method(), "confidence": Method("confidence")},
    seeds=(0, 1, 2),
    keep_params=False,
)
