"""Reward models: MiniLM-L3 supervises MiniLM-L6 on which of two replies is better (HH, harmless), linear heads.

Each reply is scored by itself, and P(second is better) = sigmoid(difference), as in Burns et al. 2023, App. A.3, whose
own comparisons (ChatGPT's) are not public. Published: PGR of about 10%, almost never above 20%, 10 to 20 points more
with generative finetuning first: `Learner(generative=Generative())` on a decoder.

Hardware: a laptop; two CPU cores took about 6 minutes beside other work, for the features.
Command:  w2s sweep configs/reward.py
Expect:   docs/results/methods.md.
"""

from w2s_jax.config import Experiment, Method, TaskConfig
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}

experiment = Experiment(
    name="reward",
    tasks=(TaskConfig("hh_pairs", pool=2400, supervisor=680, transfer=680, validation=200, test=700),),
    supervisors={"minilm-l3": Learner("minilm-l3", **probe)},
    students={"minilm-l6": Learner("minilm-l6", **probe)},
    methods={"naive": Method(), "confidence": Method("confidence")},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
