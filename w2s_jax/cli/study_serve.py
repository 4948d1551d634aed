"""`w2s study serve`: the study in participants' browsers."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import _study
from w2s_jax.cli.base import OK, Command
from w2s_jax.cli.study import VERBS


@VERBS.register
class StudyServe(Command):
    name = "serve"
    help = "serve a study: a page for each participant, and one for the researcher"
    description = (
        "Serves a study and prints a link for each participant and one for the researcher. Everything is on disk at "
        "once: whatever stops it, the same command goes on where it was, with the same links."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _study.add_config(parser)
        parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
        parser.add_argument("--port", type=int, default=8643, help="to serve on (default: %(default)s; 0: any)")
        parser.add_argument(
            "--url", default="", help="what links begin with, as https://study.example.org (default: http://HOST:PORT)"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.study import serving

        serving.serve(_study.load(options), options.host, options.port, options.url)
        return OK
