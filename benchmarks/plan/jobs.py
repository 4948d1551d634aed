"""Short texts, as in a sweep: adapters on GPT-2 and Llama 3.2 1B, 32 texts of up to 64 tokens a step, for each job.

Commands: w2s plan benchmarks/plan/jobs.py --topology v5e:2x4 --jobs 1     (one after another, each over all chips)
          w2s plan benchmarks/plan/jobs.py --topology v5e:2x4 --jobs 8     (eight together)
Expect:   docs/results/plan.md
"""

from w2s_jax import Experiment, Learner, TaskConfig


def lora(model: str) -> Learner:
    return Learner(model, parameters="lora", dtype="bfloat16", lora_base="bfloat16", remat="dots", max_tokens=64)


experiment = Experiment(
    name="plan_jobs",
    tasks=(TaskConfig("boolq"),),
    supervisors={"gpt2": lora("gpt2")},
    students={"llama-3.2-1b": lora("llama-3.2-1b")},
)
