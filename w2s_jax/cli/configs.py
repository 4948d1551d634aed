"""`w2s configs`: the experiments that ship with the package."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import base
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Configs(Command):
    name = "configs"
    help = "list the experiments that ship with the package, which `w2s run NAME` and `w2s sweep NAME...` run"

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.runtime import packaged

        rows = [(name, packaged.summary(path)) for name, path in packaged.configs().items()]
        base.print_table(("name", "experiment"), rows)
        print("\n`w2s init FILE.py --like NAME` copies one to change it")
        return OK
