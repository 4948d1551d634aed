"""What a command is, the registry of commands, exit codes, and what several commands share.

Imports nothing heavy: `w2s --help` reads every command.
"""

import abc
import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from w2s_jax.runtime.registry import Registry

WIDEST = 10_000
OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

EXIT_CODES = (
    f"exit codes: {OK} done, {FAILED} a stage failed, {BAD_INPUT} bad input, "
    f"{INTERRUPTED} interrupted (the same command resumes)"
)


class Command(abc.ABC):
    """One command of `w2s`. A class of this kind with `@COMMANDS.register` is one; heavy imports belong into `run`.

    >>> @COMMANDS.register
    ... class Hello(Command):
    ...     name = "hello"
    ...     help = "greet somebody"
    ...
    ...     def add_arguments(self, parser):
    ...         parser.add_argument("who")
    ...
    ...     def run(self, options, overrides):
    ...         print(f"Hello, {options.who}!")
    ...         return OK

    Attributes:
      name: as it is typed: `w2s NAME`.
      help: one line for `w2s --help`.
      description: for `w2s NAME --help`; empty is the help line.
      epilog: what comes before the exit codes there.
      takes_overrides: arguments that `add_arguments` does not name are flags that override fields of a config.
    """

    name: ClassVar[str]
    help: ClassVar[str]
    description: ClassVar[str] = ""
    epilog: ClassVar[str] = ""
    takes_overrides: ClassVar[bool] = False

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:  # noqa: B027
        """Adds the command's own arguments; by default it has none."""

    @abc.abstractmethod
    def run(self, options: argparse.Namespace, overrides: Sequence[str]) -> int:
        """Does it, and returns the exit code.

        Args:
          overrides: the arguments left over, if the command `takes_overrides`.

        Raises:
          UserError: bad input; it is printed as one line.
        """


COMMANDS = Registry[type[Command]]("command")


def add_methods(parser: argparse.ArgumentParser) -> None:
    """`--method`, which adds a loss to the methods of a config."""
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="FILE.py:LOSS",
        help="also try a loss: a name, or a function (logits, targets, *, ...) -> [B] in your file; may be repeated",
    )


def add_distributed(parser: argparse.ArgumentParser) -> None:
    """`--distributed`, for one of several processes that train together."""
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="this is one of several processes, all started with this command, that train on all their devices "
        "together; Slurm, Open MPI, TPU and GKE are detected, otherwise set JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID",
    )


def add_reporting(parser: argparse.ArgumentParser) -> None:
    """`--track`, which names trackers that follow the training, and how much is said of it."""
    parser.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME|FILE.py:CLASS",
        help="send every step and the results to a tracker: tensorboard, wandb, trackio, or a class in your file; may "
        "be repeated; log.jsonl is always written",
    )
    loud = parser.add_mutually_exclusive_group()
    loud.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    loud.add_argument("-v", "--verbose", action="store_true", help="show every step")
    parser.add_argument("--log-file", type=Path, metavar="FILE", help="append all progress to a file, with times")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table on standard output, as wide as the terminal."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=SIMPLE)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:  # no name is cut for who reads the lines
        console = Console(highlight=False, width=WIDEST)
    console.print(table)
