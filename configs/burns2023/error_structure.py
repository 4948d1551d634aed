"""Burns et al. 2023, App. E: supervisors of one accuracy whose errors have different structures.

Published (figures 25 and 26): errors that no student can simulate (independent of the text) leave students near their
ceilings; errors that are trivial to simulate are imitated, and PGR collapses; so does it when every prompt says what
the supervisor thinks. Here with linear heads: MiniLM-L6 and three simulated supervisors of its accuracy.

Hardware: a laptop; two CPU cores took about 5 minutes with the features of configs/ladder.py cached.
Command:  w2s sweep configs/burns2023/error_structure.py
Expect:   docs/results/methods.md: hints PGR 0, confirmed; on cities independent errors .37, real .29, on the longest
          and shortest texts .18 and .11, within noise; elsewhere no order. Independent errors are not corrected.
"""

from w2s_jax import Errors, Experiment, Learner, Method, OptimizerConfig, TaskConfig

SIZES = {"pool": 2400, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}
TASKS = ("cities", "sst2", "creak")

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}
weak = Learner("minilm-l6", **probe)

experiment = Experiment(
    name="error_structure",
    tasks=tuple(TaskConfig(name, **SIZES) for name in TASKS),
    supervisors={
        "real": weak,
        "independent": Errors(weak, "independent"),
        "longest": Errors(weak, "longest"),
        "shortest": Errors(weak, "shortest"),
    },
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={"naive": Method(), "hint": Method(hint=True)},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
