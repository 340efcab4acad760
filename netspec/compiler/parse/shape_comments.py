"""Shape comments: `-> conv(64, 3, pad = 1) -> relu  # [64, 32, 32]`.

A comment behind code that consists only of a shape states the shape of the value that ends there,
and it is checked. This module finds such comments and the value of each; `shape_comment_checks.py`
checks them.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from netspec.compiler.ir import constants
from netspec.compiler.parse import parse_shape
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Source, Span
from netspec.records import record

_BLANKS = " \t\f\r"
_COMMENT = re.compile(rf"#[{_BLANKS}]*(\[[^#\n]*\])[{_BLANKS}]*$", re.MULTILINE)
# What may stand between the end of a value and its comment: brackets, operators, an arrow.
_BETWEEN = _BLANKS + "),]+-*/%>"
# The expressions that can be values of a net.
_VALUES = (
    syntax.Name, syntax.Parens, syntax.Chain, syntax.Conditional, syntax.Access, syntax.Call,
    syntax.Input, syntax.Declared,
)  # fmt: skip
# What a size in a comment may consist of: nothing that would add a layer to the net.
_CONSTANTS = (
    syntax.Name, syntax.Literal, syntax.Parens, syntax.Chain, syntax.Unary, syntax.Power,
    syntax.Compare, syntax.Logic, syntax.Conditional, syntax.Access, syntax.Attribute, syntax.Index,
    syntax.Argument,
)  # fmt: skip


@record(slots=True)
class ShapeComment:
    """A shape that a comment states, and the value that has it.

    Attributes:
        sizes: the sizes as written, including a leading `N`.
        span: the span of the shape in the comment.
        about: the span of what computes the value: the layers on that line, or an expression.
    """

    sizes: tuple[syntax.Expr, ...]
    span: Span
    about: Span


def shape_comments(file: syntax.File) -> dict[object, ShapeComment]:
    """Return the shape comments of a file, by the stage, expression or input that each is about."""
    places = _places(file.source)
    if not places:
        return {}
    found: dict[tuple[int, int], tuple[int, object, Span]] = {}
    for node, about in _values(file, sorted(places)):
        comment = places[about.end]
        # A comment is about the value that ends last before it, and of several that end there, the
        # outermost.
        if about.end > found.get(comment, (-1, None, None))[0]:
            found[comment] = (about.end, node, about)
    comments = {}
    for (start, end), (_, node, about) in found.items():
        shape = parse_shape(file.source, start, end)
        if shape is not None and shape.items and all(map(_is_constant, syntax.parts(shape.items))):
            comments[node] = ShapeComment(shape.items, shape.span, about)
    return comments


def _places(source: Source) -> dict[int, tuple[int, int]]:
    """Return where a value must end for a comment to be about it, with the start and end of the
    shape.
    """
    text, places = source.text, {}
    for match in _COMMENT.finditer(text):
        end = match.start()
        while end > 0 and text[end - 1] in _BETWEEN:
            if text[end - 1] not in _BLANKS:
                places[end] = match.span(1)
            end -= 1
        places[end] = match.span(1)
    return places


def _values(file: syntax.File, ends: list[int]) -> Iterator[tuple[object, Span]]:
    """Yield the nodes that can be values and end at one of these places, outer ones first."""
    stack: list[Any] = [file.definitions]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(item))
            continue
        if type(item).__module__ != syntax.__name__:
            continue
        start, end = item.span.start, item.span.end
        at = bisect_right(ends, end) - 1
        if at < 0 or ends[at] <= start:
            continue
        if isinstance(item, syntax.Pipeline):
            yield from _stages(item, set(ends[bisect_right(ends, start) : at + 1]))
        elif isinstance(item, _VALUES) and ends[at] == end:
            yield item, item.span
        stack.extend(getattr(item, slot) for slot in reversed(item.__slots__) if slot != "callee")


def _stages(pipeline: syntax.Pipeline, ends: set[int]) -> Iterator[tuple[object, Span]]:
    """Yield the stages that end at one of these places, each with the span from the first layer of
    its line.
    """
    first, line = None, 0
    for stage in pipeline.stages:
        if first is None or stage.span.line != line:
            first, line = stage, stage.span.line
        if stage.span.end in ends:
            yield stage, first.span.to(stage.span)


def _is_constant(part: object) -> bool:
    if isinstance(part, syntax.Call):
        return part.callee.id in constants.FUNCTIONS
    return isinstance(part, _CONSTANTS)
