"""Tables, figures and a page of what is in the results, and nothing that is not.

table: the tables of every task. story: what was found, in sentences, and methods over tasks. html_page: the page.
figures: one file for each figure.
"""

from collections.abc import Sequence
from pathlib import Path

from w2s_jax.evaluation import storage
from w2s_jax.evaluation.results import Results
from w2s_jax.report import figures, html_page, story, table
from w2s_jax.runtime import files


def write(found: Results, folder: Path) -> list[Path]:
    """Writes results.json, report.md and the figures; without matplotlib it says in one line that there are none."""
    folder = Path(folder)
    report = folder / "report.md"
    written = [storage.save(found, folder), report]
    files.write_text(report, table.markdown(found, story.markdown(found)))
    return written + figures.write(figures.draw([found]), folder)


def show(found: Results) -> None:
    """Prints the tables on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=table.WIDTH)
    for part in table.tables(found, console.width):
        console.print(part)


def page(folders: Sequence[Path], out: Path) -> list[Path]:
    """Writes one self-contained HTML page over the finished runs in `folders`, and its figures as files next to it.

    Returns:
      The page, then the figures, which are in the folder `NAME_figures` for a page `NAME.html`.

    Raises:
      UserError: a folder has no results.json, or one that this version cannot read.
    """
    runs = html_page.load(folders)
    drawn = figures.draw(runs)
    files.write_text(out, html_page.html(runs, drawn))
    return [out, *figures.write(drawn, out.with_name(f"{out.stem}_figures"))]
