"""The ladder: weak-to-strong generalization between every two models that need no hub, over seven tasks.

Linear heads on frozen features, five seeds. Every model supervises itself and every stronger one (`pairs="ladder"`);
a ceiling, a supervisor and a matrix of features are computed once, however many cells use them.

Hardware: a laptop; two CPU cores took about 40 minutes, nearly all of it for features, which are kept.
Command:  pip install -e '.[onnx,plot]'; W2S_ACCEPT_GEMMA_TERMS=1 w2s sweep configs/ladder.py
Expect:   docs/results/ladder.md. A positive PGR where the student knows more than its supervisor (cities), nothing
          where probes of these models know nothing (MMLU), and "undefined" where supervisor and ceiling are not apart.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

POOL = 2400
SIZES = {"pool": POOL, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}
TASKS = ("cities", "rotten_tomatoes", "sst2", "creak", "cola", "boolq", "mmlu")

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}

models = {
    "minilm-l3": Learner("minilm-l3", **probe),
    "minilm-l6": Learner("minilm-l6", **probe),
    "smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe),
    "gemma3-270m": Learner("gemma3-270m", read_layer=9, **probe),
}

experiment = Experiment(
    name="ladder",
    tasks=tuple(TaskConfig(name, **SIZES) for name in TASKS),
    supervisors=models,
    students=models,
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
    pairs="ladder",
    keep_params=False,
)
