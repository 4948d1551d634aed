"""Llama 3 70B with adapters, taught by Llama 3 8B: 64 texts of up to 512 tokens a step.

Command:  w2s plan benchmarks/plan/llama3_70b_lora.py --topology v5p:4x4x4
Expect:   docs/results/plan.md
"""

from w2s_jax import Experiment, Learner, MeshConfig, TaskConfig


def lora(model: str) -> Learner:
    return Learner(model, parameters="lora", lora_rank=16, batch_size=64, dtype="bfloat16", remat="full")


experiment = Experiment(
    name="plan_llama3_70b_lora",
    tasks=(TaskConfig("boolq"),),
    supervisors={"llama-3-8b": lora("llama-3-8b")},
    students={"llama-3-70b": lora("llama-3-70b")},
    mesh=MeshConfig(data=1, fsdp=-1),
)
