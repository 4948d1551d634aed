"""What a strong model says to a judge: debates and consultancies, written once for every text, and kept.

<root>/<hash of the advisor, the protocol and its options>/
    <hash of some texts>.jsonl  a line for each: `text`, and `said`, a list of `answer` (a class) and `argument`
    <hash of some texts>.json   the SHA-256 of that file
"""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import filelock

from w2s_jax import models
from w2s_jax.data.example import coin, digest
from w2s_jax.data.task_data import TaskData
from w2s_jax.data.tokens import Text
from w2s_jax.runtime import files, processes
from w2s_jax.runtime.errors import UserError
from w2s_jax.stages import cost
from w2s_jax.stages.base import SessionView, model_fingerprint
from w2s_jax.stages.cost import Work
from w2s_jax.train import reading
from w2s_jax.train.learner import Learner
from w2s_jax.train.writing import Writer

SILENT = 16  # texts for none of which anything is written are no chance
PART = 256  # texts whose transcripts are written together: a killed process loses so many at most


@dataclass(frozen=True)
class Debating:
    """What decides transcripts, besides texts and answers. Attributes are those of `Advised`."""

    advisor: Learner
    protocol: Literal["debate", "consultancy"]
    turns: int
    tokens: int
    temperature: float
    seed: int
    heading: str

    @property
    def sides(self) -> int:
        """How many speak in each turn."""
        return 2 if self.protocol == "debate" else 1


class Argument(NamedTuple):
    """What was said.

    Attributes:
      answer: for which class; -1 for none, as of a judge's question.
      speaker: who said it; the sides of a debate are called by nothing else than their class.
    """

    answer: int
    argument: str
    speaker: str = ""


Transcript = tuple[Argument, ...]


def identity(maker: Debating) -> dict[str, Any]:
    """What decides an advisor's transcripts, besides texts and answers, as JSON values."""
    options = {name: getattr(maker, name) for name in ("protocol", "turns", "tokens", "temperature", "seed", "heading")}
    return {"advisor": reader_identity(maker.advisor), **options}


def reader_identity(learner: Learner) -> dict[str, Any]:
    """What decides how a model that is not trained reads and writes."""
    options = {name: getattr(learner, name) for name in ("max_tokens", "too_long", "dtype")}
    return {"model": model_fingerprint(learner.model), **options}


def work(maker: Debating, task: TaskData) -> Work:
    """Every argument's prompt is read, with all that was said before it, and the argument written; once for a task."""
    arguments = maker.turns * maker.sides
    length = cost.mean_length(
        maker.advisor.model, maker.advisor.chat, tuple(task.texts[: cost.SAMPLE]), maker.advisor.max_tokens
    )
    tokens = arguments * length + maker.tokens * arguments * (arguments + 1) / 2
    flops = 2 * len(task.texts) * tokens * models.size(maker.advisor.model, embeddings=True)
    return Work(flops, ("transcripts", files.canonical(identity(maker)), task.config))


def check(maker: Debating, texts: Sequence[Text], answers: Sequence[str]) -> None:
    """Finds what would stop the advisor.

    Raises:
      UserError: a task of more than two classes, or of comparisons, or an advisor that cannot write, or not all of its
        arguments after these texts.
    """
    if models.outline(maker.advisor.model)[0].is_encoder:
        raise UserError(f"{maker.advisor.model} is an encoder, which writes nothing; choose a decoder as advisor")
    if len(answers) != 2 or not all(isinstance(text, str) for text in texts):
        raise UserError(f"a {maker.protocol} needs a task of two classes whose examples are one text each")
    arguments = maker.turns * maker.sides
    headings = "".join(_heading(maker, answer) for answer in answers) * maker.turns
    reading.encode_prompts(maker.advisor, [f"{text}{headings}" for text in texts], arguments * maker.tokens)


def consulted(text: Text) -> int:
    """The class that a consultant argues for, decided by the text: whether it is true plays no part."""
    return coin("consultancy", str(text))


def speakers(protocol: str, text: Text) -> tuple[int, ...]:
    """The classes that are argued for in each turn, in order."""
    if protocol == "consultancy":
        return (consulted(text),)
    first = coin("debate", str(text))
    return first, 1 - first


def transcripts(
    maker: Debating, texts: Sequence[Text], answers: Sequence[str], session: SessionView
) -> dict[Text, Transcript]:
    """Every text's transcript, read from `session.transcripts` as far as it was written before.

    Of several processes one writes.

    Args:
      answers: what the two classes are called.

    Raises:
      UserError: the advisor is no decoder or writes nothing, a prompt is too long, or a file was truncated or edited.
    """

    def begin() -> Callable[[Sequence[str]], list[Transcript]]:
        writer = Writer(maker.advisor, session.mesh)
        return lambda part: _held(maker, part, answers, writer)

    return kept(_folder(maker, answers, session.transcripts), texts, begin, maker.advisor.model, session)


