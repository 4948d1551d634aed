"""Chess puzzles: the moves of UCI notation, and right and wrong moves that the rules allow."""

import pytest

from tests import tiny as make
from w2s_jax.config import Method
from w2s_jax.data import tasks
from w2s_jax.data.task_config import TaskConfig
from w2s_jax.data.tasks import lichess
from w2s_jax.runtime.errors import UserError
from w2s_jax.students import Train

chess = pytest.importorskip("chess")

MATE = {"FEN": "6k1/5ppp/8/8/8/8/5PPP/R5K1 b - - 0 1", "Moves": "h7h6 a1a8", "Rating": "700"}


def test_moves_are_all_that_a_game_can_hold():
    """Compared with the rules as python-chess plays them, from every square and over thousands of random moves."""
    assert len(lichess.MOVES) == len(set(lichess.MOVES)) == 1968
    possible = set()
    for square in chess.SQUARES:
        for piece in (chess.QUEEN, chess.KNIGHT):
            board = chess.Board(None)
            board.set_piece_at(square, chess.Piece(piece, chess.WHITE))
            possible |= {move.uci() for move in board.pseudo_legal_moves}
    for color, rank in ((chess.WHITE, 6), (chess.BLACK, 1)):
        for file in range(8):
            board = chess.Board(None)
            board.turn = color
            board.set_piece_at(chess.square(file, rank), chess.Piece(chess.PAWN, color))
            for side in (file - 1, file + 1):
                if 0 <= side < 8:
                    target = chess.square(side, rank + 1 if color else rank - 1)
                    board.set_piece_at(target, chess.Piece(chess.ROOK, not color))
            possible |= {move.uci() for move in board.pseudo_legal_moves if move.promotion}
    assert set(lichess.MOVES) == possible


def test_the_best_move_is_the_first_after_the_opponents():
    (example,) = lichess.best_move(MATE)
    assert lichess.MOVES[example.label] == "a1a8"
    assert example.text.endswith("Last move: h7h6\nBest move:")
    assert "a1a8" not in example.text
    assert example.difficulty == 700


def test_the_other_move_is_legal_and_both_rows_are_one_group():
    right, wrong = lichess.is_best_move(MATE)
    assert (right.label, wrong.label) == (1, 0)
    assert right.group == wrong.group
    board = chess.Board(MATE["FEN"])
    board.push_uci("h7h6")
    shown = wrong.text.rsplit(" ", 1)[1]
    assert shown != "a1a8"
    assert chess.Move.from_uci(shown) in board.legal_moves
    assert right.text == wrong.text.replace(shown, "a1a8")
    assert board.fen() in right.text, "the position after the opponent's move"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Moves": "h7h6"}, "two moves or more in UCI notation"),
        ({"Moves": "h7h6 Ra8#"}, "h7h6 Ra8#"),
        ({"Rating": "hard"}, "Rating must be a number, not 'hard'"),
    ],
)
def test_broken_puzzles_are_one_line(changes, says):
    for format in (lichess.best_move, lichess.is_best_move):
        with pytest.raises(UserError, match=says):
            list(format({**MATE, **changes}))


def test_moves_against_the_rules_are_one_line():
    with pytest.raises(UserError, match="a1a8 is not legal after h7h6"):
        list(lichess.is_best_move({**MATE, "FEN": "6k1/5ppp/8/8/8/8/5PPP/6K1 b - - 0 1"}))
    with pytest.raises(UserError, match="illegal uci"):
        list(lichess.is_best_move({**MATE, "Moves": "a7a6 a1a8"}))


def puzzles(path, count):
    """Positions of one rook and two kings; the rook goes to the eighth rank."""
    lines = []
    for index in range(count):
        file, rank = index % 5, 2 + index // 5 % 5
        board = chess.Board(None)
        for square, symbol in ((chess.square(file, rank), "R"), (chess.G1, "K"), (chess.H8, "k"), (chess.H6, "p")):
            board.set_piece_at(square, chess.Piece.from_symbol(symbol))
        board.turn = chess.BLACK
        board.fullmove_number = 1 + index
        start = chess.square_name(chess.square(file, rank))
        lines.append(f"{board.fen()},h6h5 {start}{start[0]}8,{800 + 10 * index}")
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
def test_a_file_without_a_header_and_easy_to_hard_in_the_graph(tmp_path):
    """1,968 classes, hard labels, and a supervisor that sees easy puzzles only."""
    source = str(puzzles(tmp_path / "puzzles.csv", 150))
    assert len(tasks.load("chess", source)) == 150
    sizes = {"supervisor": 32, "transfer": 32, "validation": 16, "test": 32}
    generation = TaskConfig("chess", source=source, **sizes, balance=False, easy=1250)
    two_way = TaskConfig("chess_two_way", source=source, **sizes)
    methods = {"hard labels": Method(Train("hard_labels"))}
    results = make.run(make.experiment(tmp_path, tasks=(generation, two_way), methods=methods))
    assert {cell.task for cell in results.cells} == {"chess, easy to hard", "chess_two_way"}
    assert {facts.n_classes for facts in results.tasks} == {2, 1968}
