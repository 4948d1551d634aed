"""Burns et al. 2023, section 5.2.2: generative finetuning before reward modelling, the paper's own case of it.

MiniLM-L6 and SmolLM2-135M supervise Gemma 3 270M on which of two replies is better (HH, harmless), as in
configs/reward.py: as it is, and finetuned first on the text of the transfer split's dialogues, without labels. The
ceiling has the step too. Linear heads read both. Students are not compared in `results.json`: compare their PGRs.

Published: 10 to 20 points of PGR more, from about 10%. Their comparisons (ChatGPT's) are not public.

Hardware: one GPU of 16 GB or more; on two CPU cores hours, nearly all of it finetuning 270M parameters on 400 texts of
          up to 320 tokens for each seed.
Command:  W2S_ACCEPT_GEMMA_TERMS=1 w2s sweep configs/burns2023/reward_generative.py
Expect:   not measured. With 220 test pairs all PGRs under MiniLM were undefined (docs/results/methods.md): take more.
"""

from dataclasses import replace

from w2s_jax import Experiment, Generative, Learner, Method, OptimizerConfig, TaskConfig, Train

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 320, "too_long": "truncate", "optimizer": heads}
strong = Learner("gemma3-270m", read_layer=9, **probe)

experiment = Experiment(
    name="reward_generative",
    tasks=(TaskConfig("hh_pairs", pool=720, supervisor=200, transfer=200, validation=40, test=220),),
    supervisors={
        "minilm-l6": Learner("minilm-l6", **probe),
        "smollm2-135m": Learner("smollm2-135m", read_layer=18, **probe),
    },
    students={
        "gemma3-270m": strong,
        "gemma3-270m, finetuned on text": replace(strong, generative=Generative(epochs=1, learning_rate=1e-4)),
    },
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2, 3, 4),
    keep_params=False,
)
