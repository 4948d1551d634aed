"""Burns et al. 2023, App. A.2 and section 4.3.1: the best move of a chess puzzle, written by a language model.

Supervisor, students and ceiling are finetuned as language models to continue a puzzle with its best move, which they
write by greedy decoding. The weak labels are those moves (hard labels, temperature 0), and accuracy is the share of
exact matches. The bootstrapping chain goes through the middle model, each step on puzzles of its own.

Published: naive PGR about 0 for the smallest supervisors, above 40% for small gaps, and falling as students grow;
bootstrapping clearly helps. Their models (GPT-4's family) and learning rates are not public. Recipe: 5 epochs, batches
of 32, no early stopping; 50,000 puzzles for the supervisor, 50,000 for each step of weak-to-strong, 5,000 to test on.
Their prompts are the moves of the game so far; puzzle files hold the position instead, so here it is that, as FEN, and
the last move.

Hardware: one GPU of 16 GB or more. A puzzle is about 70 tokens; SmolLM2 135M needs about 6e13 FLOPs for each epoch of
          1,000, so a stage of 50,000 x 5 is about 1.5e16: minutes on a GPU, days on two CPU cores.
Command:  w2s sweep configs/burns2023/chess.py, which reads 5 million puzzles from the Hub; or of your own file with the
          columns FEN, Moves, Rating: --tasks.0.source FILE --tasks.0.pool 10000 --tasks.0.supervisor 3000 ...
Expect:   not measured at this size. See "Chess" in docs/results/methods.md for chess at the size of two cores.
"""

from w2s_jax import Experiment, Learner, LoopSettings, Method, OptimizerConfig, TaskConfig


def player(model: str) -> Learner:
    return Learner(
        model,
        output="text",
        template="{text}",  # a puzzle ends with "Best move:"
        epochs=5,
        batch_size=32,
        max_tokens=160,
        dtype="bfloat16",
        optimizer=OptimizerConfig(learning_rate=2e-5),
        loop=LoopSettings(evaluations=1, select="final"),
    )


experiment = Experiment(
    name="burns2023_chess",
    tasks=(
        TaskConfig(
            "chess",
            pool=200_000,
            supervisor=50_000,
            transfer=100_000,  # two steps of 50,000 each
            validation=500,
            test=5000,
            balance=False,
        ),
    ),
    supervisors={"smollm2-135m": player("smollm2-135m")},
    students={
        "smollm2-360m": player("HuggingFaceTB/SmolLM2-360M"),
        "smollm2-1.7b": player("HuggingFaceTB/SmolLM2-1.7B"),
    },
    methods={"naive": Method(), "bootstrapping": Method(through=("smollm2-360m",))},
    keep_params=False,
)
