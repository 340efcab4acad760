"""`check --format github`: workflow commands, which GitHub shows at the lines of a change.

See https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.cli.check_formats.checked_file import CheckedFile, distinct, words
from netspec.diagnostics import Diagnostic


def as_github(files: Sequence[CheckedFile]) -> str:
    """Return a command for each diagnostic; those of an import that files share come once."""
    return "\n".join(_command(file, diagnostic) for file, diagnostic in distinct(files))


def _command(file: str, diagnostic: Diagnostic) -> str:
    properties = dict(_properties(file, diagnostic), title=str(diagnostic.code))
    said = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{diagnostic.severity} {said}::{_data(words(diagnostic))}"


def _properties(file: str, diagnostic: Diagnostic) -> Iterator[tuple[str, str]]:
    span = diagnostic.span
    if span is None:
        yield "file", file
        return
    yield "file", span.source.name
    line, column = span.source.position(span.start)
    end_line, end_column = span.source.position(max(span.start, span.end - 1))  # the last character
    yield "line", str(line)
    yield "endLine", str(end_line)
    if line == end_line:
        yield "col", str(column)
        yield "endColumn", str(end_column)


def _data(text: str) -> str:
    """Escape what would end a command: the rest of a message could be a command of its own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
