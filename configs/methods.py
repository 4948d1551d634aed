"""Every method of the field on seven tasks: MiniLM-L6 supervises SmolLM2-135M and Gemma 3 270M, linear heads, 5 seeds.

Losses, label transforms and rounds, each against naive learning with the same seeds, examples and order. What needs
several supervisors is in configs/ensembles.py, and what needs other texts in configs/unsupervised.py,
configs/prompting.py and configs/burns2023/error_structure.py.

Hardware: a laptop; two CPU cores took about 15 minutes with the features of configs/ladder.py cached.
Command:  W2S_ACCEPT_GEMMA_TERMS=1 w2s sweep configs/methods.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train, Transform

SIZES = {"pool": 2400, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}
TASKS = ("cities", "rotten_tomatoes", "sst2", "creak", "cola", "boolq", "mmlu")

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}


def work(*steps: str) -> Method:
    """Naive learning after these label transforms."""
    return Method(labels=tuple(Transform(step) for step in steps))


methods = {
    "naive": Method(),
    "hard labels": Method(Train("hard_labels")),
    "label smoothing": Method(Train("label_smoothing")),
    # Burns et al. 2023, section 4.3, with both of its coefficients, and the released code's variant.
    "confidence .5": Method(Train("confidence")),
    "confidence .75": Method(Train("confidence", {"alpha": 0.75})),
    "openai logconf": Method(Train("openai_logconf")),
    "product": Method(Train("product")),
    # EleutherAI 2024.
    "log-confidence": Method(Train("log_confidence")),
    "log-confidence balanced": Method(Train("log_confidence", {"balance": True})),
    "entropy": Method(Train("entropy")),
    "window": Method(Train("confidence_window")),
    "window, midweak": Method(Train("confidence_window", {"radius": "midweak"})),
    "strong-to-strong": Method(rounds=2),
    "kNN relabel": work("knn_relabel"),
    "kNN filter": work("knn_filter"),
    "logistic relabel": work("logistic_relabel"),
    "logistic filter": work("logistic_filter"),
    "TopoFilter": work("topo_filter"),
    # Follow-ups.
    "AdaptConf": Method(Train("adaptive_confidence")),
    "evidential": Method(Train("evidential")),
    "reverse KL": Method(Train("reverse_kl")),
    "reverse CE": Method(Train("reverse_cross_entropy")),
    "focal": Method(Train("focal")),
    "generalised CE": Method(Train("generalized_cross_entropy")),
    "symmetric CE": Method(Train("symmetric_cross_entropy")),
    "confident only": Method(labels=(Transform("confidence_filter", {"share": 0.5, "balanced": True}),)),
    "random half": work("random_rows"),
    "overlap": work("overlap_filter"),
    # Anthropic 2026.
    "overlap, four scores": work("overlap_score_filter"),
    "smoothed by out-of-fold probes": work("logistic_smooth"),
    "resampled": work("balanced_resample"),
}

experiment = Experiment(
    name="methods",
    tasks=tuple(TaskConfig(name, **SIZES) for name in TASKS),
    supervisors={"minilm-l6": Learner("minilm-l6", **probe)},
    students={
        "smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe),
        "gemma3-270m": Learner("gemma3-270m", read_layer=9, **probe),
    },
    methods=methods,
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
