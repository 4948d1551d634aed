"""Weak preferences, three students: a reward head, DPO and SimPO, on which of two replies is better (HH, harmless).

A small reward model labels pairs of replies; a language model learns from its soft labels, with a new head on one side,
and by its own probabilities on the other: P(second is better) = sigmoid(difference of scores), a score being that of
DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7; with soft labels, conservative DPO: Mitchell 2023) or of SimPO (Meng
et al. 2024, arXiv 2405.14734, without its margin). Each has a ceiling of its own kind: PGR compares with what the same
score learns from the truth. In print, on other models and labels: weak-to-strong deception (arXiv 2406.11431).

DPO begins at P = 1/2 for every pair, SimPO at what the pretrained model would rather say.

Hardware: one GPU of 16 GB or more; on two CPU cores, hours.
Command:  W2S_ACCEPT_GEMMA_TERMS=1 w2s run configs/dpo.py
Expect:   not measured here. `--students.dpo.parameters full` trains all weights beside a frozen copy of them.
"""

from w2s_jax.config import Experiment, Method, TaskConfig
from w2s_jax.models.preference import Preference
from w2s_jax.train.learner import Learner
from w2s_jax.train.optimizer import OptimizerConfig

texts = {"max_tokens": 320, "too_long": "truncate", "batch_size": 32}
adapters = {"parameters": "lora", "lora_rank": 16, "dtype": "bfloat16", "remat": "dots"}
student = {**texts, **adapters, "optimizer": OptimizerConfig(learning_rate=1e-4)}

experiment = Experiment(
    name="dpo",
    tasks=(TaskConfig("hh_pairs", pool=8000, supervisor=2000, transfer=4000, validation=400, test=1000),),
    supervisors={"smollm2-135m": Learner("smollm2-135m", **texts)},
    students={
        "head": Learner("gemma3-270m", **student),
        "dpo": Learner("gemma3-270m", preference=Preference("dpo", beta=0.1), **student),
        "simpo": Learner("gemma3-270m", preference=Preference("simpo", beta=2.0), **student),
    },
    methods={"naive": Method(), "confidence": Method("confidence")},
    seeds=(0, 1, 2),
)
