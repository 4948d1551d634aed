"""Divides a task into the four splits of a weak-to-strong experiment, whole groups at a time."""

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from w2s_jax.data.example import Example
from w2s_jax.data.tokens import Text, flatten
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

USABLE = 0.95  # of a task's examples, where splits shrink to fit; and what is left of them where they shrink further


MANY = 5  # examples of a class in each split; with fewer of it, splits that cannot be filled are its fault


class _TooFewError(UserError):
    """The examples do not fill the splits."""


@dataclass(frozen=True)
class Split:
    """Examples as columns.

    Attributes:
      labels: None where the truth must not be known.
      shares: of each class among an example's annotations [N, C], where some do not agree; None where all do.
    """

    ids: tuple[str, ...]
    texts: tuple[Text, ...]
    labels: Int[np.ndarray, " n"] | None
    groups: tuple[str, ...]
    shares: Float[np.ndarray, "n c"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def without_truth(self) -> "Split":
        """The same examples without their labels."""
        return replace(self, labels=None, shares=None)

    def take(self, rows: Int[np.ndarray, " m"]) -> "Split":
        """Some of the examples, in this order; one may be taken several times."""

        def of(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[row] for row in rows)

        labels, shares = (None if column is None else column[rows] for column in (self.labels, self.shares))
        return Split(of(self.ids), of(self.texts), labels, of(self.groups), shares)

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all columns: equal content, equal fingerprint."""
        labels, shares = (None if column is None else column.tolist() for column in (self.labels, self.shares))
        columns = [self.ids, self.texts, labels, self.groups]
        return files.sha256_text(files.canonical(columns if shares is None else [*columns, shares]))


class SplitSizes(NamedTuple):
    """Examples wanted in each split."""

    supervisor: int
    transfer: int
    validation: int
    test: int


@dataclass(frozen=True)
class Splits:
    """Disjoint splits: the supervisor trains on the first, the student and the ceiling on the second."""

    supervisor: Split
    transfer: Split
    validation: Split
    test: Split
    n_classes: int


def make_splits(
    examples: Sequence[Example],
    sizes: SplitSizes,
    seed: int,
    balance: bool = True,
    n_classes: int = 2,
    easy: float | None = None,
) -> Splits:
    """Draws the splits from all examples; another seed draws other examples, not only another order.

    Examples of one group, and examples with the same text, are never in two splits. With `balance` every split holds
    equally many examples of each class, by dropping examples of the larger classes (Burns et al. 2023, A.1). With
    `easy` the supervisor split holds groups of at most this difficulty, and the others hold harder ones.

    Raises:
      UserError: the sizes cannot be met, a class is missing, a label is out of range, or ids are not unique.
    """
    _check(examples, sizes, n_classes, balance)
    ordered = sorted(examples)
    groups = _groups(ordered)
    names = sorted(groups)
    queue = [groups[names[i]] for i in np.random.default_rng(seed).permutation(len(names))]
    drawn = {}
    easy_queue: list[list[Example]] = []
    if easy is not None:
        easy_queue = [group for group in queue if all(example.difficulty <= easy for example in group)]
        harder = [[example for example in group if example.difficulty > easy] for group in queue]
        queue = [group for group in harder if group]
    for name in ("test", "validation", "transfer", "supervisor"):
        wanted = getattr(sizes, name)
        if name == "supervisor" and easy is not None:
            queue = easy_queue
        rows, queue = _draw(queue, wanted, n_classes if balance else None)
        if len(rows) < wanted:
            raise _TooFewError(_shortage(ordered, sizes, name, len(rows), n_classes, balance))
        drawn[name] = _split(rows, n_classes)
    return Splits(**drawn, n_classes=n_classes)


def fitting(
    examples: Sequence[Example], sizes: SplitSizes, seeds: Sequence[int], balance: bool = True, n_classes: int = 2
) -> SplitSizes:
    """The sizes, in proportion as much smaller as the examples are too few for them, or whole groups do not fill them.

    Args:
      seeds: whose splits must be filled.

    Raises:
      UserError: as `make_splits`, or splits of one example of each class cannot be filled.
    """
    counts = Counter(example.label for example in examples)
    usable = n_classes * min(counts[label] for label in range(n_classes)) if balance else len(examples)
    share = min(1.0, USABLE * usable / sum(sizes))
    step = n_classes if balance else 1
    while True:
        found = SplitSizes(*(max(step, int(size * share) // step * step) for size in sizes))
        try:
            for seed in seeds:
                make_splits(examples, found, seed, balance, n_classes)
            return found
        except _TooFewError as error:
            if max(found) == step:
                rare = min(range(n_classes), key=lambda label: counts[label])
                few = f"class {rare} has {counts[rare]:,} examples" if balance and counts[rare] < 4 * MANY else ""
                reason = f"{few}, and every split needs one" if few else "the task has too few groups"
                raise UserError(f"splits of {step} examples cannot be filled: {reason}") from error
            share *= USABLE


def draw_pool(examples: Sequence[Example], pool: int, n_classes: int | None = None) -> list[Example]:
    """Whole groups, in an order that is a hash of their name, as many as hold at most `pool` examples together.

    With `n_classes` they hold at most `pool / n_classes` of each class, so that balanced splits waste nothing.
    """
    groups = _groups(sorted(examples))
    left: Counter[int | None] = Counter({None: pool})
    if n_classes is not None:
        left = Counter(dict.fromkeys(range(n_classes), pool // n_classes))
    drawn: list[Example] = []
    for name in sorted(groups, key=lambda name: hashlib.sha256(name.encode()).digest()):
        wanted = Counter(None if n_classes is None else example.label for example in groups[name])
        if wanted <= left:
            drawn += groups[name]
            left -= wanted
    return drawn


def _draw(queue: list[list[Example]], wanted: int, n_classes: int | None) -> tuple[list[Example], list[list[Example]]]:
    """Takes groups from the queue's head; a group none of whose examples fits stays for the splits after this one."""
    left: dict[int | None, int] = {None: wanted}
    if n_classes is not None:
        left = dict.fromkeys(range(n_classes), wanted // n_classes)
    rows, kept = [], []
    for group in queue:
        fitting = []
        for example in group:
            quota = None if n_classes is None else example.label
            if left[quota]:
                left[quota] -= 1
                fitting.append(example)
        rows += fitting
        if not fitting:
            kept.append(group)
    return rows, kept


def kin(texts: Sequence[Text], groups: Sequence[str]) -> list[str]:
    """A name for each example, the same for those that must stay together: of one group, or with a text in common."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for example, group in zip(texts, groups, strict=True):
        for text in flatten([example]):
            low, high = sorted((root("group " + group), root("text " + text)))
            parent[high] = low
    return [root("group " + group) for group in groups]


def _groups(ordered: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples by group, where groups that share a text count as one."""
    names = kin([example.text for example in ordered], [example.group for example in ordered])
    groups: dict[str, list[Example]] = {}
    for name, example in zip(names, ordered, strict=True):
        groups.setdefault(name, []).append(example)
    return groups


def _split(rows: list[Example], n_classes: int) -> Split:
    ids, texts, labels, groups, _, shares, _ = zip(*rows, strict=True)
    soft = None
    if any(each is not None for each in shares):
        soft = np.eye(n_classes, dtype=np.float32)[np.array(labels)]
        for row, each in enumerate(shares):
            if each is not None:
                soft[row] = each
    return Split(ids, texts, np.array(labels, np.int32), groups, soft)


def _check(examples: Sequence[Example], sizes: SplitSizes, n_classes: int, balance: bool) -> None:
    for name, size in zip(sizes._fields, sizes, strict=True):
        if balance and (size < n_classes or size % n_classes):
            below = size // n_classes * n_classes
            near = f"{below} or {below + n_classes}" if below > 0 else f"{n_classes}"
            raise UserError(
                f"the {name} split must be a positive multiple of the {n_classes} classes, not {size}; take {near}, "
                "or shrink=True"
            )
        if size < 1:
            raise UserError(f"the {name} split must hold an example or more, not {size}")
    if not examples:
        raise UserError("the task has no examples")
    bad = [example for example in examples if not 0 <= example.label < n_classes]
    if bad:
        raise UserError(
            f"{len(bad)} labels are not in 0..{n_classes - 1}, {bad[0].label!r} of example {bad[0].id!r} among them"
        )
    if len({example.id for example in examples}) < len(examples):
        raise UserError("example ids are not unique; give each example an id of its own")
    present = {example.label for example in examples}
    if len(present) < (n_classes if balance else 2):
        raise UserError(
            f"the task has examples of {len(present)} of its {n_classes} classes alone ({sorted(present)[:5]})"
        )


def _shortage(
    examples: Sequence[Example], sizes: SplitSizes, name: str, found: int, n_classes: int, balance: bool
) -> str:
    counts = np.bincount([example.label for example in examples], minlength=n_classes).tolist()
    usable = min(counts) * n_classes if balance else sum(counts)
    balanced = f" ({usable} when balanced)" if balance else ""
    return (
        f"the splits need {sum(sizes)} examples; the task has {len(examples)}{balanced}, so {name} would get {found} "
        f"of {getattr(sizes, name)}; make the splits smaller, as shrink=True does"
    )
