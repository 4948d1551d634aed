"""`w2s sweep`: several experiments as one grid."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_jax.cli import base, experiments
from w2s_jax.cli.base import COMMANDS, FAILED, OK, Command
from w2s_jax.runtime.errors import UserError

if TYPE_CHECKING:
    from w2s_jax.api import Run
    from w2s_jax.config import Experiment
    from w2s_jax.runtime.tracking import Trackers


@COMMANDS.register
class Sweep(Command):
    name = "sweep"
    help = "run several experiments as one grid: what they share is computed once and reused"
    description = (
        "Runs the experiments of several configs as one list of stages, and writes the results of each. Start the same "
        "command again to resume, or in several processes on one folder to share the work."
    )
    epilog = "flags such as --seeds override the fields of every config."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "configs",
            nargs="+",
            metavar="CONFIG",
            help="Python files that each define an `experiment`, or packaged names",
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="count the stages and estimate the time; train nothing"
        )
        base.add_reporting(parser)
        base.add_distributed(parser)

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.runtime import processes

        grid = [experiments.load(config, overrides) for config in options.configs]
        names = [experiment.name for experiment in grid]
        if len(set(names)) < len(names):
            raise UserError(f"experiments of one sweep need different names, not {', '.join(names)}")
        processes.lead(lambda: print(experiments.remaining(experiments.planned(grid))))
        if options.dry_run:
            return OK
        reporter = experiments.reporter(options)
        fields = {experiment.name: experiments.as_json(experiment) for experiment in grid}
        with reporter.trackers.run("+".join(names), fields, Path(grid[0].out)):
            runs = experiments.run(grid, reporter)
            return processes.lead(lambda: _report(grid, runs, reporter.trackers))


def _report(grid: "Sequence[Experiment]", runs: "Sequence[Run]", trackers: "Trackers") -> int:
    from w2s_jax import report

    failures = runs[0].failures
    experiments.print_failures(failures)
    folders: list[Path] = []
    written: list[Path] = []
    for experiment, run in zip(grid, runs, strict=True):
        if run.results is not None:
            folders.append(experiment.folder)
            mine = report.write(run.results, folders[-1])
            run.keep(folders[-1], mine)
            written += mine
    if folders:
        trackers.finish({folder.name: experiments.results_as_json(folder) for folder in folders}, written)
    print("\n".join(f"wrote {path}" for path in written))
    if folders:
        print(f"to look at all of them: w2s view {' '.join(map(str, folders))}")
    return FAILED if failures or len(folders) < len(grid) else OK
