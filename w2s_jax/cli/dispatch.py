"""The entry point: finds the commands, parses the arguments, runs one command, and turns errors into exit codes."""

import argparse
import errno
import importlib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Sequence

from w2s_jax import __version__
from w2s_jax.cli.base import BAD_INPUT, COMMANDS, EXIT_CODES, FAILED, INTERRUPTED, OK
from w2s_jax.runtime import cpu
from w2s_jax.runtime.errors import Interrupted, UserError
from w2s_jax.runtime.registry import discover

# The order of `w2s --help`; other modules of this folder that register a command come after these.
FIRST = (
    "run",
    "sweep",
    "check",
    "plan",
    "view",
    "compare",
    "seal",
    "ask",
    "score",
    "export",
    "models",
    "tasks",
    "configs",
)
ENTRY_POINTS = "w2s_jax.commands"  # in which another package names its `Command` classes

for _name in FIRST:
    importlib.import_module(f"w2s_jax.cli.{_name}")
discover(__package__, sys.modules[__package__].__path__)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `w2s`. Returns the exit code."""
    options, overrides = parse(sys.argv[1:] if arguments is None else arguments)
    distributed = getattr(options, "distributed", False)
    if arguments is None and options.command in ("run", "sweep"):
        cpu.restart_with_huge_pages()
    try:
        if distributed:
            from w2s_jax.runtime import processes

            processes.initialize()
        code = COMMANDS.find(options.command)().run(options, overrides)
        sys.stdout.flush()  # what cannot be written is told below, not while Python exits
        return code
    except Interrupted as stop:
        return _end(INTERRUPTED, f"interrupted: {stop}", distributed)
    except KeyboardInterrupt:
        return _end(INTERRUPTED, "interrupted; the same command resumes", distributed)
    except UserError as error:
        return _end(BAD_INPUT, f"error: {error}", distributed)
    except BrokenPipeError:
        _drop_output()
        return OK
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or distributed:
            raise
        _drop_output()
        return _end(BAD_INPUT, "error: the disk is full, or what standard output goes to", distributed)
    except Exception as error:
        if not distributed:
            raise
        return _end_of_several(error)


def _drop_output() -> None:
    """Lets what was printed and not written go: else Python complains of it while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(code: int, line: str, distributed: bool) -> int:
    """Prints the line and returns the code; of several processes, ends all."""
    if not distributed:
        print(line, file=sys.stderr)
        return code
    from w2s_jax.runtime import processes

    return processes.end(code, line)


def _end_of_several(error: Exception) -> int:
    from w2s_jax.runtime import processes

    if isinstance(error, processes.LostError):
        return processes.end(FAILED, f"error: {error} (in one process, for which the others were waiting)")
    if not processes.several():
        raise error
    return processes.end(FAILED, "".join(traceback.format_exception(error)))


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The options, of which `command` is the command's name, and the flags that override fields of a config.

    Raises:
      SystemExit: after `--help` and `--version`, or with the code of bad input where an argument is unknown.
    """
    _load_installed()
    parser = argparse.ArgumentParser(
        prog="w2s",
        description="Weak-to-strong generalization experiments in JAX.",
        epilog=EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"w2s_jax {__version__}")
    parsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND", dest="command")
    for name, kind in COMMANDS.items():
        command = kind()
        command.add_arguments(
            parsers.add_parser(
                name,
                help=command.help,
                description=command.description or f"{command.help[:1].upper()}{command.help[1:]}.",
                epilog=f"{command.epilog} {EXIT_CODES}".strip(),
                allow_abbrev=False,
            )
        )
    options, rest = parser.parse_known_args(list(arguments))
    if rest and not COMMANDS.find(options.command).takes_overrides:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return options, rest


def _load_installed() -> None:
    """Registers the commands of other packages; one that cannot be loaded is reported and left out."""
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            COMMANDS.register(entry.load())
        except Exception as error:
            print(f"the command {entry.name!r} of {entry.value} cannot be loaded: {error}", file=sys.stderr)
