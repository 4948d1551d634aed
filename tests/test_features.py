"""docs/reference/features.md: every fragment that it shows can be built, and every command parses."""

import re
import shlex
from pathlib import Path

import pytest

import w2s_jax as w2s
from w2s_jax import config
from w2s_jax.cli import dispatch
from w2s_jax.data import tasks

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "features.md"
LINES = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
SPANS = [span for line in LINES for span in re.findall(r"`([^`]+)`", line)]
FRAGMENTS = [span for span in SPANS if re.match(r"[A-Z]\w*\(", span)]
COMMANDS = [span for span in SPANS if span.startswith("w2s ")]


def test_there_is_something_to_check() -> None:
    assert len(LINES) == 47
    assert len(FRAGMENTS) > 25
    assert len(COMMANDS) > 5


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_fragments_are_what_a_config_takes(fragment: str) -> None:
    built = eval(fragment, {name: getattr(w2s, name) for name in w2s.__all__})
    if isinstance(built, w2s.Method):
        for transform in built.labels:
            transform.check()
    if isinstance(built, w2s.TaskConfig):
        assert tasks.get(built.name).name == built.name


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse_and_their_configs_load(command: str) -> None:
    _, *arguments = shlex.split(command)
    options, _ = dispatch.parse(arguments)
    assert options.command == arguments[0]
    for name in re.findall(r"configs/\S+\.py", command):
        assert isinstance(config.load(str(ROOT / name)), w2s.Experiment)


def test_the_number_of_tasks_is_right() -> None:
    assert f"| {len(tasks.TASKS)} by name" in next(line for line in LINES if line.startswith("| text tasks"))
