"""`w2s models`: the models with a name."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import base
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Models(Command):
    name = "models"
    help = "list the models that a config can name"

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax import models

        rows = [
            (card.name, f"{card.parameters / 1e6:.1f} M", card.licence, card.description) for card in models.describe()
        ]
        base.print_table(("name", "parameters", "licence", "description"), rows)
        print("\nalso: a local folder with config.json and *.safetensors, a .gguf file, or a Hub id such as org/name")
        return OK
