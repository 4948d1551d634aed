"""Weak preferences, three students: a reward head, DPO and SimPO, on which of two answers is right.

MiniLM-L6 labels pairs of answers to one question; SmolLM2-135M learns from its soft labels, with a linear head on
one side, and on the other with adapters (LoRA), by its own probabilities: P(second is better) = sigmoid(difference of
scores), a score being that of DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7; with soft labels, conservative DPO:
Mitchell 2023) or of SimPO (Meng et al. 2024, arXiv 2405.14734, without its margin). Each has a ceiling of its own kind:
PGR compares with what the same score learns from the truth. In print, on other models and labels: weak-to-strong
deception (arXiv 2406.11431).

DPO begins at P = 1/2 for every pair, SimPO at what the pretrained model would rather say.

Hardware: a laptop; two CPU cores took over an hour. Replies as long as HH's (`--tasks.0.name hh_pairs`) want a GPU.
Command:  w2s sweep configs/dpo.py
Expect:   docs/results/methods.md. `--students.dpo.parameters full` trains all weights beside a frozen copy of them.
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, Preference, TaskConfig

SIZES = {"pool": 900, "supervisor": 240, "transfer": 200, "validation": 40, "test": 200}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
texts = {"max_tokens": 256, "too_long": "truncate"}
probe = {**texts, "parameters": "probe", "epochs": 10, "optimizer": heads}
adapters = {
    **texts,
    "parameters": "lora",
    "batch_size": 8,
    "epochs": 1,
    "optimizer": OptimizerConfig(learning_rate=1e-3, warmup_fraction=0.1),
    "loop": LoopSettings(evaluations=1),
}

experiment = Experiment(
    name="dpo",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("cities_pairs", "sciq_pairs", "openbookqa_pairs")),
    supervisors={"minilm-l6": Learner("minilm-l6", **probe)},
    students={
        "head": Learner("smollm2-135m", read_layer=18, **probe),
        "dpo": Learner("smollm2-135m", preference=Preference("dpo", beta=0.1), **adapters),
        "simpo": Learner("smollm2-135m", preference=Preference("simpo", beta=2.0), **adapters),
    },
    methods={"naive": Method()},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
