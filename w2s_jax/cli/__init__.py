"""The command line, `w2s`: one file a command. It decides nothing: it parses, calls, and prints.

`base` is what a command is and the registry of them, `dispatch` is the parser and the exit codes, `experiments` is how
a command gets at experiments and at the pipeline. Results go to standard output, progress and errors to standard error.
"""

from w2s_jax.cli.base import BAD_INPUT, COMMANDS, FAILED, INTERRUPTED, OK, Command
from w2s_jax.cli.dispatch import main

__all__ = ["BAD_INPUT", "COMMANDS", "FAILED", "INTERRUPTED", "OK", "Command", "main"]
