"""`name=value` from a command line: the value is a constant of the language.

It is parsed as the default of an argument, so that `--set` and the file agree on what a constant is.
Only a bare word differs: with nothing around it that it could name, it is a string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.ir.initializers import RULES
from netspec.compiler.parse import parse
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.other_frameworks import PYTHON_WORDS
from netspec.diagnostics import Code, Diagnostic, DiagnosticSink, Hint, NetspecError, Source, Span

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Line breaks mean nothing in the head of a net, so a comment in the value cannot hide its end.
_BEFORE, _AFTER = "net Setting(value = \n", "\n) { }"

SOURCE_NAME = "--set"
"""What diagnostics about a setting are located in."""


def parse_setting(text: str) -> tuple[str, Any]:
    """The name and the constant of a `name=value`.

    Raises:
        NetspecError: `setting/...` or the error of the language, pointing into `text`.
    """
    typed = Source(SOURCE_NAME, text)
    name, equals, value = text.partition("=")
    start = len(name) + len(equals)
    if not equals:
        raise _wrong(codes.SETTING_FORM, "a setting has the form name=value", Span(typed, 0, start))
    if not _NAME.fullmatch(name.strip()):
        raise _wrong(
            codes.SETTING_FORM, "this is not the name of an argument", Span(typed, 0, start - 1)
        )
    wrapped = Source(SOURCE_NAME, f"{_BEFORE}{value}{_AFTER}")
    try:
        return name.strip(), _evaluate(wrapped, _expression(wrapped))
    except NetspecError as error:
        shift = start - len(_BEFORE)
        raise NetspecError([_moved(d, typed, shift) for d in error.diagnostics]) from None


def _expression(wrapped: Source) -> syntax.Expr:
    """The one constant in a wrapped value; whatever breaks out of the wrapping is refused."""
    value = Span(wrapped, len(_BEFORE), len(wrapped.text) - len(_AFTER))
    hints = (Hint('constants are such as 5, 2.5, true, same, "same" or [512, 256]'),)
    not_one = _wrong(codes.SETTING_VALUE, "this is not one constant", value, hints)
    try:
        definitions = parse(wrapped).definitions
    except NetspecError as error:
        # What the parser expected next, or met behind the value, is about the wrapping.
        kept = [
            d
            for d in error.diagnostics
            if d.span is not None
            and d.span.end <= value.end
            and d.code not in (codes.SYNTAX_UNEXPECTED_END, codes.SYNTAX_UNEXPECTED_TOKEN)
        ]
        raise NetspecError(kept) if kept else not_one from None
    if len(definitions) == 1 and isinstance(definitions[0], syntax.Net):
        net = definitions[0]
        if len(net.parameters) == 1 and not net.body and net.parameters[0].default is not None:
            return net.parameters[0].default
    raise not_one


def _evaluate(wrapped: Source, expression: syntax.Expr) -> Any:
    sink = DiagnosticSink()
    body = Body(Assembly(sink), Module(wrapped))
    for word in _words(expression):
        body.scope.bind(word.id, word.id, word.span)
    value = body.evaluator.constant(expression, "a setting")
    sink.raise_if_errors()
    return value


def _words(expression: syntax.Expr) -> Iterator[syntax.Name]:
    """Bare words that stand alone or in a list, and are no init rules or constants of Python."""
    if isinstance(expression, syntax.Name) and expression.id not in (*RULES, *PYTHON_WORDS):
        yield expression
    elif isinstance(expression, syntax.ListExpr):
        for item in expression.items:
            yield from _words(item)


def _wrong(code: Code, message: str, span: Span, hints: tuple[Hint, ...] = ()) -> NetspecError:
    return NetspecError([Diagnostic(code, message, span, hints=hints)])


def _moved(diagnostic: Diagnostic, typed: Source, shift: int) -> Diagnostic:
    """A diagnostic about the wrapped value as one about what was typed.

    Second places and hints may be about the wrapping, and are left out.
    """
    span = diagnostic.span
    assert span is not None
    first = len(_BEFORE) + shift  # what lies before the value was not typed
    start, end = (min(max(first, at + shift), len(typed.text)) for at in (span.start, span.end))
    hints = tuple(hint for hint in diagnostic.hints if not hint.edits)
    return replace(diagnostic, span=Span(typed, start, end), secondary=(), trace=(), hints=hints)
