"""Which of several supervisors to believe: RAVEN's learned weights and co-supervised assignment, against the average.

Three readings of MiniLM-L6 (after 2, 4 and 6 layers) supervise SmolLM2-135M. Linear heads, five seeds.

Hardware: a laptop; two CPU cores took about 5 minutes with the features of configs/ensembles.py cached.
Command:  w2s sweep configs/learned_ensemble.py
Expect:   docs/results/methods.md.
"""

from dataclasses import replace

from w2s_jax import Ensemble, Experiment, Learner, Method, OptimizerConfig, TaskConfig, Transform

SIZES = {"pool": 2400, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}
TASKS = ("cities", "rotten_tomatoes", "sst2")

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}
weak = Learner("minilm-l6", **probe)

experiment = Experiment(
    name="learned_ensemble",
    tasks=tuple(TaskConfig(name, **SIZES) for name in TASKS),
    supervisors={"average": Ensemble((replace(weak, read_layer=2), replace(weak, read_layer=4), weak))},
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={
        "naive": Method(),
        "learned weights": Method(labels=(Transform("learned_weights"),)),
        "co-supervised": Method(labels=(Transform("assign"),), rounds=2),
    },
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
