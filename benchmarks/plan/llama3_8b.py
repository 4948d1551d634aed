"""Llama 3 8B taught by Llama 3.2 1B, all weights trained, 32 texts of up to 512 tokens a step.

Command:  w2s plan benchmarks/plan/llama3_8b.py --topology v5e:4x4
Expect:   docs/results/plan.md
"""

from w2s_jax import Experiment, Learner, MeshConfig, TaskConfig

experiment = Experiment(
    name="plan_llama3_8b",
    tasks=(TaskConfig("boolq"),),
    supervisors={"llama-3.2-1b": Learner("llama-3.2-1b", dtype="bfloat16", remat="full")},
    students={"llama-3-8b": Learner("llama-3-8b", dtype="bfloat16", remat="full")},
    mesh=MeshConfig(data=1, fsdp=-1),
)
