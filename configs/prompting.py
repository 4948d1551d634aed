"""Asking the strong model instead of training it: zero-shot, and after five examples with weak or with true labels.

MiniLM-L6 supervises linear heads on SmolLM2-135M, against SmolLM2-135M's own answers through its language-model head.

Published (Burns et al. 2023, figure 9): for the largest students, five-shot prompting with weak labels is about as good
as naive finetuning on them, or better; finetuning with the confidence loss is best.

Hardware: a laptop; two CPU cores took about 15 minutes.
Command:  w2s sweep configs/prompting.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, Prompt, TaskConfig, Train, Transform

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}
SIZES = {"supervisor": 500, "transfer": 200, "validation": 30, "test": 250}
ask = {"calibrate": True}

experiment = Experiment(
    name="prompting",
    tasks=tuple(TaskConfig(name, pool=2400, **SIZES) for name in ("cities", "rotten_tomatoes", "sst2")),
    supervisors={"minilm-l6": Learner("minilm-l6", **probe)},
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={
        "naive": Method(),
        "confidence": Method(Train("confidence")),
        # Anthropic 2026: the supervisor's labels as a noisy channel of the strong model's own zero-shot answers.
        "EM posterior": Method(labels=(Transform("em_posterior"),)),
        "zero-shot": Method(Prompt(**ask)),
        "5-shot weak": Method(Prompt(shots=5, **ask)),
        "5-shot truth": Method(Prompt(shots=5, shown="truth", **ask)),
    },
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
