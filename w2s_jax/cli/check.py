"""`w2s check`: what a run would read and refuse, before it starts; of a config, or of a table of your own."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import base, experiments
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Check(Command):
    name = "check"
    help = "read a config, or a table of your own, and say what was understood and left out; train nothing"
    description = (
        "Reads every task of a config, draws the splits of every seed, and checks every stage as `w2s run` does before "
        "it starts; or reads one table or task. Prints which column is what, classes and their counts, what became of "
        "records, groups, lengths in characters and in the models' tokens, sizes of splits, and the first examples as "
        "each model reads them."
    )
    epilog = (
        "flags such as --seeds override the fields of the config; of a table, its task's: --columns text review, "
        "--classes ham spam, --source tfds, --test 200."
    )
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "config",
            metavar="CONFIG|TABLE",
            help="a Python file, or a name from `w2s configs`; or a table's file, folder or pattern, or a task's name",
        )
        base.add_methods(parser)
        parser.add_argument(
            "--model", action="append", default=[], help="of a table: whose tokens are counted; may be repeated"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        if experiments.is_config(options.config):
            found = experiments.checked(experiments.load(options.config, overrides, options.method))
        else:
            found = experiments.checked_task(options.config, overrides, options.model)
        print("\n".join(found))
        return OK
