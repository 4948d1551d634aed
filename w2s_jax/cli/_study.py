"""What the verbs of `w2s study` share: the study that a config names."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from w2s_jax.study.config import Study


def add_config(parser: argparse.ArgumentParser) -> None:
    """`CONFIG` and `--out`."""
    parser.add_argument("config", metavar="CONFIG", help="a Python file that names a `study`, or a packaged config")
    parser.add_argument("--out", metavar="DIR", help="where the study's folder is (default: as the config says)")


def load(options: argparse.Namespace) -> "Study":
    """The study of the arguments that `add_config` adds.

    Raises:
      UserError: there is no such config, or it names no study.
    """
    import dataclasses

    from w2s_jax.runtime import packaged
    from w2s_jax.study import config

    study = config.load(str(packaged.find(options.config)))
    return study if options.out is None else dataclasses.replace(study, out=options.out)
