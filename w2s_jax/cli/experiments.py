"""Experiments as commands get them: found, loaded, overridden; and every call into the pipeline."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_jax.runtime import packaged, references

if TYPE_CHECKING:
    from w2s_jax.api import Planned, Run
    from w2s_jax.config import Experiment, Method
    from w2s_jax.pipeline.schedule import Failure
    from w2s_jax.pipeline.store import Store
    from w2s_jax.runtime.progress import Reporter


def load(reference: str, overrides: Sequence[str] = (), methods: Sequence[str] = ()) -> "Experiment":
    """The experiment of a config, with more methods and other values from the command line.

    Args:
      reference: a Python file, or the name of a config that ships with the package.
      overrides: flags for fields; `--help` lists them and exits.
      methods: losses, each a method of its own after the config's.

    Raises:
      UserError: there is no such config, or it is not valid.
      SystemExit: a flag is unknown or has no valid value.
    """
    import tyro

    from w2s_jax import config

    experiment = config.load(str(packaged.find(reference)))
    experiment = dataclasses.replace(experiment, methods={**experiment.methods, **_methods(methods)})
    experiment = tyro.cli(
        tyro.conf.AvoidSubcommands[config.Experiment],
        default=experiment,
        args=list(overrides),
        prog=f"w2s run {reference}",
        description=f"Fields of {reference}, with its values as defaults.",
    )
    _use_compilation_cache()
    if experiment.lock is not None:
        from w2s_jax.pipeline import origins

        origins.pin([origins.read(Path(experiment.lock))])
    return experiment


def _methods(losses: Sequence[str]) -> dict[str, "Method"]:
    from w2s_jax.config import Method
    from w2s_jax.losses import LOSSES
    from w2s_jax.students import Train

    found: dict[str, Method] = {}
    for loss in losses:
        references.find(loss, LOSSES)  # raises where there is none
        parts = references.split(loss)
        found[loss if parts is None else parts[1]] = Method(Train(loss))
    return found


def _use_compilation_cache() -> None:
    """Compiled programs outlive the process, so that a second start compiles nothing."""
    import jax

    from w2s_jax.runtime.downloads import cache_folder

    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


def run(experiments: Sequence["Experiment"], reporter: "Reporter", traces: Path | None = None) -> "list[Run]":
    """What became of each experiment."""
    from w2s_jax import api

    return api.sweep(experiments, reporter, traces=traces)


def store(experiment: "Experiment") -> "Store":
    """The finished stages of the experiment's output folder."""
    from w2s_jax import api

    return api.open_store(experiment)


def as_json(experiment: "Experiment") -> Mapping[str, Any]:
    """Its fields as JSON values."""
    from w2s_jax import serialize

    fields: Mapping[str, Any] = serialize.to_json(experiment)
    return fields


def results_as_json(folder: Path) -> Mapping[str, Any]:
    """What was written to results.json."""
    from w2s_jax.evaluation import storage
    from w2s_jax.runtime import files

    found: Mapping[str, Any] = files.read_json(folder / storage.FILE)
    return found


def planned(experiments: Sequence["Experiment"]) -> "Planned":
    """Their stages, of which nothing is computed yet."""
    from w2s_jax import api

    return api.Planned(experiments)


def stages(planned: "Planned") -> list[tuple[str, str, str]]:
    """Every stage: its folder, what cells call it with its title, and whether it is done, started, failed or to do."""
    names = planned.display_names()

    def title(name: str, title: str) -> str:
        return f"{names[name]}: {title}" if name in names else title

    return [(stage.name, title(stage.name, stage.title), state) for stage, state in planned.status()]


def checked(experiment: "Experiment") -> list[str]:
    """What a run would read, in lines.

    Raises:
      UserError: what would stop it.
    """
    from w2s_jax import api

    return api.check(experiment)


def is_config(reference: str) -> bool:
    """Whether a reference names a config, rather than a table or a task."""
    from w2s_jax.data.tasks import TASKS

    known = packaged.configs()
    table = Path(reference).exists() or ":" in reference or "*" in reference or Path(reference).suffix
    return reference.endswith(".py") or reference in known or (reference not in TASKS and not table)


def checked_task(name: str, overrides: Sequence[str], models: Sequence[str]) -> list[str]:
    """What a table or task is, in lines.

    Raises:
      UserError: it cannot be read.
      SystemExit: a flag is unknown or has no valid value.
    """
    import tyro

    from w2s_jax import api
    from w2s_jax.data.task_config import TaskConfig

    default = TaskConfig(name, shrink=True)
    task = tyro.cli(
        tyro.conf.AvoidSubcommands[TaskConfig],
        default=default,
        args=list(overrides),
        prog=f"w2s check {name}",
        description="What can be said about a table.",
    )
    return api.check_task(task, models)


def remaining(planned: "Planned") -> str:
    """How many stages there are and are left, and about how long these take, in one line."""
    from w2s_jax.pipeline.estimate import estimate
    from w2s_jax.runtime.progress import duration

    found = estimate(planned.stages, planned.store)
    left = found.stages - found.done
    about = f", about {duration(found.seconds)}" if left else ""
    together = planned.together()
    return f"{found.stages} stages: {found.done} done, {left} to do{about}" + (f"; {together}" if together else "")


def reporter(options: argparse.Namespace) -> "Reporter":
    """Reports on standard error and to the trackers, as `base.add_reporting` has it; of several processes, only in the
    first."""
    from w2s_jax import api

    return api.reporter(options.track, quiet=options.quiet, verbose=options.verbose, log_file=options.log_file)


def print_failures(failures: "Sequence[Failure]") -> None:
    """One line for each stage that failed, on standard error."""
    for failure in failures:
        print(f"failed: {failure.stage.title}: {failure.reason}", file=sys.stderr)
