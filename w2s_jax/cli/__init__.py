"""`w2s`: arguments in, progress out. Results go to standard output, progress and errors to standard error."""

import argparse
import dataclasses
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from w2s_jax import __version__
from w2s_jax.runtime.errors import Interrupted, UserError

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

EPILOG = (
    f"exit codes: {OK} done, {FAILED} a stage failed, {BAD_INPUT} bad input, "
    f"{INTERRUPTED} interrupted (the same command goes on)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `w2s`. Returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options, overrides = _parse(arguments)

    from w2s_jax.runtime import processes

    try:
        if getattr(options, "distributed", False):
            processes.initialize()
        return options.command(options, overrides)
    except Interrupted as stop:
        return processes.end(INTERRUPTED, f"interrupted: {stop}")
    except KeyboardInterrupt:
        return processes.end(INTERRUPTED, "interrupted; the same command goes on")
    except UserError as error:
        return processes.end(BAD_INPUT, f"error: {error}")
    except processes.LostError as error:
        return processes.end(FAILED, f"error: {error} (in one process, for which the others were waiting)")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains while it exits
        return OK
    except Exception:
        if not processes.several():
            raise
        return processes.end(FAILED, traceback.format_exc())


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="w2s", description="Weak-to-strong generalization experiments in JAX.", epilog=EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"w2s_jax {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run an experiment: supervisor, weak labels, student, ceiling, PGR",
        description="Runs the experiment of a config file. What was made before is used again; a run that was "
        "stopped goes on.",
        epilog=f"`w2s run CONFIG --fields` lists every field of the config and its flag. {EPILOG}",
        allow_abbrev=False,
    )
    run.add_argument("config", metavar="CONFIG", help="a Python file with an `experiment`, like configs/quickstart.py")
    run.add_argument("--dry-run", action="store_true", help="list the stages and what is already done; train nothing")
    _add_methods(run)
    run.add_argument(
        "--profile",
        nargs="?",
        type=Path,
        const=Path(),
        metavar="DIR",
        help="trace a few steps of every stage that trains with JAX's profiler (default DIR: <out>/<name>/profile)",
    )
    run.add_argument("--fields", action="store_true", help="list the config's fields, each a flag that overrides it")
    _add_distributed(run)
    run.set_defaults(command=_run, takes_overrides=True)

    sweep = commands.add_parser(
        "sweep",
        help="run several experiments as one grid: whatever they share is made once",
        description="Runs the experiments of several config files as one list of stages, writes the results of each, "
        "and one report over all. Start the same command again, or in several processes on one folder, to go on.",
        epilog=f"flags such as --seeds override the fields of every config. {EPILOG}",
        allow_abbrev=False,
    )
    sweep.add_argument("configs", nargs="+", metavar="CONFIG", help="Python files, each with an `experiment`")
    sweep.add_argument("--dry-run", action="store_true", help="count the stages and estimate the time; train nothing")
    _add_distributed(sweep)
    sweep.set_defaults(command=_sweep, takes_overrides=True)

    plan = commands.add_parser(
        "plan",
        help="does it fit an accelerator, and what does a step cost; no accelerator is needed",
        description="Compiles the training and the labelling step of every learner of a config ahead of time: memory "
        "of each chip, FLOPs, collectives, the time a step takes at least; where it does not fit, what would.",
        epilog=f"flags such as --mesh.fsdp override the fields of the config. {EPILOG}",
        allow_abbrev=False,
    )
    plan.add_argument("config", metavar="CONFIG", help="a Python file with an `experiment`; weights are not needed")
    plan.add_argument("--topology", required=True, help="v5e:4x4, v5p:2x2x4, ...; local: the devices of this machine")
    plan.add_argument("--json", action="store_true", help="print JSON: bytes, seconds, FLOPs")
    plan.set_defaults(command=_plan, takes_overrides=True)

    report = commands.add_parser("report", help="one HTML page over finished runs, and its figures as files")
    report.add_argument("folders", nargs="+", metavar="DIR", type=Path, help="a finished run, like runs/quickstart")
    report.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        help="the page (default: report.html); its figures lie beside it, as PNG, SVG and CSV, in report_figures",
    )
    report.set_defaults(command=_report, takes_overrides=False)

    compare = commands.add_parser(
        "compare",
        help="two students, supervisors or methods of a run, paired: accuracy and PGR with intervals and p-values",
        description="A less B on the same seeds and test examples, for every cell of the grid that is done for both.",
        epilog=f"flags such as --seeds, after all else, override the fields of the config. {EPILOG}",
        allow_abbrev=False,
    )
    compare.add_argument("config", metavar="CONFIG", help="of a run that is done, or in part")
    compare.add_argument("axis", choices=("methods", "students", "supervisors"), help="what A and B are")
    compare.add_argument("a", metavar="A", help="display name")
    compare.add_argument("b", metavar="B", help="display name")
    _add_methods(compare)
    compare.add_argument("--json", action="store_true", help="print JSON instead of a table")
    compare.set_defaults(command=_compare, takes_overrides=True)

    seal = commands.add_parser(
        "seal",
        help="hide a run's test labels: a worker's table of texts and weak labels, and a vault that scores",
        description="Cuts a finished run into what somebody (or some program) that works on a method is given, and a "
        "vault with truth and fixed baselines, which belongs where the worker cannot read.",
        epilog=f"flags such as --seeds override the fields of the config. {EPILOG}",
        allow_abbrev=False,
    )
    seal.add_argument("config", metavar="CONFIG", help="of a run whose supervisors and ceilings are done")
    seal.add_argument("--worker", type=Path, required=True, metavar="DIR", help="a new folder, without any truth")
    seal.add_argument("--vault", type=Path, required=True, metavar="DIR", help="a new folder")
    seal.add_argument("--budget", type=int, default=1, help="submissions that may ever be scored (default: 1)")
    seal.set_defaults(command=_seal, takes_overrides=True)

    ask = commands.add_parser(
        "ask",
        help="the rows that a supervisor labels, for people or programs to label",
        description="Writes a line of JSON for every row. Add `label` (a class) or `probs` to each, and name that file "
        "in a config's supervisors: Given(FILE).",
        epilog=f"flags such as --seeds override the fields of the config. {EPILOG}",
        allow_abbrev=False,
    )
    ask.add_argument("config", metavar="CONFIG", help="whose tasks and seeds are asked about")
    ask.add_argument("--to", type=Path, required=True, metavar="FILE", help="a new .jsonl file")
    ask.add_argument("--advised", metavar="NAME", help="the supervisor of the config whose transcripts are shown")
    ask.set_defaults(command=_ask, takes_overrides=True)

    score = commands.add_parser("score", help="score predictions against a vault: accuracy, AUROC, PGR; counted")
    score.add_argument("vault", metavar="VAULT", type=Path, help="a folder that `w2s seal` wrote")
    score.add_argument("predictions", metavar="FILE", type=Path, help="task, seed, id, and probs or label of every row")
    score.set_defaults(command=_score, takes_overrides=False)

    export = commands.add_parser("export", help="what a stage or a run trained, as folders that transformers loads")
    export.add_argument("folder", metavar="DIR", type=Path, help="a stage, like runs/stages/student-...; or a run")
    export.add_argument("--out", type=Path, required=True, help="a new folder")
    export.add_argument("--model", help="what a stage was made of, where that has no name: a folder, file or Hub id")
    export.set_defaults(command=_export, takes_overrides=False)

    listing = commands.add_parser("models", help="the models that can be named in a config")
    listing.set_defaults(command=_models, takes_overrides=False)
    listing = commands.add_parser("tasks", help="the tasks that can be named in a config")
    listing.set_defaults(command=_tasks, takes_overrides=False)

    options, rest = parser.parse_known_args(arguments)
    if rest and not options.takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def _add_methods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="FILE.py:LOSS",
        help="also try a loss: a name, or a function (logits, targets, *, ...) -> [B] in your file; may be repeated",
    )


