"""A real supervisor teaches a real, stronger language model about the world's cities, in minutes on a laptop.

MiniLM-L6 (22.7 M, an encoder that knows little geography) is finetuned on ground truth and labels statements such as
"The city of Lyon is in France."; SmolLM2-135M is finetuned on those labels, once naively and once with the confidence
loss of Burns et al. 2023 (section 4.3), and, as the ceiling, on ground truth. Three seeds, each with its own splits.

The student is read after its 20th of 30 layers, where it knows most about such facts (the layers above are not run),
and all weights below are trained.

Command:  w2s run configs/quickstart.py
Needs:    2 CPU cores, 6 GiB of memory, 180 MB of downloads at the first run; under 8 minutes.
Expect:   docs/results/quickstart.md
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig, Train

experiment = Experiment(
    name="quickstart",
    tasks=(TaskConfig("cities", supervisor=640, transfer=640, validation=100, test=500),),
    supervisors={
        "minilm-l6": Learner(
            "minilm-l6",
            max_tokens=64,
            epochs=2,
            optimizer=OptimizerConfig(learning_rate=2e-4, head_learning_rate=1e-2, warmup_fraction=0.1),
            loop=LoopSettings(evaluations=2),
        )
    },
    students={
        "smollm2-135m": Learner(
            "smollm2-135m",
            read_layer=20,
            max_tokens=64,
            epochs=1,
            batch_size=16,
            optimizer=OptimizerConfig(learning_rate=1e-4, head_learning_rate=1e-3, warmup_fraction=0.1),
            loop=LoopSettings(evaluations=1),
        )
    },
    methods={"naive": Method(), "confidence": Method(Train("confidence"))},
    seeds=(0, 1, 2),
    keep_params=False,
)
