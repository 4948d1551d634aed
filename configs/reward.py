"""Reward models: the ladder on which of two replies is better, linear heads, five seeds.

HH (harmless), and two tasks whose truth stronger models hold from pretraining: which of two statements about a city is
true, and which of two answers to a science question is right.

Each reply is scored by itself, and P(second is better) = sigmoid(difference), as in Burns et al. 2023, App. A.3, whose
own comparisons (ChatGPT's) are not public. Published: PGR of about 10%, almost never above 20%, 10 to 20 points more
with generative finetuning first: configs/burns2023/reward_generative.py.

Hardware: a laptop; two CPU cores took about 20 minutes, nearly all of it for the features of SmolLM2 and Gemma.
Command:  W2S_ACCEPT_GEMMA_TERMS=1 w2s sweep configs/reward.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"pool": 720, "supervisor": 200, "transfer": 200, "validation": 40, "test": 220}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 320, "too_long": "truncate", "optimizer": heads}

models = {
    "minilm-l3": Learner("minilm-l3", **probe),
    "minilm-l6": Learner("minilm-l6", **probe),
    "smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe),
    "gemma3-270m": Learner("gemma3-270m", read_layer=9, **probe),
}

experiment = Experiment(
    name="reward",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("hh_pairs", "cities_pairs", "sciq_pairs")),
    supervisors=models,
    students=models,
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
    pairs="ladder",
    keep_params=False,
)
