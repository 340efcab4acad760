"""The error for a file that exists but is damaged or of another kind."""

from __future__ import annotations


class UnsoundFileError(ValueError):
    """A file is damaged, or holds something else; the message says what, in one line."""
