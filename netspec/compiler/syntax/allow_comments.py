"""Comments that silence warnings: `# allow: CODE, ...`.

Such a comment belongs to a statement, or to the head of one that has a body (`net A(...) {`,
`for i in range(3) {`), never to a line. So no change of layout changes what it silences.

- Behind code, it belongs to the statement that the code is part of. Behind a closing `}`, it
  belongs to the whole statement that the `}` closes.
- Alone on its line, it belongs to the statement that it stands inside of, or else to the next one.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any

from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Diagnostic, Span
from netspec.records import record

_ALLOW = re.compile(r"#\s*allow:\s*([\w/-]+(?:\s*,\s*[\w/-]+)*)")
_CODE = re.compile(r"[\w/-]+")
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*')

# The code that may stand between a comment and the head that it belongs to.
_LEADS_TO_HEAD = ("", "}elseif", "elseif", "if")


@record(slots=True)
class Silenced:
    """The warnings that one comment silences: those whose span starts inside `span`.

    Attributes:
        about: the number of the statement that the comment belongs to, counted from the file's
            start.
        span: the span of that statement.
        codes: the codes of the warnings.
    """

    about: int
    span: Span
    codes: frozenset[str]


def silenced(file: syntax.File) -> tuple[Silenced, ...]:
    """Return what the comments of a file silence, ordered by statement."""
    text = file.source.text
    if "allow:" not in text:
        return ()
    # Without comments and strings, every brace that is left in the text is one.
    code = _STRING_OR_COMMENT.sub(lambda match: _blank(match[0]), text)
    spans: list[Span] = []
    heads: list[tuple[int, int]] = []  # start of the head, index into spans
    closed: dict[int, int] = {}  # end of a body: index into spans
    for head, whole, opens in _statements(file):
        if opens:
            head = Span(head.source, head.start, code.index("{", head.end) + 1)
        heads.append((head.start, len(spans)))
        spans.append(head)
        if whole is not None:
            closed[whole.end] = len(spans)
            spans.append(whole)
    heads.sort()
    found = []
    for match in _STRING_OR_COMMENT.finditer(text):
        said = _ALLOW.findall(match[0]) if match[0].startswith("#") else []
        codes = frozenset(each.strip() for codes in said for each in codes.split(","))
        about = _about(code, match.start(), heads, spans, closed) if codes else None
        if about is not None:
            found.append(Silenced(about, spans[about], codes))
    return tuple(sorted(found, key=lambda each: (each.about, sorted(each.codes))))


def allowed_codes(file: syntax.File) -> Iterator[Span]:
    """Yield the span of each code in an `# allow:` comment of a file, wherever the comment stands."""
    if "allow:" not in file.source.text:
        return
    for comment in _STRING_OR_COMMENT.finditer(file.source.text):
        if comment[0].startswith("#"):
            for said in _ALLOW.finditer(comment[0]):
                for code in _CODE.finditer(said[1]):
                    start = comment.start() + said.start(1) + code.start()
                    yield Span(file.source, start, start + len(code[0]))


def _blank(text: str) -> str:
    return ("_" if text.startswith('"') else " ") * len(text)


def _about(
    code: str, at: int, heads: list[tuple[int, int]], spans: list[Span], closed: dict[int, int]
) -> int | None:
    """Return the number of the statement that a comment belongs to.

    It is None at the end of a body, and before an `else {`, which has no head of its own.
    """
    following = bisect_right(heads, (at, len(spans)))
    if following:
        before = heads[following - 1][1]
        if at < spans[before].end:
            return before
        end = len(code[:at].rstrip())
        behind = "\n" not in code[end:at]
        if behind and code[end - 1] == "}" and end in closed:
            return closed[end]
        if behind and "}" not in code[spans[before].end : end]:
            return before
    if following == len(heads):
        return None
    start, about = heads[following]
    return about if "".join(code[at:start].split()) in _LEADS_TO_HEAD else None


def is_allowed(warning: Diagnostic, comments: Iterable[Silenced]) -> bool:
    """Whether one of these comments silences a warning."""
    span = warning.span
    return span is not None and any(
        warning.code in comment.codes
        and comment.span.source is span.source
        and comment.span.start <= span.start < comment.span.end
        for comment in comments
    )


def _statements(file: syntax.File) -> Iterator[tuple[Span, Span | None, bool]]:
    """Yield the span of each definition and statement of a file, as (span, whole, opens).

    For one with a body, `span` is the head up to its last word, `whole` is the whole and `opens` is
    true.
    """
    stack: list[Any] = list(reversed(file.definitions))
    while stack:
        item = stack.pop()
        if isinstance(item, (syntax.Net, syntax.Block)):
            inputs = item.inputs if isinstance(item, syntax.Block) else ()
            parts: list[syntax.Name | syntax.Parameter] = [item.name, *item.parameters, *inputs]
            yield _up_to(item.span, parts[-1].span), item.span, True
            stack.extend(reversed(item.body))
        elif isinstance(item, syntax.For):
            yield _up_to(item.span, item.iterable.span), item.span, True
            stack.extend(reversed(item.body))
        elif isinstance(item, syntax.If):
            for i, (condition, body) in enumerate(item.branches):
                first = item.span if i == 0 else condition.span
                yield _up_to(first, condition.span), item.span if i == 0 else None, True
                stack.extend(reversed(body))
            stack.extend(reversed(item.otherwise))
        else:
            yield item.span, None, False


def _up_to(start: Span, end: Span) -> Span:
    return Span(start.source, start.start, end.end)
