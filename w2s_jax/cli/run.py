"""`w2s run`: one experiment, from the supervisor to a report."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from w2s_jax.cli import base, experiments
from w2s_jax.cli.base import COMMANDS, FAILED, OK, Command

if TYPE_CHECKING:
    from w2s_jax.api import Run as Done
    from w2s_jax.config import Experiment
    from w2s_jax.runtime.tracking import Trackers


@COMMANDS.register
class Run(Command):
    name = "run"
    help = "run an experiment: supervisor, weak labels, student, ceiling, PGR"
    description = (
        "Runs the experiment of a config. What an earlier run computed is reused; a run that was stopped resumes."
    )
    epilog = "`w2s run CONFIG --fields` lists every field of the config and its flag."
    takes_overrides = True

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "config",
            metavar="CONFIG",
            help="a Python file that defines an `experiment`, or a name from `w2s configs`, such as quickstart",
        )
        parser.add_argument("--dry-run", action="store_true", help="list the stages and which are done; train nothing")
        base.add_methods(parser)
        base.add_reporting(parser)
        parser.add_argument(
            "--profile",
            nargs="?",
            type=Path,
            const=Path(),
            metavar="DIR",
            help="trace a few steps of every stage that trains with JAX's profiler (default DIR: <out>/<name>/profile)",
        )
        parser.add_argument(
            "--fields", action="store_true", help="list the config's fields, each with the flag that overrides it"
        )
        base.add_distributed(parser)

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.runtime import processes

        flags = ["--help"] if options.fields else overrides
        experiment = experiments.load(options.config, flags, options.method)
        if options.dry_run:
            return processes.lead(lambda: _print_stages(experiment))
        folder = experiment.folder
        traces = folder / "profile" if options.profile == Path() else options.profile
        reporter = experiments.reporter(options)
        with reporter.trackers.run(experiment.name, experiments.as_json(experiment), folder):
            (found,) = experiments.run([experiment], reporter, traces)
            return processes.lead(lambda: _report(found, folder, reporter.trackers))


def _print_stages(experiment: "Experiment") -> int:
    planned = experiments.planned([experiment])
    for name, title, state in experiments.stages(planned):
        print(f"{state:<8} {title}  [{name}]")
    print(experiments.remaining(planned))
    return OK


def _report(found: "Done", folder: Path, trackers: "Trackers") -> int:
    from w2s_jax import report

    experiments.print_failures(found.failures)
    if found.results is None:
        return FAILED
    changed = not report.is_written(found.files)
    written = report.write(found.results, folder) if changed else list(found.files)
    if changed:
        found.keep(folder, written)
    report.show(found.results)
    print("\n".join(f"{'wrote' if changed else 'unchanged:'} {path}" for path in written))
    trackers.finish(experiments.results_as_json(folder), written)
    return FAILED if found.failures else OK
