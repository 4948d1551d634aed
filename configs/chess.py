"""Chess puzzles: is this the best move? A weak model's labels, and easy-to-hard generalization.

Linear heads on hidden states of SmolLM2-135M after layer 6 supervise those after layer 18, on puzzles of all ratings,
and where the supervisor sees only puzzles of Elo 1,200 or less and all else is harder (Burns et al. 2023, App. A.2
and C). There the paper's easy-to-hard comparison is the pair of a model with itself: its supervisor is the strong
model trained on easy truth, its ceiling the same model trained on hard truth. The first best move as one of the 1,968
moves of UCI notation is the task `chess`, for finetuning and far more puzzles: it needs `balance=False` and
`Method(Train("hard_labels"))`, as the paper's argmax moves.

Published: naive PGR from about 0, for the weakest supervisors, to more than 40% where the gap is small.

Hardware: a laptop; two CPU cores took about 10 minutes.
Command:  pip install 'w2s-jax[chess]'; w2s sweep configs/chess.py
Expect:   docs/results/methods.md.
"""

from w2s_jax import Experiment, Learner, Method, OptimizerConfig, TaskConfig, Train

SIZES = {"pool": 4000, "supervisor": 700, "transfer": 700, "validation": 200, "test": 700}

heads = OptimizerConfig(learning_rate=3e-3, weight_decay=0.3)
probe = {"parameters": "probe", "epochs": 10, "max_tokens": 1024, "too_long": "truncate", "optimizer": heads}
models = {f"smollm2-135m layer {n}": Learner("smollm2-135m", read_layer=n, **probe) for n in (6, 18)}

experiment = Experiment(
    name="chess",
    tasks=(TaskConfig("chess_two_way", **SIZES), TaskConfig("chess_two_way", **SIZES, easy=1200)),
    supervisors=models,
    students=models,
    methods={"naive": Method(), "hard labels": Method(Train("hard_labels"))},
    seeds=(0, 1, 2, 3, 4),
    pairs="ladder",
    keep_params=False,
)
