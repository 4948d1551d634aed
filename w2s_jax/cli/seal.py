"""`w2s seal`: a finished run as a task for someone who must not see its test labels."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli import experiments
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Seal(Command):
    name = "seal"
    help = "hide a run's test labels: texts and weak labels for a worker, and a vault that scores predictions"
    description = (
        "Splits a finished run into a table for someone (or some program) that works on a method, and a vault with "
        "the ground truth and fixed baselines. Keep the vault where the worker cannot read it."
    )
    epilog = "flags such as --seeds override the fields of the config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "config", metavar="CONFIG", help="the config of a run whose supervisors and ceilings are finished"
        )
        parser.add_argument(
            "--worker", type=Path, required=True, metavar="DIR", help="a new folder, without any ground truth"
        )
        parser.add_argument("--vault", type=Path, required=True, metavar="DIR", help="a new folder")
        parser.add_argument(
            "--budget", type=int, default=1, help="how many submissions may ever be scored (default: 1)"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        experiment = experiments.load(options.config, overrides)

        from w2s_jax.evaluation import sealed

        sealed.seal(experiment, experiments.store(experiment), options.worker, options.vault, options.budget)
        print(f"wrote {options.worker / sealed.WORKER}\nwrote {options.vault / sealed.VAULT}")
        return OK
