"""Chess puzzles of Lichess: the best move as a class, and as a question about one move (Burns et al. 2023, A.2).

A puzzle is a position, the opponent's move, and the moves that win from there; the first of them is the best move.
"""

from collections.abc import Iterable, Iterator

from w2s_jax.data.example import Example, digest
from w2s_jax.data.records import Record, field, text_field
from w2s_jax.data.sources import Hub
from w2s_jax.data.tasks.base import TASKS, Card, Task
from w2s_jax.data.tasks.choice import candidates
from w2s_jax.runtime.errors import UserError

FILES = "abcdefgh"
COLUMNS = ("FEN", "Moves", "Rating")
_CARD = Card("CC0 1.0", 5_829_565)
_PUZZLES = Hub("Lichess/chess-puzzles", ("data/train-*.parquet",))


def _moves() -> Iterator[str]:
    """Every move of a queen or a knight on an empty board, and every promotion, in UCI notation."""
    squares = [(file, rank) for file in range(8) for rank in range(8)]
    for file, rank in squares:
        for to_file, to_rank in squares:
            across, up = abs(to_file - file), abs(to_rank - rank)
            if (across, up) != (0, 0) and (0 in (across, up) or across == up or {across, up} == {1, 2}):
                move = f"{FILES[file]}{rank + 1}{FILES[to_file]}{to_rank + 1}"
                yield move
                if (rank, to_rank) in ((6, 7), (1, 0)) and across <= 1:
                    yield from (move + piece for piece in "bnqr")


MOVES = tuple(sorted(_moves()))  # all 1,968 that a game can hold
_CLASS = {move: index for index, move in enumerate(MOVES)}


def best_move(record: Record) -> Iterable[Example]:
    """Which move wins? A class of `MOVES`, so that accuracy is the share of exact matches. Difficulty is the rating."""
    position, played, best = _puzzle(record)
    text = f"Position: {position}\nLast move: {played}\nBest move:"
    yield Example(digest(text), text, _CLASS[best], digest(position), _rating(record))


def is_best_move(record: Record) -> Iterable[Example]:
    """Is this the best move? It is, or is another legal one.

    Raises:
      UserError: python-chess is not installed, or the puzzle breaks the rules of chess.
    """
    try:
        import chess
    except ImportError as error:
        raise UserError("legal moves need python-chess: pip install 'w2s-jax[chess]'") from error
    position, played, best = _puzzle(record)
    try:
        board = chess.Board(position)
        board.push_uci(played)
        legal = sorted(move.uci() for move in board.legal_moves)
    except ValueError as error:
        raise UserError(f"{position!r}, {played}: {error}") from error
    if best not in legal:
        raise UserError(f"{best} is not legal after {played} in {position!r}")
    for example in candidates(board.fen(), best, legal, group=position, ask="Position"):
        yield example._replace(difficulty=_rating(record))


def _puzzle(record: Record) -> tuple[str, str, str]:
    position, moves = text_field(record, "FEN"), text_field(record, "Moves").split()
    if len(moves) < 2 or not _CLASS.keys() >= set(moves):
        raise UserError(f"Moves must be two moves or more in UCI notation, like 'e2e4 e7e5', not {' '.join(moves)!r}")
    return position, moves[0], moves[1]


def _rating(record: Record) -> float:
    value = field(record, "Rating")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(f"Rating must be a number, not {value!r}") from None


TASKS.register(
    Task(
        "chess",
        "which move wins the puzzle?",
        _PUZZLES,
        best_move,
        n_classes=len(MOVES),
        columns=COLUMNS,
        answers=MOVES,
        card=_CARD,
    )
)
TASKS.register(
    Task(
        "chess_two_way",
        "does this move win the puzzle?",
        _PUZZLES,
        is_best_move,
        columns=COLUMNS,
        card=_CARD,
    )
)
