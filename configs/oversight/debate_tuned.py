"""Debaters trained by a judge's preferences, against themselves untrained.

SmolLM2-135M argues. Of two sampled arguments for one class the preferred one is that after which SmolLM2-135M as a
judge, asked, finds the class more probable, whether it is true or not. On such pairs of the transfer split it is
trained by DPO (Rafailov et al. 2023, arXiv 2305.18290; adapters). Then it debates against itself untrained, and a
linear head on MiniLM-L6 judges: Elo of both.

Published: Khan et al. 2024 (arXiv 2402.06782) choose arguments by a judge's preference, which makes debaters more
persuasive and judges of debates more accurate; Kenton et al. 2024 (2407.04622) find small effects.

Hardware: a laptop; two CPU cores take some minutes.
Command:  w2s run configs/oversight/debate_tuned.py
Expect:   two debaters' Elo in the report; it was not measured.
"""

from dataclasses import replace

from w2s_jax import (
    BestOf,
    Debated,
    Experiment,
    Learner,
    LoopSettings,
    Method,
    OptimizerConfig,
    Preference,
    Speaker,
    TaskConfig,
    Tuned,
)

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
judge, strong = Learner("minilm-l6", **probe), Learner("smollm2-135m", max_tokens=256)
sampled = Speaker(strong, tokens=20, temperature=0.8)
training = replace(
    strong,
    parameters="lora",
    preference=Preference("dpo", beta=0.1),
    batch_size=8,
    epochs=1,
    optimizer=OptimizerConfig(learning_rate=1e-3, warmup_fraction=0.1),
    loop=LoopSettings(evaluations=1),
)
tuned = Tuned(BestOf(sampled, strong, 2), training)

experiment = Experiment(
    name="debate_tuned",
    tasks=(TaskConfig("cities", supervisor=60, transfer=40, validation=10, test=68, pool=184),),
    supervisors={
        "alone": judge,
        "untrained": Debated(judge, (sampled,)),
        "trained": Debated(judge, (tuned,)),
        "trained against untrained": Debated(judge, (tuned, sampled)),
    },
    students={"smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe)},
    methods={"naive": Method()},
    seeds=(0,),
    keep_params=False,
)
