"""Python's indented bodies (`net A:`, `for i in range(3):`), and the edits that turn them into
braces.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from netspec.compiler.parse.slips import MAX_LINE
from netspec.diagnostics import Edit, Hint, Source, Span

_HEAD = re.compile(
    r"([ \t]*)(?:\}[ \t]*)?((?:net|block|for|if|else[ \t]+if|elif|else)\b[^{}#]*?)[ \t]*(:)[ \t]*(#.*)?$"
)
_ELSE = re.compile(r"(?:else|elif)\b")


def braces_hint(source: Source, at: int) -> Hint | None:
    """Return a hint that gives all indented bodies of the file braces.

    It is None if the place is not the colon that opens such a body.
    """
    start = source.text.rfind("\n", 0, at) + 1
    head = _head(_line(source, start))
    if head is None or start + head.start(3) != at:
        return None
    return Hint("a body is written in braces: `{` instead of the colon, and `}` after its last line",
                tuple(_braces(source)), stands=True)  # fmt: skip


def _head(line: str) -> re.Match[str] | None:
    return _HEAD.match(line) if len(line) <= MAX_LINE else None


def _line(source: Source, start: int) -> str:
    end = source.text.find("\n", start)
    return source.text[start : end if end >= 0 else len(source.text)]


def _braces(source: Source) -> Iterator[Edit]:
    open_bodies: list[int] = []  # the indentation of the head of each
    start, last = 0, 0  # start of this line; end of the last line with code
    while start <= len(source.text):
        line = _line(source, start)
        code = line.strip()
        if code and not code.startswith("#"):
            indent = len(line) - len(line.lstrip())
            closed, joins = "", False
            while open_bodies and indent <= open_bodies[-1] and not joins:
                own = open_bodies.pop()
                joins = own == indent and _ELSE.match(code) is not None
                closed += "" if joins else f"\n{' ' * own}}}"
            yield from _closing(source, last, closed)
            yield from _branch(source, start + indent, code, joins=joins)
            if (head := _head(line)) is not None:
                colon = start + head.start(3)
                yield Edit(Span(source, colon, colon + 1), " {")
                open_bodies.append(indent)
            last = start + len(line)
        start += len(line) + 1
    closed = "".join(f"\n{' ' * indent}}}" for indent in reversed(open_bodies))
    yield from _closing(source, last, closed)


def _branch(source: Source, at: int, code: str, *, joins: bool) -> Iterator[Edit]:
    """Yield the edit that makes `elif` an `else if`, or puts a brace before `else`.

    Args:
        source: the text.
        at: where the code of the line starts.
        code: that code.
        joins: whether the line continues the `if` of the body that ends here.
    """
    brace = "} " if joins else ""
    if code.startswith("elif"):
        yield Edit(Span(source, at, at + len("elif")), f"{brace}else if")
    elif joins:
        yield Edit(Span(source, at, at), brace)


def _closing(source: Source, at: int, text: str) -> Iterator[Edit]:
    if text:
        yield Edit(Span(source, at, at), text)
