"""Weak-to-strong generalization in JAX."""

__version__ = "0.1.0"
