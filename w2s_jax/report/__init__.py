"""Tables and figures of what is in the results, and nothing that is not."""

from pathlib import Path

from w2s_jax import files, results
from w2s_jax.report import figures, table
from w2s_jax.results import Results


def write(found: Results, folder: Path) -> list[Path]:
    """Writes results.json, report.md and, where matplotlib is installed, the figures."""
    written = [results.save(found, folder)]
    report = Path(folder) / "report.md"
    files.write_text(report, table.markdown(found))
    return [*written, report, *figures.write(found, Path(folder))]


def show(found: Results) -> None:
    """Prints the tables on standard output."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    for part in table.tables(found):
        console.print(part)
