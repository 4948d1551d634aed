"""Debates that are debates: a judge who asks, a proposer and a critic, both orders, and debaters chosen by a judge.

SmolLM2-135M argues, asks and criticizes; linear heads on MiniLM-L6 judge, trained on ground truth with what was said.
Beside the judge alone: a debate, the same in the other order, and the mean of both; a debate in which the judge asks; a
consultancy, and a proposal with a critic, who is believed only where it classifies better than the judge alone; and
matches for Elo, of a sample against the best of two by the preference of SmolLM2-135M as a judge that is asked.
`debate_tuned` trains debaters by such preferences.

Published: Khan et al. 2024 (arXiv 2402.06782): stronger persuaders (best-of-n, critique and refinement, by the judge's
preference) make debate more accurate, 76% (LLM judges) and 88% (human); a judge who asks changes little. Debate Helps
Weak Judges (arXiv 2605.27483): a critic helps over a consultancy only where it classifies better than the judge, in
three of five pairs of models.

Hardware: a laptop; two CPU cores take about thirteen minutes.
Command:  w2s run configs/oversight/debate_protocols.py
Expect:   docs/results/oversight.md, "Debates of parts".
"""

from dataclasses import replace

from w2s_jax import (
    Asked,
    BestOf,
    Criticized,
    Debated,
    Ensemble,
    Experiment,
    Learner,
    Method,
    OptimizerConfig,
    Proposed,
    Questioned,
    Speaker,
    TaskConfig,
)

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
judge, strong = Learner("minilm-l6", **probe), Learner("smollm2-135m", max_tokens=256)
plain = Speaker(strong, tokens=20)
sampled = replace(plain, temperature=0.8)
best = BestOf(sampled, strong, 2)
debate = Debated(judge, (plain,))
swapped = replace(debate, swapped=True)

experiment = Experiment(
    name="debate_protocols",
    tasks=(TaskConfig("cities", supervisor=60, transfer=20, validation=30, test=68, pool=184),),
    supervisors={
        "alone": judge,
        "advisor, asked": Asked(strong),
        "debate": debate,
        "swapped": swapped,
        "both orders": Ensemble((debate, swapped)),
        "judge asks": replace(debate, protocol=Questioned(replace(plain, tokens=12))),
        "consultancy": replace(debate, protocol=Proposed()),
        "critic": replace(debate, protocol=Criticized(plain)),
        "best of 2": replace(debate, debaters=(sampled, best)),
    },
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={"naive": Method()},
    seeds=(0, 1, 2),
    keep_params=False,
)
