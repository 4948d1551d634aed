"""`w2s study`: its verbs are commands of their own, in `cli/study_*.py`."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli.base import COMMANDS, EXIT_CODES, Command
from w2s_jax.runtime.registry import Registry

VERBS = Registry[type[Command]]("verb of `w2s study`")


@COMMANDS.register
class Study(Command):
    name = "study"
    help = "sandwiching studies: people or models that answer questions alone and with an assistant"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parsers = parser.add_subparsers(
            title="verbs", required=True, metavar="VERB", dest="verb", help=", ".join(VERBS)
        )
        for name, kind in VERBS.items():
            verb = kind()
            said = verb.description or f"{verb.help[:1].upper()}{verb.help[1:]}."
            epilog = f"{verb.epilog} {EXIT_CODES}".strip()
            verb.add_arguments(
                parsers.add_parser(name, help=verb.help, description=said, epilog=epilog, allow_abbrev=False)
            )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        return VERBS.find(options.verb)().run(options, overrides)
