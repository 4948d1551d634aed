"""What made a result: the same words in every stage, and git asked once."""

import subprocess

import pytest

from w2s_jax.runtime import provenance


@pytest.fixture
def asked(monkeypatch):
    """The git commands that are started, in a process that has started none."""
    run, commands = subprocess.run, []

    def counted(command, *arguments, **keywords):
        commands.append(command[3])
        return run(command, *arguments, **keywords)

    provenance._git_commit.cache_clear()
    monkeypatch.setattr(subprocess, "run", counted)
    yield commands
    provenance._git_commit.cache_clear()


def test_git_is_asked_once_a_process(asked):
    first, *others = (provenance.made() for _ in range(3))
    assert len(asked) <= 2
    assert len(set(asked)) == len(asked), "the commit, and whether files were changed since"
    assert {each["git"] for each in others} == {first["git"]}


def test_outside_a_checkout_there_is_no_commit(asked, monkeypatch):
    def none(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", none)
    assert provenance.made()["git"] is None
