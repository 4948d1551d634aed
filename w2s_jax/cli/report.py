"""`w2s report`: one page over finished runs."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Report(Command):
    name = "report"
    help = "write one HTML page over finished runs, and its figures as files"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folders", nargs="+", metavar="DIR", type=Path, help="a finished run, like runs/quickstart")
        parser.add_argument(
            "--out",
            type=Path,
            default=Path("report.html"),
            help="the page (default: report.html); its figures are written to report_figures next to it, as PNG, SVG "
            "and CSV",
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax import report

        print("\n".join(f"wrote {path}" for path in report.page(options.folders, options.out)))
        return OK
