"""Parses `name=value` settings from a command line, whose values are constants of the language.

The value is parsed like the default of an argument, so that `--set` and the file accept the same
constants. There is one difference: a bare word is a string, because there is nothing that it could
name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from netspec import codes
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.net_builder import Assembly, StopBuildingError
from netspec.compiler.ir.initializers import RULES
from netspec.compiler.parse import parse
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.other_frameworks import PYTHON_WORDS
from netspec.diagnostics import Code, Diagnostic, DiagnosticSink, Hint, NetspecError, Source, Span

_T = TypeVar("_T")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Line breaks have no meaning in the head of a net, so a comment in the value cannot hide its end.
_BEFORE, _AFTER = "net Setting(value = \n", "\n) { }"

SOURCE_NAME = "--set"
"""What diagnostics about a setting are located in."""


def parse_settings(texts: Iterable[str]) -> dict[str, Any]:
    """Return the constants of several settings by their names.

    Raises:
        NetspecError: with an error for every setting that cannot be read, and for every name that
            is given twice.
    """
    arguments: dict[str, Any] = {}
    wrong: list[Diagnostic] = []
    for text in texts:
        try:
            name, value = parse_setting(text)
        except NetspecError as error:
            wrong += error.diagnostics
            continue
        if name in arguments:
            wrong.append(Diagnostic(codes.SETTING_TWICE, f"--set gives `{name}` twice"))
        arguments[name] = value
    if wrong:
        raise NetspecError(wrong)
    return arguments


def parse_setting(text: str) -> tuple[str, Any]:
    """Return the name and the constant of a `name=value` setting.

    Raises:
        NetspecError: with a code `setting/...`, or with the language's own error, located in
            `text`.
    """
    typed = Source(SOURCE_NAME, text)
    name, equals, _ = text.partition("=")
    start = len(name) + len(equals)
    if not equals:
        raise _wrong(codes.SETTING_FORM, "a setting has the form name=value", Span(typed, 0, start))
    if not _NAME.fullmatch(name.strip()):
        raise _wrong(
            codes.SETTING_FORM, "this is not the name of an argument", Span(typed, 0, start - 1)
        )

    def not_one(value: Span) -> NetspecError:
        hint = 'constants are such as 5, 2.5, true, same, "same" or [512, 256]'
        if "," in value.text and not value.text.lstrip().startswith(("[", "(")):
            hint = f"a list stands in brackets: {name.strip()}=[{value.text.strip()}]"
        return _wrong(codes.SETTING_VALUE, "this is not one constant", value, (Hint(hint),))

    return name.strip(), _evaluated(typed, start, _evaluate, not_one)


def parse_expression(text: str, source: str, evaluate: Callable[[Source, syntax.Expr], _T]) -> _T:
    """Return what a function makes of the one expression that a text is.

    Args:
        text: the expression.
        source: what diagnostics are located in, such as the name of an option.
        evaluate: is given the source that was parsed, and the expression.

    Raises:
        NetspecError: those of `evaluate` too, located in `text`.
    """

    def not_one(value: Span) -> NetspecError:
        hint = Hint("a condition is such as params <= 100_000")
        return _wrong(codes.REQUIRE_TEXT, "this is not one condition", value, (hint,))

    return _evaluated(Source(source, text), 0, evaluate, not_one)


def _evaluated(
    typed: Source,
    start: int,
    evaluate: Callable[[Source, syntax.Expr], _T],
    not_one: Callable[[Span], NetspecError],
) -> _T:
    """Return what a function makes of the expression in `typed`, from `start` on.

    Raises:
        NetspecError: located in `typed`.
    """
    wrapped = Source(typed.name, f"{_BEFORE}{typed.text[start:]}{_AFTER}")
    try:
        return evaluate(wrapped, _expression(wrapped, not_one))
    except NetspecError as error:
        shift = start - len(_BEFORE)
        raise NetspecError([_moved(d, typed, shift) for d in error.diagnostics]) from None


def _expression(wrapped: Source, refused: Callable[[Span], NetspecError]) -> syntax.Expr:
    """Return the one expression in a wrapped value.

    Raises:
        NetspecError: if the value is not one expression, for instance because it closes the
            wrapping.
    """
    value = Span(wrapped, len(_BEFORE), len(wrapped.text) - len(_AFTER))
    not_one = refused(value)
    try:
        definitions = parse(wrapped).definitions
    except NetspecError as error:
        # Errors outside of the value would speak of the wrapping, not of what was typed.
        kept = [
            d
            for d in error.diagnostics
            if d.span is not None
            and value.start <= d.span.start
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
    return sound(sink, lambda: body.evaluator.constant(expression, "a setting"))


def sound(sink: DiagnosticSink, evaluate: Callable[[], _T]) -> _T:
    """Return what a function gives that reports its errors to a sink.

    Raises:
        NetspecError: with these errors, such as a limit at which it stopped.
    """
    try:
        value = evaluate()
    except StopBuildingError:
        sink.raise_if_errors()
        raise
    sink.raise_if_errors()
    return value


def _words(expression: syntax.Expr) -> Iterator[syntax.Name]:
    """Yield the bare words that stand alone or in a list, except init rules and Python's constants."""
    if isinstance(expression, syntax.Name) and expression.id not in (*RULES, *PYTHON_WORDS):
        yield expression
    elif isinstance(expression, syntax.ListExpr):
        for item in expression.items:
            yield from _words(item)


def _wrong(code: Code, message: str, span: Span, hints: tuple[Hint, ...] = ()) -> NetspecError:
    return NetspecError([Diagnostic(code, message, span, hints=hints)])


def _moved(diagnostic: Diagnostic, typed: Source, shift: int) -> Diagnostic:
    """Return a diagnostic about the wrapped value as one about what was typed.

    Secondary labels and hints with edits are dropped: they may be about the wrapping.
    """
    span = diagnostic.span
    assert span is not None
    first = len(_BEFORE) + shift  # nothing before the value was typed
    start, end = (min(max(first, at + shift), len(typed.text)) for at in (span.start, span.end))
    hints = tuple(hint for hint in diagnostic.hints if not hint.edits)
    return replace(diagnostic, span=Span(typed, start, end), secondary=(), trace=(), hints=hints)
