"""Tables and figures of what is in the results, and nothing that is not.

table: the tables of every task. story: what was found, in sentences, and methods over tasks. html_page: both, with the
figures, as HTML, for `view`. figures: one file for each figure.
"""

from collections.abc import Sequence
from pathlib import Path

from w2s_jax.evaluation import storage
from w2s_jax.evaluation.results import Results
from w2s_jax.report import figures, story, table
from w2s_jax.runtime import files

REPORT = "report.md"


def write(found: Results, folder: Path) -> list[Path]:
    """Writes results.json, report.md and the figures; without matplotlib it says in one line that there are none."""
    folder = Path(folder)
    report = folder / REPORT
    written = [storage.save(found, folder), report]
    files.write_text(report, table.markdown(found, story.markdown(found)))
    return written + figures.write(figures.draw([found]), folder)


def is_written(made: Sequence[Path]) -> bool:
    """Whether a report is among these files."""
    return any(path.name == REPORT for path in made)


def show(found: Results) -> None:
    """Prints the tables on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=table.WIDTH)
    for part in table.tables(found, console.width):
        console.print(part)