def kept(
    folder: Path,
    texts: Sequence[Text],
    begin: Callable[[], Callable[[Sequence[str]], list[Transcript]]],
    writer: str,
    session: SessionView,
) -> dict[Text, Transcript]:
    """Every text's transcript, read from this folder as far as it was written before. Of several processes one writes.

    Args:
      begin: loads what writes transcripts of some texts; called where some are missing.
      writer: its name, for an error.

    Raises:
      UserError: nothing at all is written, or a file was truncated or edited.
    """
    with _alone(folder):
        found = read(folder)
        missing = processes.lead(lambda: sorted({str(text) for text in texts} - found.keys()))
        write = begin() if missing else None
        for start in range(0, len(missing), PART):
            assert write is not None
            part = missing[start : start + PART]
            said = write(part)
            if len(part) >= SILENT and not any(each.argument for transcript in said for each in transcript):
                raise UserError(f"{writer} wrote no argument for {len(part)} texts: try another `heading`")
            processes.lead(functools.partial(_write, folder, part, said))
            found |= dict(zip(part, said, strict=True))
            session.progress(start + len(part), len(missing), ())
    return {text: found[str(text)] for text in texts}


def folder_of(what: Mapping[str, Any], root: Path) -> Path:
    """Where transcripts are kept that this decides."""
    return root / files.sha256_text(files.canonical(what))[:16]


def stored(maker: Debating, answers: Sequence[str], root: Path) -> dict[Text, Transcript]:
    """The transcripts that are kept, by text.

    Args:
      root: the folder of all transcripts.

    Raises:
      UserError: a file was truncated or edited.
    """
    return read(_folder(maker, answers, root))


def assigned(texts: Sequence[Text], shuffled: bool) -> dict[Text, Text]:
    """Whose transcript each text has: its own, or, shuffled, another one's."""
    if not shuffled:
        return {text: text for text in texts}
    order = sorted(dict.fromkeys(texts), key=lambda text: digest("shuffled", str(text)))
    return dict(zip(order, order[1:] + order[:1], strict=True))


def with_transcripts(
    maker: Debating,
    texts: Sequence[Text],
    said: Mapping[Text, Transcript],
    answers: Sequence[str],
    shuffled: bool = False,
) -> list[Text]:
    """What the judge reads of these examples: each text and its transcript, or, shuffled, another one's."""
    shown = assigned(texts, shuffled)
    return [str(text) + spoken(said[shown[text]], maker, answers) for text in texts]


def _folder(maker: Debating, answers: Sequence[str], root: Path) -> Path:
    return folder_of({**identity(maker), "answers": list(answers)}, root)


def _held(maker: Debating, texts: Sequence[str], answers: Sequence[str], writer: Writer) -> list[Transcript]:
    said: list[Transcript] = [()] * len(texts)
    for _ in range(maker.turns):
        for place in range(maker.sides):
            sides = [speakers(maker.protocol, text)[place] for text in texts]
            prompts = [
                text + spoken(before, maker, answers) + _heading(maker, answers[side])
                for text, before, side in zip(texts, said, sides, strict=True)
            ]
            written = writer(prompts, tokens=maker.tokens, temperature=maker.temperature, seed=maker.seed)
            said = [
                (*before, Argument(*each)) for before, each in zip(said, zip(sides, written, strict=True), strict=True)
            ]
    return said


def spoken(said: Transcript, maker: Debating, answers: Sequence[str]) -> str:
    """A transcript as it follows its text."""
    return "".join(f"{_heading(maker, answers[each.answer])} {each.argument}" for each in said)


def _heading(maker: Debating, answer: str) -> str:
    return maker.heading.replace("{answer}", answer)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Other jobs wait for this one's transcripts, which they will read."""
    lock = filelock.FileLock(folder / ".lock")
    processes.lead(lambda: _acquire(lock, folder))
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, folder: Path) -> None:
    with files.disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()


def _write(folder: Path, texts: Sequence[str], said: Sequence[Transcript]) -> None:
    rows = [
        {"text": text, "said": [_row(each) for each in transcript]}
        for text, transcript in zip(texts, said, strict=True)
    ]
    path = folder / f"{files.sha256_text(files.canonical(list(texts)))[:16]}.jsonl"
    files.write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    path.chmod(0o444)
    files.write_json(path.with_suffix(".json"), {"sha256": files.sha256_file(path)})


def _row(said: Argument) -> dict[str, Any]:
    found = said._asdict()
    return found if said.speaker else {name: found[name] for name in ("answer", "argument")}


def read(folder: Path) -> dict[Text, Transcript]:
    """The transcripts that a folder holds, by text.

    Raises:
      UserError: a file was truncated or edited.
    """
    found: dict[Text, Transcript] = {}
    for manifest in sorted(folder.glob("*.json")):
        path = manifest.with_suffix(".jsonl")
        if not path.exists() or files.sha256_file(path) != files.read_json(manifest)["sha256"]:
            raise UserError(f"transcripts {path} were truncated or edited; delete {folder} and run again")
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found[row["text"]] = tuple(Argument(**each) for each in row["said"])
    return found
