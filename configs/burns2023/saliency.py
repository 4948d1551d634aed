"""Is the task more salient in a student that learned from weak labels? (Burns et al. 2023, section 5.2.3)

A linear probe on ground truth, on hidden states of MiniLM-L6: after naive finetuning on MiniLM-L3's labels, after
finetuning on them with the confidence loss, and full finetuning on the truth. Probes of the model as it is, on weak
labels and on truth (the ceiling), are in saliency_before.py.

Published order: probe on weak labels < probe on truth < finetuning on weak labels < a probe on truth after
finetuning on weak labels, about as good as finetuning on truth.

Hardware: a laptop; two CPU cores took about 15 minutes.
Command:  w2s sweep configs/burns2023/saliency.py configs/burns2023/saliency_before.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"pool": 2000, "supervisor": 500, "transfer": 400, "validation": 60, "test": 500}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
finetuned = Learner(
    "minilm-l6",
    epochs=2,
    optimizer=OptimizerConfig(learning_rate=2e-4, head_learning_rate=1e-2, warmup_fraction=0.1),
    loop=LoopSettings(evaluations=2),
)

experiment = Experiment(
    name="saliency",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("rotten_tomatoes", "sst2", "cities")),
    supervisors={"minilm-l3": Learner("minilm-l3", **probe)},
    students={"minilm-l6": finetuned},
    methods={
        "naive": Method(),
        "confidence": Method(Train("confidence")),
        "naive, then a probe on truth": Method(readout="truth_probe"),
        "confidence, then a probe on truth": Method(Train("confidence"), readout="truth_probe"),
    },
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
