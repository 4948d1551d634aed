"""`w2s ask`: the examples that a supervisor labels, for people or programs to label."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli import experiments
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Ask(Command):
    name = "ask"
    help = "write the examples that a supervisor labels, for people or programs to label"
    description = (
        "Writes one line of JSON for every example. Add `label` (a class) or `probs` to each, and name the file in a "
        "config's supervisors: Given(FILE)."
    )
    epilog = "flags such as --seeds override the fields of the config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", metavar="CONFIG", help="the config whose tasks and seeds are asked about")
        parser.add_argument("--to", type=Path, required=True, metavar="FILE", help="a new .jsonl file")
        parser.add_argument("--advised", metavar="NAME", help="show the transcripts of this supervisor of the config")

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        experiment = experiments.load(options.config, overrides)

        from w2s_jax.pipeline import questionnaire
        from w2s_jax.runtime.progress import Reporter

        count = questionnaire.write(experiment, options.to, options.advised, Reporter())
        print(f"wrote {count} examples to {options.to}")
        return OK
