"""Writes expressions and pipelines in canonical style, and keeps comments.

A writer walks the syntax tree and the text at the same time: the tree tells how the parts are
nested, the text tells how each word is spelt and where the comments are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import Expr
from netspec.diagnostics import Source
from netspec.text.doc import INDENT, Break, Comment, Doc, Group, IfBroken, must_break

_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
# A constant in a label. The dots in it part no segments.
_HOLE = re.compile(r"\{[^{}]*\}")
_BETWEEN = re.compile(r"[ \t\f\r]+|(\n)|(#[^\n]*)")
_BLANK_OR_COMMENT = " \t\f\r\n#"
# A comment in front of one of these moves on, to the place behind it where the line may end.
_FORWARD = frozenset(",)]}:{")

Item = TypeVar("Item")


class Writer:
    """Makes a layout document from the words of a text, which are taken one by one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0
        self._pending: list[Comment] = []
        self._open = [Group(breaks=True)]
        self._breaks: list[Break | None] = [None]  # the latest break of each open group
        self._start = Break()  # the break before the current statement

    @property
    def depth(self) -> int:
        """The number of levels by which the current place is indented."""
        return sum(group.indent > 0 for group in self._open)

    def finish(self) -> Group:
        """Return the document. All words must have been taken."""
        (document,) = self._open
        assert not self._pending
        assert not self._source.text[self._at :].strip()
        return document

    # -- what is written

    def word(self, text: str) -> None:
        """Take a word of the text, and the comments before it."""
        assert text
        at, comments = self._look()
        assert self._source.text.startswith(text, at), (text, self._source.text[at : at + 20])
        self._at = at + len(text)
        self._pending += comments
        self._open[-1].items.append(text)
        if self._pending and text not in _FORWARD:
            # A line cannot end here, so the comment moves back to the last place where one can.
            self._last_break().add(self._pending)
            self._pending = []

    def skip(self, text: str) -> bool:
        """Drop a word that the canonical style leaves out.

        Return False if the next word is another one.
        """
        if not self.comes(text):
            return False
        self._at, comments = self._look()
        self._at += len(text)
        self._pending += comments
        return True

    def comes(self, text: str) -> bool:
        """Whether the next word of the text is this one."""
        return self._source.text.startswith(text, self._look()[0])

    def comment_comes(self) -> bool:
        """Whether a comment stands before the next word."""
        return bool(self._look()[1])

    def text(self, text: str) -> None:
        """Write text that is not in the source."""
        self._add(text)

    def line_break(self, ending: Break) -> None:
        """Write a break, with the comments that stand at this place."""
        self._at, comments = self._look()
        pending, self._pending = self._pending, []  # from before, where no line could end
        if ending.hard and pending:
            # Only one comment fits behind a statement. Further ones go above it: below it, they
            # would be about the next statement.
            behind = len(comments) - sum(comment.own_line for comment in comments)
            pending, comments = [*pending, *comments[:behind]], comments[behind:]
            stays = 0 if pending[0].own_line else 1
            self._start.add(pending[stays:])
            pending = pending[:stays]
        if pending:
            ending.comments.append(pending[0])
            ending.add(pending[1:])
            ending.add(comments)
        else:
            ending.comments += comments
        self._breaks[-1] = ending
        if ending.hard:
            self._start = ending
        self._add(ending)

    def group(
        self, indent: int = 0, *, is_group: bool = True, loose: bool = False
    ) -> AbstractContextManager[object]:
        """Group what the body of the `with` writes: it stays on one line, or all its breaks break."""
        return _Opened(self, Group(indent, is_group=is_group, loose=loose))

    def open_group(self, group: Group) -> None:
        """Write into a group, up to `close_group`."""
        self._open.append(group)
        self._breaks.append(None)

    def close_group(self) -> None:
        """Write the group that was opened last into the one around it."""
        group = self._open.pop()
        self._breaks.pop()
        group.breaks = any(map(must_break, group.items))
        self._add(group)

    def indented(self) -> AbstractContextManager[object]:
        """Indent what the body of the `with` writes, where it is broken."""
        return self.group(INDENT, is_group=False)

    def _add(self, doc: Doc) -> None:
        self._open[-1].items.append(doc)

    def _last_break(self) -> Break:
        """Return the latest break that is not in a closed group."""
        return next(ending for ending in reversed(self._breaks) if ending is not None)

    def _look(self) -> tuple[int, list[Comment]]:
        """Return where the next word starts, and the comments before it."""
        text, at = self._source.text, self._at
        comments: list[Comment] = []
        # The usual cases first: the next word stands here, or behind one blank.
        if text[at : at + 1] == " ":
            at += 1
        if text[at : at + 1] not in _BLANK_OR_COMMENT:
            return at, comments
        at = self._at
        own_line, ends = at == 0, 0  # ends of lines since the last comment
        while match := _BETWEEN.match(text, at):
            at = match.end()
            if match.group(1):
                own_line, ends = True, ends + 1
            elif match.group(2):
                comments.append(_comment(match.group(2).rstrip(), own_line, begins=ends > 1))
                ends = 0
        return at, comments


