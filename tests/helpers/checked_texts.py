"""Texts compiled the way an import compiles what it writes."""

from __future__ import annotations

from netspec.compiler.parse import parse
from netspec.diagnostics import Source
from netspec.imports.proof import CheckedText, checked_tree


def checked_text(name: str, text: str) -> CheckedText:
    """Compile a text."""
    return checked_tree(parse(Source(name, text)))
