"""The one canonical style of a `.net` file.

The layout depends on the words and the comments, not on the line breaks and blanks in the input, but
for one empty line between two paragraphs of a comment. So two files with the same content are
formatted alike:

- A statement stands on one line of up to 100 columns if it fits. A pipeline that does not is broken
  after its head and before each layer with arguments; layers without stay beside the one before.
- What is in brackets goes on lines of its own where it must be broken, one item a line and a comma
  behind the last. Lists of plain numbers, names and strings fill their lines.
- Expressions break before their operators, a residual `x + (x -> ...)` inside its brackets alone.
- An empty line stands between definitions, between the inputs, parameters, asserts and init rules at
  the head of a net and what follows, and before a comment on its own line.
- Comments stay on their own line or behind what they were behind. Where a statement has room for
  only one, the others go above it, so that they still belong to it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from netspec import codes
from netspec.compiler.fmt.expressions import ExpressionWriter
from netspec.compiler.parse import parse
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.allow_comments import silenced
from netspec.diagnostics import NetspecError, Source, Span
from netspec.text.doc import Break, typeset

WIDTH = 100

_HEADER = (syntax.Input, syntax.Declared, syntax.Assert, syntax.Init)
_STRING_OR_COMMENT = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"|#[^\n]*')


def format_source(source: Source) -> str:
    """Return the text of a file in canonical style.

    Raises:
        NetspecError: with the file's syntax errors; `limit/nesting`.
        RuntimeError: if the result would have another meaning, which is a bug in this module.
    """
    return formatted(parse(source)).source.text


def formatted(tree: syntax.File) -> syntax.File:
    """Return the syntax tree of the text of a file in canonical style; its `source` has that text.

    Args:
        tree: that of the file as it is.

    Raises:
        NetspecError, RuntimeError: as `format_source` does, but for errors of syntax.
    """
    source = tree.source
    try:
        text = typeset(_FileWriter(source).file(tree), WIDTH)
    except RecursionError:
        message = f"expressions in {source.name} are nested too deeply"
        raise NetspecError.simple(codes.LIMIT_NESTING, message) from None
    if text == source.text:
        return tree
    again = parse(Source(source.name, text))
    is_kept = (
        same_meaning(tree, again)
        and _comments(source.text) == _comments(text)
        and _silenced(tree) == _silenced(again)
    )
    if not is_kept:
        raise RuntimeError(f"formatting {source.name} would change it")
    return again


def same_meaning(a: Any, b: Any) -> bool:
    """Whether two syntax trees are equal, apart from their spans."""
    todo = [(a, b)]
    while todo:
        a, b = todo.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, (Span, Source)):
            continue
        if hasattr(a, "__match_args__"):  # the names of a node's fields that hold its parts
            todo += [(getattr(a, name), getattr(b, name)) for name in a.__match_args__]
        elif isinstance(a, tuple):
            if len(a) != len(b):
                return False
            todo += zip(a, b, strict=True)
        elif a != b:
            return False
    return True


def _silenced(tree: syntax.File) -> list[tuple[int, frozenset[str]]]:
    return [(comment.about, comment.codes) for comment in silenced(tree)]


def _comments(text: str) -> Counter[str]:
    words = (match.group().rstrip() for match in _STRING_OR_COMMENT.finditer(text))
    return Counter(word for word in words if word.startswith("#"))


# Definitions of one line each, between which there is no blank line.
_HEAD_LINES = (syntax.Import, syntax.Use)


class _FileWriter:
    """Writes definitions and statements; `out` writes the expressions in them."""

    def __init__(self, source: Source) -> None:
        self.out = ExpressionWriter(source)

    def file(self, file: syntax.File) -> Any:
        previous: Any = None
        for definition in file.definitions:
            together = all(isinstance(d, _HEAD_LINES) for d in (previous, definition))
            self.out.line_break(Break(hard=True, blank=not together, paragraph=True))
            self._definition(definition)
            previous = definition
        self.out.line_break(Break(hard=True, paragraph=True))
        return self.out.finish()

    def _definition(
        self, definition: syntax.Import | syntax.Use | syntax.Net | syntax.Block | syntax.Version
    ) -> None:
        match definition:
            case syntax.Version():
                self.out.words("language")
                self.out.word(definition.span.text)
            case syntax.Import():
                self.out.words("from")
                self.out.word(definition.path_span.text)
                self.out.space()
                self.out.words("import")
                self._names(definition.names)
            case syntax.Use():
                self.out.words("use")
                self.out.word(definition.name_span.text)
            case syntax.Net():
                self.out.words("net")
                self._head(definition)
                self._body(definition.body)
            case syntax.Block():
                if definition.inline:
                    self.out.words("inline")
                if definition.scan:
                    self.out.words("scan")
                self.out.words("block")
                self._head(definition)
                self._names(definition.inputs)
                self.out.space()
                self._body(definition.body)

    def _head(self, definition: syntax.Net | syntax.Block) -> None:
        self.out.word(definition.name.id)
        if definition.parameters:
            self.out.bracketed("(", definition.parameters, self._parameter, ")")
        elif self.out.skip("("):
            if self.out.comment_comes():
                with self.out.group():
                    self.out.text("(")
                    self.out.line_break(Break("", closing=True))
                    self.out.word(")")
            else:
                self.out.skip(")")
        self.out.space()

    def _parameter(self, parameter: syntax.Parameter) -> None:
        self.out.word(parameter.name.id)
        if parameter.default is not None:
            self.out.equals()
            self.out.expression(parameter.default)

    def _names(self, names: tuple[syntax.Name, ...]) -> None:
        for i, name in enumerate(names):
            if i:
                self.out.comma()
            self.out.word(name.id)

    def _body(self, body: tuple[syntax.Statement, ...]) -> None:
        self.out.word("{")
        if not body and not self.out.comment_comes():
            self.out.word("}")
            return
        head = 0  # how many statements at the start of the body are declarations
        while head < len(body) and isinstance(body[head], _HEADER):
            head += 1
        is_top = self.out.depth == 0
        with self.out.indented():
            for i, statement in enumerate(body):
                blank = is_top and 0 < i == head
                self.out.line_break(Break(hard=True, blank=blank, paragraph=i > 0))
                self.statement(statement)
        self.out.line_break(Break(hard=True, closing=True))
        self.out.word("}")

    # -- statements

    def statement(self, statement: syntax.Statement) -> None:
        """Write one statement."""
        match statement:
            case syntax.Input() | syntax.Declared():
                self._shaped(statement)
            case syntax.Output():
                self._output(statement)
            case syntax.Return():
                self.out.words("return")
                self.out.listed(statement.values)
            case syntax.Init():
                self._init(statement)
            case syntax.Assert():
                self._assert(statement)
            case syntax.For():
                self.out.words("for")
                self._names(statement.targets)
                self.out.space()
                self.out.words("in")
                self.out.expression(statement.iterable)
                self.out.space()
                self._body(statement.body)
            case syntax.If():
                self._if(statement)
            case syntax.Layer():
                self.out.words("layer")
                self.out.word(statement.name.id)
                self.out.equals()
                self.out.call(statement.call)
            case syntax.Assign():
                self._names(statement.targets)
                self.out.equals()
                self.out.expression(statement.value)

    def _shaped(self, statement: syntax.Input | syntax.Declared) -> None:
        self.out.words(statement.kind if isinstance(statement, syntax.Declared) else "input")
        self.out.word(statement.name.id)
        self.out.word(":")
        self.out.space()
        if isinstance(statement, syntax.Input) and statement.holds != "real":
            self.out.word(statement.holds)
        self.out.expression(statement.shape)
        if isinstance(statement, syntax.Declared):
            self.out.equals()
            self.out.expression(statement.initial)

    def _output(self, statement: syntax.Output) -> None:
        self.out.words("output")
        if statement.name is not None:
            self.out.word(statement.name.id)
            self.out.equals()
        self.out.expression(statement.value)

    def _assert(self, statement: syntax.Assert) -> None:
        self.out.words("assert")
        self.out.expression(statement.condition)
        if statement.message is not None:
            self.out.comma()
            self.out.string()

    def _init(self, statement: syntax.Init) -> None:
        self.out.words("init")
        for i, (role, rule) in enumerate(statement.rules):
            if i:
                self.out.comma()
            self.out.word(role.id)
            self.out.equals()
            self.out.expression(rule)

    def _if(self, statement: syntax.If) -> None:
        for i, (condition, body) in enumerate(statement.branches):
            if i:
                self._else()
                self.out.space()
            self.out.words("if")
            self.out.expression(condition)
            self.out.space()
            self._body(body)
        if statement.otherwise or self.out.comes("else"):
            self._else()
            self.out.space()
            self._body(statement.otherwise)

    def _else(self) -> None:
        with self.out.group():  # only a comment behind the `}` breaks this group
            self.out.line_break(Break())
            self.out.word("else")