class _Opened:
    """A group that is open in the body of a `with`, of which a file has thousands."""

    __slots__ = ("group", "writer")

    def __init__(self, writer: Writer, group: Group) -> None:
        self.writer = writer
        self.group = group

    def __enter__(self) -> None:
        self.writer.open_group(self.group)

    def __exit__(self, *error: object) -> None:
        self.writer.close_group()


class ExpressionWriter(Writer):
    """Writes the expressions of a file."""

    # -- small parts

    def words(self, text: str) -> None:
        """Write a word and a blank."""
        self.word(text)
        self.space()

    def space(self) -> None:
        """Write a blank."""
        self.text(" ")

    def equals(self) -> None:
        """Write ` = `."""
        self.space()
        self.words("=")

    def comma(self) -> None:
        """Write `, ` where the line must not be broken."""
        self.words(",")

    def string(self) -> None:
        """Write a string, spelt as in the text."""
        match = _STRING.match(self._source.text, self._look()[0])
        assert match is not None
        self.word(match.group())

    def listed(self, items: Sequence[Expr]) -> None:
        """Write expressions with commas between them, without brackets around."""
        for i, item in enumerate(items):
            if i:
                self.comma()
            self.expression(item)

    def bracketed(
        self, opening: str, items: Sequence[Item], write: Callable[[Item], None], closing: str,
        *, fill: bool = False, comma: str | None = None,
    ) -> None:  # fmt: skip
        """Write items in brackets.

        If they do not fit behind the opening bracket, they go on a line of their own. If they do
        not fit on that either, each gets a line, or, with `fill`, each line gets as many as fit.

        `comma` is what is written behind the last item; by default a comma if the item ends its
        line.
        """
        with self.group():
            self.word(opening)
            with self.indented():
                self.line_break(Break(""))
                with self.group():
                    for i, item in enumerate(items):
                        if i:
                            self.word(",")
                            with self.group() if fill else nullcontext():
                                self.line_break(Break())
                                write(item)
                        else:
                            write(item)
                    self.skip(",")
                    self._add(IfBroken(",") if comma is None else comma)
            self.line_break(Break("", closing=True))
            self.word(closing)

    # -- expressions

    def expression(self, expr: Expr) -> None:
        """Write an expression."""
        match expr:
            case syntax.Name():
                self.word(expr.id)
            case syntax.Literal():
                self.word(expr.span.text)
            case syntax.ListExpr():
                self._list(expr)
            case syntax.Parens():
                self.bracketed("(", (expr.inner,), self.expression, ")", comma="")
            case syntax.Group():
                comma = "," if len(expr.items) == 1 else None
                self.bracketed("(", expr.items, self.expression, ")", comma=comma)
            case syntax.Chain() | syntax.Compare() | syntax.Logic():
                self._operators(*_operands(expr))
            case syntax.Unary():
                self._unary(expr)
            case syntax.Power():
                self._power(expr)
            case syntax.Conditional():
                self._conditional(expr)
            case _:
                self._built(expr)

    def _built(self, expr: syntax.Access | syntax.Call | syntax.Pipeline) -> None:
        match expr:
            case syntax.Access():
                self.expression(expr.base)
                for trailer in expr.trailers:
                    self._trailer(trailer)
            case syntax.Call():
                self.call(expr)
            case syntax.Pipeline():
                self._pipeline(expr)

    def _unary(self, expr: syntax.Unary) -> None:
        for operator in expr.operators:
            self.word(operator)
            if operator == "not":
                self.space()
        self.expression(expr.operand)

    def _power(self, expr: syntax.Power) -> None:
        for i, item in enumerate(expr.items):
            if i:
                self.space()
                self.words("**")
            self.expression(item)

    def _list(self, expr: syntax.ListExpr) -> None:
        if not expr.items:
            self.word("[")
            self.word("]")
            return
        self.bracketed("[", expr.items, self.expression, "]", fill=all(map(_is_plain, expr.items)))

    def _operators(self, first: Expr, rest: tuple[tuple[str, Expr], ...]) -> None:
        branch = _bracketed_pipeline(rest[-1][1])
        if branch is not None and all(map(_is_short, [first, *(o for _, o in rest[:-1])])):
            # A residual, `x + (x -> ...)`, breaks inside the brackets alone.
            self.expression(first)
            for operator, operand in rest[:-1]:
                self.space()
                self.words(operator)
                self.expression(operand)
            self.space()
            self.words(rest[-1][0])
            self.bracketed("(", (branch,), self._filled, ")", comma="")
            return
        with self.group():
            self.expression(first)
            with self.indented():
                for operator, operand in rest:
                    self.line_break(Break())
                    self.words(operator)
                    self.expression(operand)

    def _conditional(self, expr: syntax.Conditional) -> None:
        with self.group(), self.indented():
            for value, condition in expr.cases:
                self.expression(value)
                self.space()
                self.words("if")
                self.expression(condition)
                self.line_break(Break())
                self.words("else")
            self.expression(expr.otherwise)

    def _trailer(self, trailer: syntax.Attribute | syntax.Index | syntax.Slice) -> None:
        if isinstance(trailer, syntax.Attribute):
            self.word(".")
            self.word(trailer.name)
            return
        self.word("[")
        if isinstance(trailer, syntax.Index):
            self.listed(trailer.items)
        else:
            if trailer.start is not None:
                self.expression(trailer.start)
            self.word(":")
            if trailer.stop is not None:
                self.expression(trailer.stop)
        self.word("]")

    def call(self, call: syntax.Call) -> None:
        """Write a call, with its brackets even where it has no arguments."""
        self.word(call.callee.id)
        arguments = call.arguments
        if not arguments:
            self.word("(")
            self.word(")")
        elif len(arguments) == 1 and isinstance(arguments[0].value, syntax.ListExpr):
            self.word("(")  # the list's own brackets are enough to break at
            self._argument(arguments[0])
            self.skip(",")
            self.word(")")
        else:
            self.bracketed("(", arguments, self._argument, ")")

    def _argument(self, argument: syntax.Argument) -> None:
        if argument.name is not None:
            self.word(argument.name.id)
            self.equals()
        self.expression(argument.value)

    def _pipeline(self, pipeline: syntax.Pipeline) -> None:
        with self.group():
            self.expression(pipeline.head)
            with self.indented():
                for first, *followers in _runs(pipeline.stages):
                    self.line_break(Break())
                    self._stage(first)
                    if followers:
                        self._followers(followers)

    def _filled(self, pipeline: syntax.Pipeline) -> None:
        """Write a pipeline with as many layers on a line as fit."""
        self.expression(pipeline.head)
        for stage in pipeline.stages:
            with self.group():
                self.line_break(Break())
                self._stage(stage)

    def _followers(self, stages: list[syntax.Stage]) -> None:
        """Write layers without arguments: beside the layer before them, or together on a line of
        their own.
        """
        with self.group(loose=True):
            self.line_break(Break())
            self._stage(stages[0])
            for stage in stages[1:]:
                with self.group():
                    self.line_break(Break())
                    self._stage(stage)

    def _stage(self, stage: syntax.Stage) -> None:
        self.words("->")
        if stage.label is not None:
            self._label(stage.label)
        if stage.call.arguments:
            self.call(stage.call)
        else:
            self.word(stage.call.callee.id)
            if self.skip("("):
                self.skip(")")

    def _label(self, label: syntax.Label) -> None:
        at = 0
        while at < len(label.segments):
            if at:
                self.word(".")
            quoted = _STRING.match(self._source.text, self._look()[0])
            if quoted is None:
                self._segment(label.segments[at])
                at += 1
            else:
                self.word(quoted[0])  # what is in quotes is as it was written
                at += _HOLE.sub("", quoted[0]).count(".") + 1
        self.word(":")
        self.space()

    def _segment(self, parts: tuple[str | Expr, ...]) -> None:
        for part in parts:
            if isinstance(part, str):
                self.word(part)
                continue
            self.word("{")
            self.expression(part)
            self.word("}")


