"""Writing expressions and pipelines in canonical style, comments carried along.

A writer walks the syntax tree, which says how things belong together, and at the same time the text,
which says how they are spelt and where the comments are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import Expr
from netspec.diagnostics import Source
from netspec.text.doc import INDENT, Break, Comment, Doc, Group, IfBroken, must_break

_STRING = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_BETWEEN = re.compile(r"[ \t\f\r]+|(\n)|(#[^\n]*)")
# A comment in front of one of these goes on to where the line may end behind it.
_FORWARD = frozenset(",)]}:{")

Item = TypeVar("Item")


class Writer:
    """Makes a document of the words of a text, taken one by one."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0
        self._pending: list[Comment] = []
        self._open = [Group(breaks=True)]
        self._breaks: list[Break | None] = [None]  # the last one of each open group
        self._start = Break()  # the one before the statement that is being written

    @property
    def depth(self) -> int:
        """The number of indentations around."""
        return sum(group.indent > 0 for group in self._open)

    def finish(self) -> Group:
        """The document, when all words are taken."""
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
        self._add(text)
        if text not in _FORWARD and self._pending:
            # No line can end here: the comment goes up to where one can.
            self._last_break().add(self._pending)
            self._pending = []

    def skip(self, text: str) -> bool:
        """Leave out a word that the canonical style does not have; False if another one comes."""
        if not self.comes(text):
            return False
        self._at, comments = self._look()
        self._at += len(text)
        self._pending += comments
        return True

    def comes(self, text: str) -> bool:
        """Whether this is the next word."""
        return self._source.text.startswith(text, self._look()[0])

    def comment_comes(self) -> bool:
        """Whether a comment stands before the next word."""
        return bool(self._look()[1])

    def text(self, text: str) -> None:
        """Write what does not stand in the text."""
        self._add(text)

    def line_break(self, ending: Break) -> None:
        """Write a break, with the comments that stand here."""
        self._at, comments = self._look()
        pending, self._pending = self._pending, []  # from before, where the line still went on
        if ending.hard and pending:
            # One comment can stand behind a statement. Further ones go above it: below, they would
            # be about the next.
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

    @contextmanager
    def group(
        self, indent: int = 0, *, is_group: bool = True, loose: bool = False
    ) -> Iterator[None]:
        """What is written here stays on one line, or breaks together."""
        group = Group(indent, is_group=is_group, loose=loose)
        self._open.append(group)
        self._breaks.append(None)
        yield
        self._open.pop()
        self._breaks.pop()
        group.breaks = any(map(must_break, group.items))
        self._add(group)

    def indented(self) -> Any:
        """What is written here is indented where it is broken."""
        return self.group(INDENT, is_group=False)

    def _add(self, doc: Doc) -> None:
        self._open[-1].items.append(doc)

    def _last_break(self) -> Break:
        """The last place where a line can end: not in a group that is already closed."""
        return next(ending for ending in reversed(self._breaks) if ending is not None)

    def _look(self) -> tuple[int, list[Comment]]:
        """Where the next word starts, and the comments before it."""
        text, at = self._source.text, self._at
        comments: list[Comment] = []
        own_line = at == 0
        while match := _BETWEEN.match(text, at):
            at = match.end()
            if match.group(1):
                own_line = True
            elif match.group(2):
                comments.append(_comment(match.group(2).rstrip(), own_line))
        return at, comments


class ExpressionWriter(Writer):
    """Writes the expressions of a file."""

    # -- small parts

    def words(self, text: str) -> None:
        """A word and a blank."""
        self.word(text)
        self.space()

    def space(self) -> None:
        """A blank."""
        self.text(" ")

    def equals(self) -> None:
        """` = `."""
        self.space()
        self.words("=")

    def comma(self) -> None:
        """`, `, where the line cannot end."""
        self.words(",")

    def string(self) -> None:
        """A string, as it is spelt in the text."""
        match = _STRING.match(self._source.text, self._look()[0])
        assert match is not None
        self.word(match.group())

    def listed(self, items: Sequence[Expr]) -> None:
        """Expressions with commas between, outside brackets."""
        for i, item in enumerate(items):
            if i:
                self.comma()
            self.expression(item)

    def bracketed(
        self, opening: str, items: Sequence[Item], write: Callable[[Item], None], closing: str,
        *, fill: bool = False, comma: str | None = None,
    ) -> None:  # fmt: skip
        """Items in brackets. Where they must be broken the items go on a line of their own; if they
        need more, one a line, or, to `fill`, as many a line as there is room for.

        `comma` is what stands behind the last item; by default one if it ends its line.
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
            self.expression(trailer.at)
        else:
            if trailer.start is not None:
                self.expression(trailer.start)
            self.word(":")
            if trailer.stop is not None:
                self.expression(trailer.stop)
        self.word("]")

    def call(self, call: syntax.Call) -> None:
        """Write a call, its brackets too where it has no arguments."""
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

    def _followers(self, stages: list[syntax.Stage]) -> None:
        """They stand beside the layer before them, or all together on a line of their own."""
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
        for i, parts in enumerate(label.segments):
            if i:
                self.word(".")
            for part in parts:
                if isinstance(part, str):
                    self.word(part)
                    continue
                self.word("{")
                self.expression(part)
                self.word("}")
        self.word(":")
        self.space()


def _runs(stages: tuple[syntax.Stage, ...]) -> list[list[syntax.Stage]]:
    """The layers of a pipeline, each one without arguments together with those before it."""
    runs: list[list[syntax.Stage]] = []
    for stage in stages:
        if not runs or stage.call.arguments:
            runs.append([])
        runs[-1].append(stage)
    return runs


def _operands(
    expr: syntax.Chain | syntax.Compare | syntax.Logic,
) -> tuple[Expr, tuple[tuple[str, Expr], ...]]:
    """The first operand, and the others with what stands before them."""
    if not isinstance(expr, syntax.Logic):
        return expr.first, expr.rest
    first, *rest = expr.items
    return first, tuple((expr.operator, item) for item in rest)


def _comment(text: str, own_line: bool) -> Comment:
    """A comment of a file; one that allows a warning belongs to the statement that it stands at."""
    return Comment(text, own_line, apart=not text.startswith("# allow:"))


def _is_plain(item: Expr) -> bool:
    if isinstance(item, syntax.Unary):
        item = item.operand
    return isinstance(item, (syntax.Name, syntax.Literal))
