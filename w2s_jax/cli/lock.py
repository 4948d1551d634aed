"""`w2s lock`: the commits and hashes of everything that a config reads, for later runs to find the same."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli import experiments
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Lock(Command):
    name = "lock"
    help = "write down the commits and hashes of the data and models of a config, for later runs to find the same"
    description = (
        "Fetches every task and model of a config, and writes where each comes from: the Hub's commit, a package's or "
        "TFDS's version, and the SHA-256 of every file. A run with the flag --lock FILE, or with lock=FILE in its "
        "config, reads the Hub at these commits and refuses whatever is not what it was."
    )
    epilog = "flags such as --seeds override the fields of the config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("config", metavar="CONFIG", help="a Python file, or a name from `w2s configs`")
        parser.add_argument(
            "--to", type=Path, metavar="FILE", help="default: NAME.lock.json, NAME being the experiment's"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax import api
        from w2s_jax.pipeline import origins

        experiment = experiments.load(options.config, overrides)
        lock = api.lock(experiment)
        path = options.to or Path(f"{experiment.name}.lock.json")
        origins.write(lock, path)
        for name, origin in {**lock.tasks, **lock.models}.items():
            files = f", {len(origin.files)} file{'s' if len(origin.files) > 1 else ''}" if origin.files else ""
            print(f"{name}: {origin.describe()}{files}")
        for name in lock.open_ends():
            print(f"{name}: not covered, for its source says neither a version nor a file")
        print(f"wrote {path}; run with --lock {path}")
        return OK
