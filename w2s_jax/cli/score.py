"""`w2s score`: predictions against a vault."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Score(Command):
    name = "score"
    help = "score predictions against a vault: accuracy, AUROC, PGR; every submission counts"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("vault", metavar="VAULT", type=Path, help="a folder that `w2s seal` wrote")
        parser.add_argument(
            "predictions", metavar="FILE", type=Path, help="task, seed, id, and probs or label of every example"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.evaluation import sealed

        for found in sealed.score(options.vault, options.predictions):
            print(json.dumps(found._asdict()))
        return OK
