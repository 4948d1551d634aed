"""openai/weak-to-strong's sweep: GPT-2 sizes on SciQ, BoolQ, CosmosQA and Amazon polarity.

Published: `PUBLISHED` below, the "expected results" of its notebooks. PGRs are medians over pairs that also hold Qwen
models of 1.8B to 14B, which are left out here: give them to `models`. Its HH run is at chance and is left out: see the
task `hh`.
What it did and this does not: its logconf warm-up is wrong (`openai_logconf` is that loss as it ran; `confidence` is
the paper's), rows of one question land in both halves, rows longer than 1024 tokens are dropped, here truncated. In its
sweep ceilings train on the other half than transfers do (the supervisor's; in its older script on the same one); here
ceiling and student train on the same rows, so that PGRs are not the same quantity to the digit.

Hardware: one 80 GB GPU or 4 TPU v5e chips. Models and tasks come from the Hub.
Command:  w2s sweep configs/openai/sweep.py
Expect:   not measured here.
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, Published, TaskConfig, Train

SIZES = {"pool": 30000, "supervisor": 10000, "transfer": 10000, "validation": 500, "test": 5000}
BOOLQ = {"supervisor": 4000, "transfer": 4000, "validation": 400, "test": 1500}


def learner(name: str, learning_rate: float) -> Learner:
    """Adam without decay, warm-up or clipping, a cosine to 0; the last parameters are kept."""
    return Learner(
        name,
        epochs=2,
        batch_size=32,
        max_tokens=1024,
        too_long="truncate",
        remat="dots",
        optimizer=OptimizerConfig(learning_rate=learning_rate, clip_norm=None),
        loop=LoopSettings(select="final"),
    )


models = {
    "gpt2": learner("openai-community/gpt2", 5e-5),
    "gpt2-medium": learner("openai-community/gpt2-medium", 5e-5),
    "gpt2-large": learner("openai-community/gpt2-large", 1e-5),
    "gpt2-xl": learner("openai-community/gpt2-xl", 1e-5),
}

# Accuracies of gpt2, -medium, -large and -xl on ground truth, and the PGRs of xent and logconf.
EXPECTED = {
    "sciq": ((0.6363, 0.6856, 0.7257, 0.7303), 0.3322, 0.3102),
    "boolq": ((0.6606, 0.7030, 0.7067, 0.7503), 0.0484, -0.3545),
    "cosmos_qa": ((0.6845, 0.7076, 0.7356, 0.7551), 0.3518, 0.3693),
    "amazon_polarity": ((0.9416, 0.9530, 0.9576, 0.9595), 0.5757, 0.5207),
}
SOURCE = "openai/weak-to-strong, notebooks, expected results"
PUBLISHED = tuple(
    Published(accuracy, SOURCE, "read", "accuracy", "ceiling", task, student=student)
    for task, (accuracies, *_) in EXPECTED.items()
    for student, accuracy in zip(models, accuracies, strict=True)
) + tuple(
    Published(pgr, SOURCE, "plot", task=task, method=method, note="median over pairs with Qwen models up to 14B")
    for task, (_, *pgrs) in EXPECTED.items()
    for method, pgr in zip(("xent", "logconf"), pgrs, strict=True)
)

experiment = Experiment(
    name="openai_sweep",
    tasks=(
        TaskConfig("sciq", **{**SIZES, "pool": 23000, "test": 2000}),
        TaskConfig("boolq", **BOOLQ),
        TaskConfig("cosmos_qa", **SIZES),
        TaskConfig("amazon_polarity", **SIZES),
    ),
    supervisors=models,
    students=models,
    methods={
        "xent": Method(),
        "logconf": Method(Train("openai_logconf")),
        "confidence": Method(Train("confidence")),
        "product": Method(Train("product")),
    },
    pairs="ladder",
    keep_params=False,
    published=PUBLISHED,
)
