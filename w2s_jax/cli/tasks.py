"""`w2s tasks`: the tasks with a name."""

import argparse
from collections.abc import Sequence

from w2s_jax.cli import base
from w2s_jax.cli.base import COMMANDS, OK, Command


@COMMANDS.register
class Tasks(Command):
    name = "tasks"
    help = "list the tasks that a config can name"

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.data.tasks import TASKS

        rows = [
            (task.name, str(task.n_classes), task.source.describe(), ", ".join(task.other_sources), task.description)
            for task in TASKS.values()
        ]
        base.print_table(("name", "classes", "source", "others", "question"), rows)
        print(
            "\nothers: sources that --tasks.0.source names. Also a table of your own: a .csv, .tsv, .jsonl, .json, "
            "\n.parquet or .arrow file, a folder, or hf:org/name:FILES; see w2s check. Or my_file.py:my_task"
        )
        return OK
