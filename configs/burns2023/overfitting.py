"""Burns et al. 2023, figures 7 and 13: students that train on overfit to the errors of their weak labels.

MiniLM-L3 (a linear head) supervises MiniLM-L6, fully finetuned for four epochs and measured twice in each. The page
shows accuracy on validation against truth over the steps, and what three ways of stopping give: at the end, at the best
against weak labels, and at the best against truth, which is cheating.

Published: accuracy of large students peaks within the first epoch and falls after it; the best checkpoint by truth is
above the last by some points of accuracy, early stopping by weak labels is in between.

Hardware: a laptop; two CPU cores took half an hour on a busy machine.
Command:  w2s sweep configs/burns2023/overfitting.py
Expect:   docs/results/methods.md: not confirmed at this size; agreement with weak labels rises, accuracy stays.
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig

EPOCHS = 4
SIZES = {"pool": 2000, "supervisor": 500, "transfer": 400, "validation": 200, "test": 600}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
finetuning = OptimizerConfig(learning_rate=2e-4, head_learning_rate=1e-2, warmup_fraction=0.1, schedule="constant")

experiment = Experiment(
    name="overfitting",
    tasks=tuple(TaskConfig(name, **SIZES) for name in ("rotten_tomatoes", "sst2")),
    supervisors={"minilm-l3": Learner("minilm-l3", parameters="probe", epochs=10, optimizer=heads)},
    students={
        "minilm-l6": Learner(
            "minilm-l6",
            epochs=EPOCHS,
            optimizer=finetuning,
            loop=LoopSettings(evaluations=2 * EPOCHS, select="final"),
        )
    },
    methods={"naive": Method()},
    seeds=(0, 1, 2),
    keep_params=False,
)