def _add_distributed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="this is one of several processes, all started with this command, that train on all their devices "
        "together; Slurm, Open MPI, TPU and GKE are detected, else set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES "
        "and JAX_PROCESS_ID",
    )


def _run(options: argparse.Namespace, overrides: list[str]) -> int:
    experiment = _configured(options.config, ["--help"] if options.fields else overrides, options.method)

    from w2s_jax.pipeline import runner
    from w2s_jax.runtime import processes
    from w2s_jax.runtime.progress import Reporter

    if options.dry_run:
        return processes.lead(lambda: _print_stages(experiment))
    traces = Path(experiment.out) / experiment.name / "profile" if options.profile == Path() else options.profile
    results, failures = runner.run(experiment, Reporter(quiet=not processes.is_leader()), traces=traces)
    return processes.lead(lambda: _report_run(experiment, results, failures))


def _print_stages(experiment: Any) -> int:
    from w2s_jax.pipeline import runner

    for name, stage, state in runner.status([experiment]):
        print(f"{state:<8} {runner.describe(stage)}  [{name}]")
    print(_estimated([experiment]))
    return OK


def _report_run(experiment: Any, results: Any, failures: Sequence[Any]) -> int:
    from w2s_jax import report

    _print_failures(failures)
    if results is None:
        return FAILED
    written = report.write(results, Path(experiment.out) / experiment.name)
    report.show(results)
    print("\n".join(f"wrote {path}" for path in written))
    return FAILED if failures else OK


