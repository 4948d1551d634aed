"""Weak-to-strong generalization with linear heads on frozen features: two tasks, five seeds, under two minutes.

Features of MiniLM-L6 and of SmolLM2-135M are computed once and cached; supervisor, students and ceiling are linear
heads on them, so a cell takes a fraction of a second.

Command:  w2s run configs/quickstart_probe.py
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)

experiment = Experiment(
    name="quickstart_probe",
    tasks=(
        TaskConfig("cities", supervisor=1000, transfer=1000, validation=200, test=800),
        TaskConfig("rotten_tomatoes", pool=2500, supervisor=800, transfer=800, validation=200, test=600),
    ),
    supervisors={"minilm-l6": Learner("minilm-l6", parameters="probe", epochs=10, optimizer=heads)},
    students={"smollm2-135m": Learner("smollm2-135m", parameters="probe", read_layer=18, epochs=10, optimizer=heads)},
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
)
