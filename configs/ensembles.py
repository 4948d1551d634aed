"""Several weak supervisors: three readings of MiniLM-L6 (after 2, 4 and 6 layers) supervise SmolLM2-135M.

Averaging, bagging and boosting (EnsemW2S) compared with the best single supervisor. Linear heads, five seeds. What
chooses among supervisors is in configs/learned_ensemble.py.

Hardware: a laptop; two CPU cores took about 10 minutes with the features of configs/ladder.py cached.
Command:  w2s sweep configs/ensembles.py
Expect:   docs/results/methods.md.
"""

from dataclasses import replace

from w2s_jax import Ensemble, Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"pool": 2400, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}
TASKS = ("cities", "rotten_tomatoes", "sst2")

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}
weak = Learner("minilm-l6", **probe)
readings = (replace(weak, read_layer=2), replace(weak, read_layer=4), weak)

experiment = Experiment(
    name="ensembles",
    tasks=tuple(TaskConfig(name, **SIZES) for name in TASKS),
    supervisors={
        "one": weak,
        "average": Ensemble(readings),
        "bagging": Ensemble((weak,) * 5, "bagging"),
        "boosting": Ensemble((weak,) * 5, "boosting"),
    },
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
