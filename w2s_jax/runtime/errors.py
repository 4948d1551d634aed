"""What a user can put right: one line that names what is wrong and what would be right."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input or a bad environment. The command line prints the message alone, without a traceback."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that is not in a registry, with the nearest known name.

    >>> str(unknown("task", "citys", ["cities", "boolq"]))
    "unknown task 'citys'; did you mean 'cities'? known: boolq, cities"
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return UserError(f"unknown {kind} {name!r}{hint} known: {', '.join(names)}")


class Interrupted(Exception):
    """The process was asked to stop; progress is saved and the same command resumes from there."""
