"""GPT-2 XL taught by GPT-2, all weights trained, in Burns et al.'s recipe: 32 texts of up to 512 tokens a step.

Command:  w2s plan benchmarks/plan/gpt2_xl.py --topology v5e:2x2
Expect:   docs/results/plan.md
"""

from w2s_jax import Experiment, Learner, TaskConfig

experiment = Experiment(
    name="plan_gpt2_xl",
    tasks=(TaskConfig("boolq"),),
    supervisors={"gpt2": Learner("gpt2", dtype="bfloat16", remat="dots")},
    students={"gpt2-xl": Learner("gpt2-xl", dtype="bfloat16", remat="dots")},
)
