"""The page as files, which open from a disk or any web host."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from w2s_jax.report import figures, html_page
from w2s_jax.runtime import files
from w2s_jax.runtime.errors import UserError
from w2s_jax.view import page
from w2s_jax.view.content import Content, reason

DATA = "data"


def bundle(folders: Sequence[Path], out: Path, note: Callable[[str], None] = print) -> list[Path]:
    """Writes the page over these runs, with all that it shows, into `out`.

    Args:
      note: told, in one line, of what cannot be shown; the page says it too.

    Returns:
      The page, then the other files.

    Raises:
      UserError: a folder is of no run, its results cannot be read, or `out` holds something else.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / "view.js").exists())):
        raise UserError(f"{out} is not empty and no earlier bundle; give another folder")
    content = Content(folders)
    for earlier in (out / DATA, out / html_page.FIGURES):  # may hold texts and truth of other runs
        shutil.rmtree(earlier, ignore_errors=True)
    drawn = figures.draw(content.finished)
    written = [out / "index.html"]
    files.write_text(written[0], page.index(content, drawn, live=False))
    for name, data in page.static().items():
        written.append(out / name)
        files.write_text(written[-1], data.decode())
    for name in content.names():
        written.append(out / DATA / f"{name}.js")
        script, problem = as_script(content, name)
        if problem is not None:
            note(f"not shown: {problem}")
        files.write_text(written[-1], script)
    return written + figures.write(drawn, out / html_page.FIGURES)


def as_script(content: Content, name: str) -> tuple[str, str | None]:
    """A part as a script, which a page may load from a disk, and why there is none; the script says so then.

    Raises:
      KeyError: there is no such part.
    """
    try:
        return _script(name, content.part(name)), None
    except Exception as error:  # a damaged file spoils its own part alone
        if isinstance(error, KeyError) and error.args == (name,):
            raise
        return _script(name, {"problem": reason(error)}), reason(error)


def changed(name: str) -> str:
    """In place of a part of results that are not what the page was made from."""
    return _script(name, {"problem": "The results have changed since this page was opened: reload it."})


def _script(name: str, value: Any) -> str:
    """The page parses JSON from a string: that is faster than a literal, and no text can end it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return f"w2s.part({json.dumps(name)}, JSON.parse({json.dumps(text)}));\n"
