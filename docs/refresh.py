"""Writes every table that the README and the docs show between markers; with `--check`, says which are out of date.

A marked table stands in a Markdown file between two comments:

    <!-- table: losses -->
    ...
    <!-- end of table -->

Tables of results are made from the files that lie in docs/results/data, one folder for each run, each with the
results.json that `w2s run` wrote. All other tables are made from the code itself.

Command:  python docs/refresh.py                              # writes the tables
          python docs/refresh.py --check                      # writes nothing; exit code 1 if a table is out of date
          python docs/refresh.py --take runs/quickstart       # first copies a run's results and its figure
"""

import argparse
import io
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from w2s_jax import cli, config, label_transforms, losses, metrics
from w2s_jax.cli.study import VERBS
from w2s_jax.data.tasks import TASKS
from w2s_jax.evaluation import storage
from w2s_jax.evaluation.published import Beside, beside
from w2s_jax.evaluation.results import Results
from w2s_jax.models import describe
from w2s_jax.report import story, table
from w2s_jax.runtime import packaged
from w2s_jax.students import WAYS_TO_LEARN
from w2s_jax.supervisors import SUPERVISORS

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from docs import model_pages, task_pages  # noqa: E402

DATA = ROOT / "docs" / "results" / "data"
FIGURE = "accuracy.png"
MARKED = re.compile(r"(<!-- table: ([\w ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    """The README and every page of the docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def results(run: str) -> Results:
    """The stored results of a run."""
    return storage.load(DATA / run)


def terminal(run: str) -> str:
    """What `w2s run` prints at its end, without the legend, as a block of code."""
    console = Console(file=io.StringIO(), width=table.WIDTH, highlight=False)
    *parts, _ = table.tables(results(run))
    for part in parts:
        console.print(part)
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]
    printed = "\n".join(lines).strip("\n")
    return f"```\n{printed}\n```"


def provenance(run: str) -> str:
    """When and where a run was made, how long it took, and its peak memory."""
    made = results(run).made
    minutes, seconds = divmod(round(made["seconds"]), 60)
    return (
        f"`{made['command']}`, {made['date'][:10]}, commit {made['git']}, {made['hardware']}, jax "
        f"{made['packages']['jax']}, Python {made['python']}: {minutes} min {seconds} s, peak memory "
        f"{made['peak_memory_bytes'] / 2**30:.1f} GiB."
    )


def seeds(run: str) -> str:
    """Accuracy of the three models of every cell."""
    rows = [
        (str(cell.seed), cell.method, *(table.number(cell.scores["accuracy"][role]) for role in metrics.ROLES))
        for cell in sorted(results(run).cells, key=lambda cell: cell.seed)
    ]
    return table.markdown_table(("seed", "method", *metrics.ROLES), rows)


def papers() -> str:
    """What every config says was published, beside its results where docs/results/data holds them."""
    parts = []
    for name, path in packaged.experiments().items():
        experiment = config.load(str(path))
        if not experiment.published:
            continue
        stored = (DATA / experiment.name / storage.FILE).exists()
        found = results(experiment.name) if stored else None
        told = [Beside(each, None, None, None, 0) for each in experiment.published] if found is None else beside(found)
        doc = (path.read_text().split('"""')[1].strip().splitlines() or [name])[0]
        rows = [story.published_row(each) for each in told]
        parts += [f"## {name}", doc, table.markdown_table(story.PUBLISHED_COLUMNS, rows)]
    return "\n\n".join(parts)


def commands() -> str:
    """Every command of `w2s`."""
    return table.markdown_table(
        ("command", "what it does"), [(f"`w2s {name}`", kind.help) for name, kind in cli.COMMANDS.items()]
    )


def command_line() -> str:
    """A section for every command, and every verb of `w2s study`, with its arguments."""
    every = {**cli.COMMANDS, **{f"study {name}": kind for name, kind in VERBS.items()}}
    return "\n\n".join(_command(name, kind()) for name, kind in every.items())


def _command(name: str, command: cli.Command) -> str:
    parser = argparse.ArgumentParser(prog=f"w2s {name}", add_help=False)
    command.add_arguments(parser)
    actions = parser._actions
    shown = [_argument(each) for each in actions if each.required]
    shown += ["[OPTIONS...]"] * (len(shown) < len(actions)) + ["[FLAGS...]"] * command.takes_overrides
    parts = [
        f"## {name}",
        command.description or f"{command.help[:1].upper()}{command.help[1:]}.",
        f"```\n{' '.join(['w2s', name, *shown])}\n```",
    ]
    rows = [(f"`{_argument(each)}`", _help(each, parser)) for each in actions]
    if rows:
        parts.append(table.markdown_table(("argument", "what it is"), rows))
    if command.epilog:
        parts.append(f"{command.epilog[:1].upper()}{command.epilog[1:]}")
    return "\n\n".join(parts)