def _bracketed_pipeline(expr: Expr) -> syntax.Pipeline | None:
    """Return the pipeline in the brackets; None if it is something else."""
    if isinstance(expr, syntax.Parens) and isinstance(expr.inner, syntax.Pipeline):
        return expr.inner
    return None


def _is_short(expr: Expr) -> bool:
    return isinstance(expr, (syntax.Name, syntax.Literal, syntax.Access))


def _runs(stages: tuple[syntax.Stage, ...]) -> list[list[syntax.Stage]]:
    """Split the layers of a pipeline into runs: one layer, then all that follow it without
    arguments.
    """
    runs: list[list[syntax.Stage]] = []
    for stage in stages:
        if not runs or stage.call.arguments:
            runs.append([])
        runs[-1].append(stage)
    return runs


def _operands(
    expr: syntax.Chain | syntax.Compare | syntax.Logic,
) -> tuple[Expr, tuple[tuple[str, Expr], ...]]:
    """Return the first operand, and the other ones, each with the operator before it."""
    if not isinstance(expr, syntax.Logic):
        return expr.first, expr.rest
    first, *rest = expr.items
    return first, tuple((expr.operator, item) for item in rest)


def _comment(text: str, own_line: bool, *, begins: bool) -> Comment:
    """Make a comment for the document.

    One that allows a warning stays with the statement that it is about.
    """
    return Comment(text, own_line, apart=not text.startswith("# allow:"), begins=begins)


def _is_plain(item: Expr) -> bool:
    if isinstance(item, syntax.Unary):
        item = item.operand
    return isinstance(item, (syntax.Name, syntax.Literal))
