"""What the site does to docstrings and pages before it shows them."""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^( *)>>> .*(?:\n\1.+)*", re.MULTILINE)  # to the next blank line
SEVERAL = re.compile(r"^ +\w+(?:, \w+)+(?=: )", re.MULTILINE)  # arguments or attributes on one line
CODE = re.compile(r"<code>[^<]*</code>")


class Docstrings(griffe.Extension):
    """Makes doctests blocks of code, and keeps the names of one line together: else the last would be a type."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = re.sub(r" +# doctest: .*", "", obj.docstring.value)
            text = SEVERAL.sub(lambda found: found[0].replace(", ", ",\N{NO-BREAK SPACE}"), text)
            obj.docstring.value = EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


def on_page_content(html: str, **_: Any) -> str:
    """Bars in tables are escaped, which GitHub undoes in code, and Python-Markdown does not."""
    return CODE.sub(lambda found: found[0].replace("\\|", "|"), html)
