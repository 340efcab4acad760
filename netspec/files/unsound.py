"""The error for a file that is there and is not what it should be."""

from __future__ import annotations


class UnsoundFileError(ValueError):
    """A file is damaged, or holds something else; the message says what, on one line."""
