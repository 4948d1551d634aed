"""LoRA against training all weights and the head alone: MiniLM-L3 supervises MiniLM-L6, which is finetuned three ways.

Adapters of rank 8 on every linear map (Hu et al. 2022, arXiv 2106.09685), as EleutherAI's student has them by default.
Each way has a ceiling of its own: PGR compares with what the same adapters learn from the truth.

Published: no figure of LoRA and full finetuning under weak labels; for supervised finetuning, LoRA learns less and
forgets less (Biderman et al. 2024, arXiv 2405.09673).

Hardware: a laptop; two CPU cores took about half an hour.
Command:  w2s sweep configs/lora.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"pool": 2000, "supervisor": 500, "transfer": 400, "validation": 60, "test": 500}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)


def finetuned(parameters: str, learning_rate: float) -> Learner:
    return Learner(
        "minilm-l6",
        parameters=parameters,
        epochs=2,
        optimizer=OptimizerConfig(learning_rate=learning_rate, head_learning_rate=1e-2, warmup_fraction=0.1),
        loop=LoopSettings(evaluations=2),
    )


experiment = Experiment(
    name="lora",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("rotten_tomatoes", "sst2", "cities")),
    supervisors={"minilm-l3": Learner("minilm-l3", parameters="probe", epochs=10, optimizer=heads)},
    students={
        "all weights": finetuned("full", 2e-4),
        "LoRA": finetuned("lora", 2e-3),
        "head alone": Learner("minilm-l6", parameters="probe", epochs=10, optimizer=heads),
    },
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
