"""Kinds of weak supervisors, one file a kind."""
