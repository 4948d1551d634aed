"""`w2s export`: trained models as folders that transformers loads."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Export(Command):
    name = "export"
    help = "export the trained models of a stage or a run as folders that transformers loads"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", metavar="DIR", type=Path, help="a stage, like runs/stages/student-...; or a run")
        parser.add_argument("--out", type=Path, required=True, help="a new folder")
        parser.add_argument(
            "--model",
            help="the pretrained model that a stage started from, if its record has no name for it: a folder, file or "
            "Hub id",
        )

        parser.add_argument(
            "--adapters", action="store_true", help="what LoRA trained as PEFT adapters, without the model they are of"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.evaluation.export import export

        written, refused = export(options.folder, options.out, options.model, adapters=options.adapters)
        print("\n".join(f"wrote {path}" for path in written))
        for reason in refused:
            print(f"not exported: {reason}", file=sys.stderr)
        return OK
