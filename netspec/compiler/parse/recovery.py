"""How to go on after a syntax error: take out what it stands in, and parse the rest again."""

from __future__ import annotations

import re

from netspec import codes
from netspec.diagnostics import Diagnostic

_CONTINUES = re.compile(r"[ \t]*(?:->|[-+*/%<>=!])")
_DEFINITION = re.compile(r"^(?:net|block|from|language)\b", re.MULTILINE)
_BODY = re.compile(r"^[ \t]*(?:net|block)\b", re.MULTILINE)
_NO_CODE = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*')
# What stands for a line that opens a body, so that its `}` still closes something.
_OPENER = "if 1 {"


def without_statement(text: str, diagnostic: Diagnostic) -> str:
    """The text with the statement of a syntax error blanked; what is left keeps its place.

    The text gets shorter by words, never longer, so that this ends. Where the braces of the
    statement do not let it go alone, its whole net or block goes.
    """
    assert diagnostic.span is not None
    if _BODY.search(text) is None:
        return ""  # no net and no block: there is nothing more to say of it
    at = max(0, min(diagnostic.span.start, len(text) - 1))
    start, end = _line_of(text, at)
    end = max(end, _line_of(text, min(diagnostic.span.end, len(text)))[1])
    while start > 0 and _CONTINUES.match(text, start):
        start = _line_of(text, start - 1)[0]
    while end < len(text) and _CONTINUES.match(text, end + 1):
        end = _line_of(text, end + 1)[1]
    line = text[start:end]
    top_level = not line[:1].isspace()
    instead = _replacement(line)
    if diagnostic.code == codes.LIMIT_NESTING:
        return ""
    unclosed_body = diagnostic.code == codes.SYNTAX_BRACKET and diagnostic.span.text == "{"
    if top_level or unclosed_body or instead is None:
        return _without_definition(text, at)
    return text[:start] + instead + text[end:]


def _line_of(text: str, at: int) -> tuple[int, int]:
    """The start of the line at a place, and its end without the line break."""
    end = text.find("\n", at)
    return text.rfind("\n", 0, at) + 1, len(text) if end < 0 else end


def _replacement(line: str) -> str | None:
    """A line as long that does nothing but balance the same braces, or None."""
    code = _NO_CODE.sub("", line)
    net = code.count("{") - code.count("}")
    closes_first = code.lstrip().startswith("}")
    words = {
        (0, False): "", (1, False): _OPENER, (0, True): f"}}\n{_OPENER}", (-1, True): "}",
        (-1, False): "}",
    }.get((net, closes_first))  # fmt: skip
    if words is None or len(words) > len(line) or not code.strip() or code.strip() == words:
        return None
    blank = re.sub(r"[^\n]", " ", line)
    return words + blank[len(words) :]


def _without_definition(text: str, at: int) -> str:
    """The text without the net, block or import around a place."""
    starts = [match.start() for match in _DEFINITION.finditer(text)]
    start = max((s for s in starts if s <= at), default=0)
    # What precedes the first definition belongs to nothing: it goes up to the next one.
    end = min((s for s in starts if s > at), default=len(text))
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