def _sweep(options: argparse.Namespace, overrides: list[str]) -> int:
    experiments = [_configured(path, overrides) for path in options.configs]
    names = [experiment.name for experiment in experiments]
    if len(set(names)) < len(names):
        raise UserError(f"experiments of one sweep need different names, not {', '.join(names)}")

    from w2s_jax.pipeline import runner
    from w2s_jax.runtime import processes
    from w2s_jax.runtime.progress import Reporter

    processes.lead(lambda: print(_estimated(experiments)))
    if options.dry_run:
        return OK
    found, failures = runner.sweep(experiments, Reporter(quiet=not processes.is_leader()))
    return processes.lead(lambda: _report_sweep(experiments, found, failures))


def _report_sweep(experiments: Sequence[Any], found: Sequence[Any], failures: Sequence[Any]) -> int:
    from w2s_jax import report

    _print_failures(failures)
    folders = [
        Path(experiment.out) / experiment.name
        for experiment, results in zip(experiments, found, strict=True)
        if results is not None
    ]
    written = [
        path
        for results, folder in zip([r for r in found if r], folders, strict=True)
        for path in report.write(results, folder)
    ]
    if folders:
        written += report.page(folders, Path(experiments[0].out) / "report.html")
    print("\n".join(f"wrote {path}" for path in written))
    return FAILED if failures or len(folders) < len(experiments) else OK


def _plan(options: argparse.Namespace, overrides: list[str]) -> int:
    import json

    from w2s_jax.plan import plan, table

    experiment = _configured(options.config, overrides)
    steps = []
    for step in plan(experiment, options.topology):
        steps.append(step)
        print(f"compiled the {table.NAMES[step.kind]} of {step.request.learner.model}", file=sys.stderr)
    if options.json:
        print(json.dumps(table.as_json(steps), indent=1))
    else:
        table.show(steps)
    return OK


def _configured(path: str, overrides: list[str], methods: Sequence[str] = ()) -> Any:
    """The experiment of a file, with more methods and other values from the command line."""
    import tyro

    from w2s_jax import config

    experiment = config.load(path)
    experiment = dataclasses.replace(experiment, methods={**experiment.methods, **_extra_methods(methods)})
    experiment = tyro.cli(
        tyro.conf.AvoidSubcommands[config.Experiment],
        default=experiment,
        args=overrides,
        prog=f"w2s run {path}",
        description=f"Fields of {path}, with its values as defaults.",
    )
    _use_compilation_cache()
    return experiment


def _estimated(experiments: Sequence[Any]) -> str:
    from w2s_jax.pipeline import runner
    from w2s_jax.pipeline.estimate import estimate
    from w2s_jax.runtime.progress import duration

    found = estimate(runner.all_stages(experiments), runner.open_store(experiments[0]))
    left = found.stages - found.done
    about = f", about {duration(found.seconds)}" if left else ""
    return f"{found.stages} stages: {found.done} done, {left} to do{about}"


def _print_failures(failures: Sequence[Any]) -> None:
    from w2s_jax.pipeline import runner

    for failure in failures:
        print(f"failed: {runner.describe(failure.stage)}: {failure.reason}", file=sys.stderr)


