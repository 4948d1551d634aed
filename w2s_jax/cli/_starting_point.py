"""my_experiment: what it asks, and what you expect. `w2s configs` shows the first line of such a docstring.

A weak supervisor learns ground truth, a stronger student learns the supervisor's labels, and a ceiling, which is the
student's model, learns ground truth. The performance gap recovered (PGR) is how far the student gets from the
supervisor's accuracy (0) to the ceiling's (1).

Command:  w2s run my_experiment.py
Needs:    2 CPU cores, 3 GiB of memory, 180 MB of downloads at the first run; about two minutes.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

# How heads are trained. A `Learner` that trains all weights (parameters="full") wants a far smaller learning rate.
heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)

experiment = Experiment(
    name="my_experiment",  # results are written to runs/my_experiment
    # What is learned: names from `w2s tasks`, your own .jsonl, .csv or .parquet files, or my_file.py:my_task. The sizes
    # are examples: `supervisor` with ground truth, `transfer` with weak labels, `validation` and `test`.
    tasks=(TaskConfig("cities", supervisor=1000, transfer=1000, validation=200, test=800),),
    # Who labels, and who learns from the labels: names from `w2s models`, folders, .gguf files or Hub ids.
    # parameters: "probe" trains a head on frozen features, computed once; "head", "lora" and "full" train more.
    supervisors={"minilm-l6": Learner("minilm-l6", parameters="probe", epochs=10, optimizer=heads)},
    students={"smollm2-135m": Learner("smollm2-135m", parameters="probe", read_layer=18, epochs=10, optimizer=heads)},
    # How the student learns; the first method is what the others are compared with. Your own loss is a function
    # (logits, targets) -> one value per example, and is named like this: Method(Train("my_losses.py:my_loss")).
    methods={
        "naive": Method(),
        "confidence": Method(Train("confidence")),  # Burns et al. 2023, section 4.3
        "focal": Method(Train("focal")),
    },
    # Each seed draws its own splits, batch order and initial head; more seeds narrow the intervals.
    seeds=(0, 1, 2),
)
