"""Debate and consultancy: SmolLM2-135M argues, linear heads on MiniLM-L6 judge, and linear heads on SmolLM2 learn.

The judge alone, after a debate, after a consultancy, and after another example's debate (the control). All are trained
on the same ground truth; students read plain texts.

Published: Lang et al. 2025 (arXiv 2501.13124; 7B judges of 14B debaters, and ensembles of judges) find that debate
helps; Kenton et al. 2024 (2407.04622) find debate above consultancy, and above no advice only where the debaters know
what the judge cannot. Khan et al. 2024 (2402.06782): 76% (LLM judges) and 88% (human) after debates. Here the debaters
are small and argue untrained.

Hardware: a laptop; two CPU cores take about ten minutes.
Command:  w2s run configs/oversight/debate.py
Expect:   docs/results/oversight.md: supervisors at .58 alone, .63 after debates, .61 after consultancies, .52 shuffled.
"""

from dataclasses import replace

from w2s_jax import Advised, Experiment, Learner, Method, OptimizerConfig, Prompt, TaskConfig

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
judge = Learner("minilm-l6", **probe)
debate = Advised(judge, Learner("smollm2-135m"), "debate", tokens=20)

experiment = Experiment(
    name="debate",
    tasks=(TaskConfig("cities", supervisor=240, transfer=240, validation=60, test=240, pool=800),),
    supervisors={
        "alone": judge,
        "debate": debate,
        "consultancy": replace(debate, protocol="consultancy"),
        "shuffled debate": replace(debate, shuffled=True),
    },
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={"naive": Method(), "zero-shot": Method(Prompt())},
    seeds=tuple(range(10)),
    keep_params=False,
)