def _extra_methods(specs: Sequence[str]) -> dict[str, Any]:
    from w2s_jax.config import Method, split_reference
    from w2s_jax.pipeline import materials

    methods: dict[str, Any] = {}
    for spec in specs:
        materials.loss_function(spec)
        reference = split_reference(spec)
        methods[reference[1] if reference else spec] = Method(spec)
    return methods


def _report(options: argparse.Namespace, _: list[str]) -> int:
    from w2s_jax import report

    print("\n".join(f"wrote {path}" for path in report.page(options.folders, options.out)))
    return OK


def _compare(options: argparse.Namespace, overrides: list[str]) -> int:
    import json

    experiment = _configured(options.config, overrides, options.method)

    from w2s_jax import metrics
    from w2s_jax.evaluation import compare
    from w2s_jax.pipeline import runner

    found = compare.compare(experiment, runner.open_store(experiment), options.axis, options.a, options.b)
    if options.json:
        rows = [dataclasses.asdict(dataclasses.replace(each, pgr=metrics.bounded(each.pgr))) for each in found]
        print(json.dumps(rows, indent=1))
        return OK
    print(f"{options.a} less {options.b}, paired over seeds and test examples: 95% intervals, p, and p after Holm\n")
    for each in found:
        print(", ".join([*each.names.values(), f"{len(each.seeds)} seed{'s' * (len(each.seeds) != 1)}"]))
        print(f"  accuracy  {_difference(each.accuracy, each.accuracy_holm)}")
        print(f"  PGR       {_difference(each.pgr, each.pgr_holm)}")
    return OK


def _difference(found: Any, holm: float | None) -> str:
    if found.value is None:
        return f"undefined: {found.reason}"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}], p = {found.p:.2g} (Holm {holm:.2g})"


def _seal(options: argparse.Namespace, overrides: list[str]) -> int:
    experiment = _configured(options.config, overrides)

    from w2s_jax.evaluation import sealed
    from w2s_jax.pipeline import runner

    sealed.seal(experiment, runner.open_store(experiment), options.worker, options.vault, options.budget)
    print(f"wrote {options.worker / sealed.WORKER}\nwrote {options.vault / sealed.VAULT}")
    return OK


def _ask(options: argparse.Namespace, overrides: list[str]) -> int:
    experiment = _configured(options.config, overrides)

    from w2s_jax.pipeline import questionnaire
    from w2s_jax.runtime.progress import Reporter

    rows = questionnaire.write(experiment, options.to, options.advised, Reporter().step)
    print(f"wrote {rows} rows to {options.to}")
    return OK


def _score(options: argparse.Namespace, _: list[str]) -> int:
    import json

    from w2s_jax.evaluation import sealed

    for found in sealed.score(options.vault, options.predictions):
        print(json.dumps(found._asdict()))
    return OK


def _export(options: argparse.Namespace, _: list[str]) -> int:
    from w2s_jax.pipeline.export import export

    written, refused = export(options.folder, options.out, options.model)
    print("\n".join(f"wrote {path}" for path in written))
    for reason in refused:
        print(f"not exported: {reason}", file=sys.stderr)
    return OK


def _models(_: argparse.Namespace, __: list[str]) -> int:
    from w2s_jax import models

    rows = [(card.name, f"{card.parameters / 1e6:.1f} M", card.licence, card.description) for card in models.describe()]
    _print_table(("name", "parameters", "licence", "what it is"), rows)
    print("\nalso: a local folder with config.json and *.safetensors, a .gguf file, or a Hub id such as org/name")
    return OK


def _tasks(_: argparse.Namespace, __: list[str]) -> int:
    from w2s_jax.data import tasks

    rows = [(task.name, str(task.n_classes), task.source.describe(), task.description) for task in tasks.TASKS.values()]
    _print_table(("name", "classes", "source", "what it asks"), rows)
    print("\nalso: .jsonl, .csv or .parquet files with `text`, `label` or `chosen`, `rejected`; or my_file.py:my_task")
    return OK


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=SIMPLE)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def _use_compilation_cache() -> None:
    """Compiled programs outlive the process, so a second start compiles nothing."""
    import jax

    from w2s_jax.runtime.downloads import cache_folder

    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


if __name__ == "__main__":
    sys.exit(main())
