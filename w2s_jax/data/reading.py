"""What became of the records that a task's examples are read from."""

from dataclasses import dataclass

from w2s_jax.runtime.origin import Origin


@dataclass(frozen=True)
class Reading:
    """What became of a source's records.

    Attributes:
      records: that were read.
      unlabelled: of them, those that give no example.
      labelled: examples that the others give.
      merged: of these, those that became one with another example of the same content.
      contradictory: of these, those left out because their content's labels have no majority.
      outside_pool: examples left out because the task is larger than its pool.
      examples: those that are left, from which splits are drawn.
      empty: examples left out because they have no text.
      unnamed: examples left out because `only` does not name them.
      origin: what the records were read from; None where nobody knows.
      available: records that the files which were opened hold, if only a sample was read; None if all were, or where
        nobody knows.
      is_sample: whether the source has more records than were read.
      layout: how a table of the user's own was understood, in words; empty for other tasks.
    """

    records: int
    unlabelled: int
    labelled: int
    merged: int
    contradictory: int
    outside_pool: int
    examples: int
    empty: int = 0
    unnamed: int = 0
    origin: Origin | None = None
    available: int | None = None
    is_sample: bool = False
    layout: tuple[str, ...] = ()

    def describe(self) -> str:
        """`4,080 records: 2,314 examples (1,500 merged with others of the same content, ...)`."""
        gone = (
            (self.unlabelled, "records without a labelled example"),
            (self.empty, "left out, as they have no text"),
            (self.merged, "merged with others of the same content"),
            (self.contradictory, "left out, as their content's labels have no majority"),
            (self.unnamed, "left out, as they are not named"),
            (self.outside_pool, "left out of the pool"),
        )
        words = ", ".join(f"{count:,} {what}" for count, what in gone if count)
        sampled = ", a sample" if self.is_sample else ""
        sampled += f" of the {self.available:,} in the files that were opened" if self.available else ""
        return f"{self.records:,} records{sampled}: {self.examples:,} examples" + (f" ({words})" if words else "")

    @property
    def repeated(self) -> int:
        """Examples that repeat the content of another."""
        return self.merged + self.contradictory

    @property
    def is_whole(self) -> bool:
        """Whether every record and example is there, but for those outside the pool."""
        return not (self.unlabelled or self.merged or self.contradictory or self.empty or self.unnamed)
