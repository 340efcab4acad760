"""A page that is a program, and that cannot be built on every machine."""

from __future__ import annotations


class CannotBuildError(Exception):
    """A page cannot be built here; the text says what is missing."""
