"""`w2s study models`: what a model alone says of a study's questions."""

import argparse
import sys
from collections.abc import Sequence

from w2s_jax.cli import _study
from w2s_jax.cli.base import OK, Command
from w2s_jax.cli.study import VERBS


@VERBS.register
class StudyModels(Command):
    name = "models"
    help = "ask a model alone all of a study's questions: zero-shot, few-shot, best of n chains of thought"
    description = (
        "Writes models.parquet into the study's folder, for `w2s study report` to set people, model and both together "
        "beside each other. How the model is asked is the config's `unaided`."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        _study.add_config(parser)
        parser.add_argument(
            "--model", metavar="NAME", help="the model to ask (default: that of the config's `unaided`)"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.runtime import packaged, references
        from w2s_jax.study import unaided
        from w2s_jax.study.unaided import Alone, Unaided

        study = _study.load(options)
        if options.model is None:
            kind = references.named(str(packaged.find(options.config)), "unaided", Alone)
        else:
            kind = Unaided(options.model)
        path = unaided.write(study, kind, lambda said: print(said, file=sys.stderr, flush=True))
        print(f"wrote {path}")
        return OK
