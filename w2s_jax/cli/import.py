"""`w2s import`: other people's results beside our own."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Import(Command):
    name = "import"
    help = "make results of a table of other people's accuracies or predictions"
    description = (
        "Reads a .csv, .jsonl or .parquet table with task, supervisor, student, method, seed, role (supervisor, "
        "student or ceiling), and accuracy; or, in its place, id, probs and label (the truth). Writes results.json, "
        "which `w2s view` shows beside other runs and `w2s compare` compares."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("table", metavar="TABLE", type=Path)
        parser.add_argument("--name", help="of the run (default: that of the file)")
        parser.add_argument(
            "--out", type=Path, default=Path("runs"), help="where the run's folder goes (default: runs)"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax import report
        from w2s_jax.evaluation import imported

        name = options.name or options.table.stem
        found, folder = imported.results(options.table, name), options.out / name
        imported.keep(options.table, folder)
        written = report.write(found, folder)
        report.show(found)
        print("\n".join(f"wrote {path}" for path in written))
        return OK
