"""Experiments as commands get them: found, loaded, overridden; and every call into the pipeline."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2s_jax.runtime import packaged, references

if TYPE_CHECKING:
    from w2s_jax.config import Experiment, Method
    from w2s_jax.evaluation.results import Results
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


def run(
    experiments: Sequence["Experiment"], reporter: "Reporter", traces: Path | None = None
) -> "tuple[list[Results | None], list[Failure]]":
    """The results of each experiment, None where no cell is complete; and the stages that failed."""
    from w2s_jax import api

    runs = api.sweep(experiments, reporter, traces=traces)
    return [each.results for each in runs], runs[0].failures


def store(experiment: "Experiment") -> "Store":
    """The finished stages of the experiment's output folder."""
    from w2s_jax import api

    return api.open_store(experiment)


def folder(experiment: "Experiment") -> Path:
    """Where its results and report are written."""
    return Path(experiment.out) / experiment.name


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


def stages(experiment: "Experiment") -> list[tuple[str, str, str]]:
    """Every stage: its folder, what cells call it with its title, and whether it is done, started, failed or to do."""
    from w2s_jax import api

    planned = api.Planned([experiment])
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


def remaining(experiments: Sequence["Experiment"]) -> str:
    """How many stages there are and are left, and about how long these take, in one line."""
    from w2s_jax import api
    from w2s_jax.pipeline.estimate import estimate
    from w2s_jax.runtime.progress import duration

    planned = api.Planned(experiments)
    found = estimate(planned.stages, planned.store)
    left = found.stages - found.done
    about = f", about {duration(found.seconds)}" if left else ""
    return f"{found.stages} stages: {found.done} done, {left} to do{about}"


def reporter(trackers: Sequence[str] = ()) -> "Reporter":
    """Reports on standard error and to the trackers; of several processes, only in the first."""
    from w2s_jax import api

    return api.reporter(trackers)


def print_failures(failures: "Sequence[Failure]") -> None:
    """One line for each stage that failed, on standard error."""
    for failure in failures:
        print(f"failed: {failure.stage.title}: {failure.reason}", file=sys.stderr)