def _help(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """What an argument is; in Markdown `<` would begin a tag."""
    return ((action.help or "") % {**vars(action), "prog": parser.prog}).replace("<", "&lt;")


def _argument(action: argparse.Action) -> str:
    """An argument as it is typed, with what follows it."""
    value = action.metavar or ("|".join(action.choices) if action.choices else action.dest.upper())
    value = {"+": f"{value}...", "?": f"[{value}]"}.get(str(action.nargs), str(value))
    if not action.option_strings:
        return value
    return action.option_strings[-1] if action.nargs == 0 else f"{action.option_strings[-1]} {value}"


def configs() -> str:
    """Every config that ships with the package."""
    rows = [(f"`{name}`", packaged.summary(path)) for name, path in packaged.configs().items()]
    return table.markdown_table(("config", "experiment"), rows)


def registered(title: str, things: Mapping[str, Any]) -> str:
    """Name and first sentence of each registered thing."""
    return table.markdown_table((title, "what it is"), [(f"`{name}`", _summary(each)) for name, each in things.items()])


def tasks() -> str:
    """Every task that has a name."""
    rows = [
        (f"`{each.name}`", str(each.n_classes), each.source.describe(), ", ".join(each.other_sources), each.description)
        for each in TASKS.values()
    ]
    return table.markdown_table(("task", "classes", "source", "others", "question"), rows)


def models() -> str:
    """Every model that has a name."""
    rows = [(f"`{c.name}`", f"{c.parameters / 1e6:.1f} M", c.licence, c.description) for c in describe()]
    return table.markdown_table(("model", "parameters", "licence", "what it is"), rows)


def _summary(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((thing.__doc__ or "").strip().partition("\n\n")[0].split())


TABLES: dict[str, Callable[[], str]] = {
    "commands": commands,
    "papers": papers,
    "command line": command_line,
    "configs": configs,
    "losses": partial(registered, "loss", losses.LOSSES),
    "label transforms": partial(registered, "label transform", label_transforms.LABEL_TRANSFORMS),
    "supervisors": partial(registered, "supervisor", SUPERVISORS),
    "ways to learn": partial(registered, "way to learn", WAYS_TO_LEARN),
    "metrics": metrics.markdown,
    "tasks": tasks,
    "task pages": task_pages.every_task,
    "models": models,
    "model families": model_pages.every_family,
    "model formats": model_pages.formats,
    "saved models": model_pages.saved,
    "families left out": model_pages.left_out,
    "quickstart": partial(terminal, "quickstart"),
    "quickstart seeds": partial(seeds, "quickstart"),
    "quickstart provenance": partial(provenance, "quickstart"),
    "quickstart_probe": partial(terminal, "quickstart_probe"),
    "quickstart_probe provenance": partial(provenance, "quickstart_probe"),
}


def refreshed(text: str) -> str:
    """A page with every marked table as it is now.

    Raises:
      KeyError: a marker names no table.
    """
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)


def stale(paths: Iterable[Path]) -> list[Path]:
    """The pages that are out of date."""
    return [path for path in paths if refreshed(path.read_text(encoding="utf-8")) != path.read_text(encoding="utf-8")]


def take(runs: Sequence[Path]) -> None:
    """Copies the results of finished runs into docs/results/data, and the figure of accuracy next to the pages."""
    for run in runs:
        storage.load(run)
        (DATA / run.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(run / storage.FILE, DATA / run.name / storage.FILE)
        if (run / FIGURE).exists():
            shutil.copyfile(run / FIGURE, DATA.parent / f"{run.name}.png")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a table is out of date")
    parser.add_argument("--take", nargs="+", type=Path, default=[], metavar="RUN", help="folders of finished runs")
    options = parser.parse_args()
    take(options.take)
    old = stale(pages())
    for path in old:
        name = path.relative_to(ROOT)
        if options.check:
            print(f"{name} is out of date; run: python docs/refresh.py", file=sys.stderr)
        else:
            path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"wrote {name}")
    return int(options.check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
