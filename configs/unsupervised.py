"""What a strong model answers without weak labels: contrast-consistent search, against naive weak-to-strong learning.

CCS (Burns et al. 2022) finds a direction in hidden states on which a text with the answer yes and with the answer no
are opposites. Weak labels decide only which side of it means yes.

Hardware: a laptop; two CPU cores took about 10 minutes, for the hidden states of every text with both answers.
Command:  w2s sweep configs/unsupervised.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import CCS, Experiment, Learner, Method, OptimizerConfig, TaskConfig

SIZES = {"pool": 2400, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}
TASKS = ("cities", "sst2", "creak")

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}

experiment = Experiment(
    name="unsupervised",
    tasks=tuple(TaskConfig(name, **SIZES) for name in TASKS),
    supervisors={"minilm-l6": Learner("minilm-l6", **probe)},
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={"naive": Method(), "CCS": Method(CCS())},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
