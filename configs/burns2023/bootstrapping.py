"""Burns et al. 2023, section 4.3.1: bootstrapping. A chain of students, each taught by the one before it.

MiniLM-L3 supervises Gemma 3 270M directly, through SmolLM2-135M, and through MiniLM-L6 and SmolLM2-135M. Every link of
a chain learns from its own part of the transfer split (the paper's fresh data for every step, chess), so the last one
sees a half or a third of the labels; the second method shows what that alone costs. Linear heads on frozen features.
Only Gemma is measured: a chain through a larger model back to a smaller one would be no bootstrapping.

Published: bootstrapping helps chess clearly, NLP barely, reward modelling not.

Hardware: a laptop; two CPU cores took about two minutes with the features of configs/ladder.py cached.
Command:  W2S_ACCEPT_GEMMA_TERMS=1 w2s sweep configs/burns2023/bootstrapping.py
Expect:   docs/results/methods.md. (The run there also measured the other three students.)
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Transform

SIZES = {"pool": 2400, "supervisor": 500, "transfer": 1050, "validation": 100, "test": 700}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}

models = {
    "minilm-l3": Learner("minilm-l3", **probe),
    "minilm-l6": Learner("minilm-l6", **probe),
    "smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe),
    "gemma3-270m": Learner("gemma3-270m", read_layer=9, **probe),
}

experiment = Experiment(
    name="bootstrapping",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("cities", "rotten_tomatoes", "sst2")),
    supervisors={"minilm-l3": models["minilm-l3"]},
    students={name: models[name] for name in ("gemma3-270m", "minilm-l6", "smollm2-135m")},
    pairs="listed",
    methods={
        "naive": Method(),
        "naive, a third of the examples": Method(labels=(Transform("random_rows", {"share": 1 / 3}),)),
        "through smollm2": Method(through=("smollm2-135m",)),
        "through minilm-l6 and smollm2": Method(through=("minilm-l6", "smollm2-135m")),
    },
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
