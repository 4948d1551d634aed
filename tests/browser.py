"""A page as a browser shows it, where there is one (Debian's package `chromium`)."""

import shutil
import subprocess
from html.parser import HTMLParser

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")


class Shown(HTMLParser):
    """The elements that a browser made of a page, but for those in hidden panels."""

    VOID = ("meta", "br", "hr", "img", "link", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source, self.text = text, ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._stack: list[bool] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        hidden = any(self._stack) or "hidden" in dict(attrs) or tag in ("script", "style")
        if tag not in self.VOID:
            self._stack.append(hidden)
        if not hidden:
            self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self._stack:
            self._stack.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._stack):
            self.text += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a class, or of a tag."""
        return [each for tag, each in self.elements if tag == name or name in (each.get("class") or "").split()]


def show(address: str, *, milliseconds: int = 8000) -> Shown:
    """What is at an address after its scripts have run."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--virtual-time-budget={milliseconds}", address]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return Shown(done.stdout)
