"""The kinds of debaters and protocols that have a name."""

from typing import Any

from w2s_jax.runtime.registry import Registry

PARTS = Registry[type[Any]]("part of a debate")
