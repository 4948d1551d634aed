"""What a report must know of a study besides its answers, kept as study.json in its folder."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError

DESIGN = "study.json"


@dataclass(frozen=True)
class Design:
    """What the answers do not say of their study.

    Attributes:
      name: of the study.
      task: whose questions they are.
      unassisted: the condition without an assistant.
      expert: an expert's accuracy on these questions, or an estimate; None where nobody knows, or for Bowman et al.'s
        tasks the one that they give.
      source: where the expert's accuracy is from.
    """

    name: str
    task: str
    unassisted: str = "alone"
    expert: float | None = None
    source: str = "given"

    def __post_init__(self) -> None:
        for name in ("name", "task", "unassisted", "source"):
            if not isinstance(getattr(self, name), str):
                raise UserError(f"{name} of a study is a text, not {getattr(self, name)!r}")
        if self.expert is not None and not (isinstance(self.expert, int | float) and 0 < self.expert <= 1):
            raise UserError(f"an expert's accuracy is above 0 and at most 1, not {self.expert!r}")


def design_of(folder: Path, **said: str | float | None) -> Design:
    """What the folder's study.json says of the study, and what is `said` instead; None is nothing.

    Raises:
      UserError: study.json holds something else.
    """
    folder = Path(folder)
    known = files.read_json(folder / DESIGN) if (folder / DESIGN).exists() else {}
    names = {field.name for field in dataclasses.fields(Design)}
    if not isinstance(known, dict) or not names.issuperset(known):
        raise UserError(f"{folder / DESIGN} must be an object with {', '.join(sorted(names))}")
    given = {name: value for name, value in said.items() if value is not None}
    return Design(**{"name": folder.resolve().name, "task": "an unnamed task", **known, **given})


def write_design(folder: Path, design: Design) -> None:
    """Writes study.json."""
    files.write_json(Path(folder) / DESIGN, dataclasses.asdict(design))
