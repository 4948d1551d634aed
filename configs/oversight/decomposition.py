"""Task decomposition: a weak judge labels the statements that examples consist of, and a formula combines its labels.

MiniLM-L6 says whether at least two of three statements about cities hold: of whole examples ("flat"), or of each
statement ("decomposed"), having learned as many labels of truth either way. SmolLM2-135M learns from both, with linear
heads, and judges likewise for comparison: there judge and student are one model. An example costs three labels of
statements, so "equal queries" takes a third of the examples.

Published: position papers only (Christiano et al. 1810.08575 propose it, Mai 2503.13621 calls it part-to-complete
generalization); no figures.

Hardware: a laptop; two CPU cores take about two minutes.
Command:  w2s run configs/oversight/decomposition.py
Expect:   docs/results/oversight.md: labels of statements, combined, are .11 above the same judge's of whole examples,
          and MiniLM-L6's student .05, or .04 at equal queries.
"""

from w2s_jax import Decomposed, Experiment, Learner, Method, OptimizerConfig, TaskConfig, Transform

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
judge = Learner("minilm-l6", **probe)
strong = Learner("smollm2-135m", read_layer=18, pooling="mean", **probe)

experiment = Experiment(
    name="decomposition",
    tasks=(TaskConfig("city_formulas", supervisor=500, transfer=1000, validation=100, test=500),),
    supervisors={
        "flat": judge,
        "decomposed": Decomposed(judge),
        "flat, strong judge": strong,
        "decomposed, strong judge": Decomposed(strong),
    },
    students={"smollm2-135m": strong},
    methods={
        "naive": Method(),
        "equal queries": Method(labels=(Transform("random_rows", {"share": 1 / 3}),)),
    },
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
