"""Recursive reward models: what SmolLM2-135M argues to the judge is chosen, level by level, by the judge's own student.

A linear head on MiniLM-L6 judges statements on cities: alone; with an argument that SmolLM2-135M samples for an answer
drawn by chance (level 0); with the most persuasive of four (levels 1 and 2). What persuades, a reward model says: a
linear head on SmolLM2 that read the last level's arguments and learned the last level's labels; it never sees the
truth. Another example's chosen argument is the control. Students read plain texts.

Published: no clean implementation of recursive reward modelling (Leike et al. 2018, arXiv 1811.07871) with weak
supervisors was found. Nearest: critiques of critiques (Wen et al. 2025, 2502.04675), and Anthropic's automated
researchers (2026), whose `critic` is one level: PGR -.04, .26 and -.09, no gain over naive. Khan et al. 2024
(2402.06782) find that debaters optimized to persuade, by best-of-n too, make their judges more accurate.

Hardware: a laptop; two CPU cores take about fifteen minutes, half as long again on a busy machine.
Command:  w2s run configs/oversight/recursive.py
Expect:   docs/results/oversight.md: no gain. Supervisors at .58 alone, .57, .56 and .56 at levels 0 to 2, .52 shuffled.
"""

from dataclasses import replace

from w2s_jax import Advised, Experiment, Learner, Method, OptimizerConfig, Recursive, TaskConfig

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "optimizer": heads}
judge, strong = Learner("minilm-l6", **probe), Learner("smollm2-135m", read_layer=18, **probe)
consultancy = Advised(judge, Learner("smollm2-135m"), "consultancy", tokens=20, temperature=0.8)
# The state after a transcript's last token says hardly anything of the statement: all tokens' mean does.
level_1 = Recursive(consultancy, reward_model=replace(strong, pooling="mean"), candidates=4)

experiment = Experiment(
    name="recursive",
    tasks=(TaskConfig("cities", supervisor=240, transfer=240, validation=60, test=240, pool=800),),
    supervisors={
        "alone": judge,
        "level 0": consultancy,
        "level 1": level_1,
        "level 2": replace(level_1, level=2),
        "shuffled level 1": replace(level_1, advised=replace(consultancy, shuffled=True)),
    },
    students={"smollm2-135m": strong},
    methods={"naive": Method()},
    seeds=tuple(range(10)),
    keep_params=False,
)
