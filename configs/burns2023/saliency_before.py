"""Before saliency.py: linear probes of MiniLM-L6 as it is, on MiniLM-L3's labels and (the ceiling) on the truth.

Tasks, sizes, seeds and supervisors are those of saliency.py, so that a sweep of both makes supervisors once.

Hardware: a laptop; seconds, and about a minute for features.
Command:  w2s sweep configs/burns2023/saliency.py configs/burns2023/saliency_before.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig

SIZES = {"pool": 2000, "supervisor": 500, "transfer": 400, "validation": 60, "test": 500}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}

experiment = Experiment(
    name="saliency_before",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("rotten_tomatoes", "sst2", "cities")),
    supervisors={"minilm-l3": Learner("minilm-l3", **probe)},
    students={"minilm-l6": Learner("minilm-l6", **probe)},
    methods={"naive": Method()},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
