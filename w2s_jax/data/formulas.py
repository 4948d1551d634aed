"""Boolean formulas over statements: how a text is decomposed, and what the parts imply about the whole.

Task decomposition (Christiano et al. 1810.08575): a weak overseer judges statements that it can judge, and their labels
are put together again by the formula, exactly. A formula is written as

    any of ("Lagos is in Nigeria.", at least 2 of ("Osaka is in Peru.", not "Quito is in Chad.", "Graz is in Austria."))
"""

import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from w2s_jax.runtime.errors import UserError

MOST_ATOMS = 12  # of one formula: all their assignments are enumerated
TOKEN = re.compile(r'\s*(?:"([^"]+)"|(not\b|all of \(|any of \(|at least (\d+) of \(|,|\)))')


@dataclass(frozen=True)
class Atom:
    """A statement that is judged by itself."""

    text: str


@dataclass(frozen=True)
class Not:
    """True where the other is false."""

    of: "Tree"


@dataclass(frozen=True)
class AtLeast:
    """True where at least so many of two parts or more are: `and` is all of them, `or` is one.

    Raises:
      UserError: fewer than two parts, or a count that is not 1 .. parts.
    """

    count: int
    parts: tuple["Tree", ...]

    def __post_init__(self) -> None:
        if len(self.parts) < 2 or not 1 <= self.count <= len(self.parts):
            raise UserError(f"no formula: at least {self.count} of {len(self.parts)}")


Tree = Atom | Not | AtLeast


@dataclass(frozen=True)
class Parts:
    """How the texts of a task are decomposed.

    Attributes:
      task: the name of the task whose texts the atoms are, and which knows what is true of them.
      tree: a text's formula. It is given nothing else.
    """

    task: str
    tree: Callable[[str], Tree]


def atoms(tree: Tree) -> tuple[str, ...]:
    """The different statements of a formula, in the order in which they stand there.

    Raises:
      UserError: more than `MOST_ATOMS`.
    """
    match tree:
        case Atom(text):
            return (text,)
        case Not(of):
            return atoms(of)
    found = tuple(dict.fromkeys(text for part in tree.parts for text in atoms(part)))
    if len(found) > MOST_ATOMS:
        raise UserError(f"a formula of {len(found)} atoms; at most {MOST_ATOMS} can be put together")
    return found


def truth(tree: Tree, true: Mapping[str, bool]) -> bool:
    """Whether a formula is true, where this is known of each of its atoms."""
    match tree:
        case Atom(text):
            return true[text]
        case Not(of):
            return not truth(of, true)
    return sum(truth(part, true) for part in tree.parts) >= tree.count


def probability(tree: Tree, true: Mapping[str, float]) -> float:
    """How probable a formula is, its different atoms being independent: the sum over the assignments that make it true.

    A statement that stands there several times is one event, so any of (a, not a) is certain.

    Args:
      true: each atom's probability of being true, in [0, 1].

    Returns:
      In [0, 1].

    Raises:
      UserError: more than `MOST_ATOMS` different atoms.
    """
    names = atoms(tree)
    total = 0.0
    for values in itertools.product((False, True), repeat=len(names)):
        if truth(tree, dict(zip(names, values, strict=True))):
            chance = 1.0
            for name, value in zip(names, values, strict=True):
                chance *= true[name] if value else 1 - true[name]
            total += chance
    return min(total, 1.0)


def write(tree: Tree) -> str:
    """A formula as a text, from which `parse` makes the same formula.

    Raises:
      UserError: an atom is empty or holds a double quote.
    """
    match tree:
        case Atom(text):
            if not text or '"' in text:
                raise UserError(f"an atom of a formula must hold something, and no double quote; it is {text!r}")
            return f'"{text}"'
        case Not(of):
            return f"not {write(of)}"
    much = {1: "any", len(tree.parts): "all"}.get(tree.count, f"at least {tree.count}")
    return f"{much} of ({', '.join(map(write, tree.parts))})"


def parse(text: str) -> Tree:
    """The formula that is written so.

    Raises:
      UserError: the text is no formula.
    """
    tokens, place = [], 0
    stripped = text.rstrip()
    while place < len(stripped):
        found = TOKEN.match(stripped, place)
        if found is None:
            raise UserError(f"no formula: {stripped[place : place + 20]!r} in {text[:60]!r}")
        tokens.append(found)
        place = found.end()
    tree, rest = _parse(tokens, text)
    if rest:
        raise UserError(f"no formula: {rest[0][0].strip()!r} is one too many in {text[:60]!r}")
    return tree


_Tokens = list[re.Match[str]]


def _parse(tokens: _Tokens, text: str) -> tuple[Tree, _Tokens]:
    """The formula that begins here, and what is left."""
    statement, word, count = tokens[0].groups() if tokens else (None, None, None)
    if statement:
        return Atom(statement), tokens[1:]
    if word == "not":
        tree, tokens = _parse(tokens[1:], text)
        return Not(tree), tokens
    if word is None or not word.endswith("("):
        raise UserError(f"no formula: a statement is missing in {text[:60]!r}")
    parts: list[Tree] = []
    ended: str | None = ","
    while ended == ",":
        part, tokens = _parse(tokens[1:], text)
        parts.append(part)
        ended = tokens[0][2] if tokens else None
    if ended != ")":
        raise UserError(f"no formula: a bracket is missing in {text[:60]!r}")
    wanted = int(count) if count else {"all of (": len(parts), "any of (": 1}[word]
    return AtLeast(wanted, tuple(parts)), tokens[1:]
