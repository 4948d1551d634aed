"""`w2s view`: look at runs in a browser."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class View(Command):
    name = "view"
    help = "look at runs in a browser: report, grid, cells, every example, and stages while they run"
    description = (
        "Serves a page over runs on this machine, or writes it as files that open from a disk or any web host. Runs "
        "that are still going on are shown as far as they are."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folders", nargs="+", metavar="RUN", type=Path, help="a run's folder, like runs/quickstart")
        parser.add_argument(
            "--bundle",
            type=Path,
            metavar="DIR",
            help="write the page as files instead; they hold the texts and ground truth of all test examples",
        )
        parser.add_argument("--port", type=int, default=8642, help="to serve on (default: %(default)s; 0: any)")

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        if options.bundle is None:
            from w2s_jax.view import server

            server.serve(options.folders, options.port)
            return OK
        from w2s_jax import view

        written = view.bundle(options.folders, options.bundle)
        print(f"wrote {written[0]} and {len(written) - 1} files that it needs")
        return OK
