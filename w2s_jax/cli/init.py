"""`w2s init`: a config to start from."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from w2s_jax.cli.base import COMMANDS, OK, Command
from w2s_jax.runtime.errors import UserError

STARTING_POINT = Path(__file__).with_name("_starting_point.py")


@COMMANDS.register
class Init(Command):
    name = "init"
    help = "write a commented config to start from"
    description = (
        "Writes a Python file with a small experiment that runs as it is, `w2s run FILE.py`, and comments that say "
        "what can be changed."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE.py", type=Path, help="a new file, such as my_experiment.py")
        parser.add_argument(
            "--like", metavar="NAME", help="copy this packaged config instead; `w2s configs` lists their names"
        )

    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        from w2s_jax.runtime import files, packaged

        file: Path = options.file
        if file.suffix != ".py":
            raise UserError(f"a config is a Python file; write {file}.py")
        if file.exists():
            raise UserError(f"{file} exists; choose another name, or delete it first")
        if options.like is None:
            text = STARTING_POINT.read_text(encoding="utf-8").replace("my_experiment", _experiment_name(file))
        else:
            text = packaged.find(options.like).read_text(encoding="utf-8")
        files.write_text(file, text)
        print(f"wrote {file}; run it with: w2s run {file}")
        return OK


def _experiment_name(file: Path) -> str:
    """The file's name, with nothing in it that a results folder may not have."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", file.stem).lstrip("._-") or "my_experiment"
