"""Burns et al. 2023, section 5.2.2: generative finetuning of the strong model before it learns the task.

SmolLM2-135M is finetuned on the transfer split's text alone, without labels, and only then read by linear heads, those
of student and ceiling alike; compared with the same model as it is. MiniLM-L6 supervises both, three tasks, five seeds.

Published: for reward models 10 to 20 points of PGR more, the ceiling having the step too.

Hardware: a laptop; two CPU cores took about 20 minutes.
Command:  w2s sweep configs/burns2023/generative.py
Expect:   docs/results/methods.md.
"""

from dataclasses import replace

from w2s_jax import Experiment, Generative, Learner, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"pool": 2400, "supervisor": 500, "transfer": 250, "validation": 40, "test": 350}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
strong = Learner("smollm2-135m", read_layer=18, **probe)

experiment = Experiment(
    name="generative",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("cities", "rotten_tomatoes", "sst2")),
    supervisors={"minilm-l6": Learner("minilm-l6", **probe)},
    students={
        "smollm2-135m": strong,
        "smollm2-135m, finetuned on text": replace(strong, generative=Generative(epochs=1, learning_rate=1e-4)),
    },
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
