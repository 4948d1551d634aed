"""`w2s study report`: what the answers of a study say."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import OK, Command
from w2s_jax.cli.study import VERBS


@VERBS.register
class StudyReport(Command):
    name = "report"
    help = "print and write what a study's answers say: accuracy, gap recovered, sandwich or not, reliance"
    description = (
        "Reads answers.parquet, models.parquet (if it is there) and key.parquet of a study's folder, prints tables, "
        "and writes report.md, report.json, report.html and figures/ beside them."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", metavar="FOLDER", type=Path, help="a study's folder")
        parser.add_argument("--unassisted", metavar="NAME", help="the condition without an assistant (default: alone)")
        parser.add_argument("--expert", metavar="ACCURACY", type=float, help="an expert's accuracy, such as 0.9")
        parser.add_argument("--source", metavar="TEXT", help="where the expert's accuracy is from")
        parser.add_argument("--task", metavar="NAME", help="whose questions they are")

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.study import design, findings, report

        said = {name: getattr(options, name) for name in ("unassisted", "expert", "source", "task")}
        found = findings.of_folder(options.folder, design.design_of(options.folder, **said))
        report.show(found)
        written = report.write(found, options.folder)
        print(f"wrote {', '.join(str(path) for path in written[:3])} and figures")
        return OK
