"""`w2s check`: what a run would read and refuse, before it starts."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import base, experiments
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Check(Command):
    name = "check"
    help = "read a config's tasks and models, and say what was merged or left out; train nothing"
    description = (
        "Reads every task, draws the splits of every seed, and checks every stage as `w2s run` does before it starts. "
        "Prints what became of each task's records, and how many texts each model would cut."
    )
    epilog = "flags such as --seeds override the fields of the config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", metavar="CONFIG", help="a Python file, or a name from `w2s configs`")
        base.add_methods(parser)

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        found = experiments.checked(experiments.load(options.config, overrides, options.method))
        print("\n".join(found))
        return OK
