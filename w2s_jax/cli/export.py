"""`w2s export`: trained models as folders that transformers loads."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command
from w2s_jax.runtime.errors import UserError


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

        parser.add_argument(
            "--predictions",
            action="store_true",
            help="a run's test predictions and weak labels instead, as Parquet files that `datasets` loads",
        )
        parser.add_argument(
            "--push",
            metavar="ORG/NAME",
            help="also upload to the Hub, into a private repository; several stages go to ORG/NAME-STAGE",
        )
        parser.add_argument("--public", action="store_true", help="make new repositories public")

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.evaluation import export
        from w2s_jax.runtime import publish

        if options.adapters and options.predictions:
            raise UserError("--adapters are of models, --predictions are none; give one of them")
        if options.push is not None:
            publish.check(options.push)
        if options.predictions:
            written, folders = export.predictions(options.folder, options.out), [options.out]
        else:
            folders, refused = export.export(options.folder, options.out, options.model, adapters=options.adapters)
            written = folders
            for reason in refused:
                print(f"not exported: {reason}", file=sys.stderr)
        print("\n".join(f"wrote {path}" for path in written))
        kind: publish.Kind = "dataset" if options.predictions else "model"
        for folder in folders if options.push is not None else ():
            name = options.push if len(folders) == 1 else f"{options.push}-{folder.name}"
            print(f"pushed {publish.push(folder, name, kind, private=not options.public)}", flush=True)
        return OK
