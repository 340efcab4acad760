"""Finds all syntax errors of a text.

After each one the tokens are repaired internally, and reading goes on.

A few tokens are changed if the parser can then continue. If it cannot, or if it is known what the
whole statement was meant to be, the statement is skipped.
"""

from __future__ import annotations

from math import inf

from netspec import codes
from netspec.compiler.parse.errors import definition_inside, explained, unexpected_character
from netspec.compiler.parse.lalr import (
    Tables,
    Token,
    UnexpectedCharacterError,
    UnexpectedTokenError,
)
from netspec.compiler.parse.layout import MAX_NESTING, TooDeepError, token_span
from netspec.compiler.parse.leaving_out import LeavingOut
from netspec.compiler.parse.reading import Reading, openers
from netspec.compiler.parse.recognizer import UNKNOWN, Refusal
from netspec.compiler.parse.repair_reports import RepairReports
from netspec.compiler.parse.repairs import AHEAD, FURTHER, Repairs
from netspec.compiler.parse.tree_builder import KEYWORDS, LocatedError, TreeBuilder
from netspec.diagnostics import Diagnostic, Source, Span

ParserError = UnexpectedTokenError | UnexpectedCharacterError | TooDeepError | LocatedError

MAX_SYNTAX_ERRORS = 50
# How many steps of the parser may follow the first error, those that try repairs included. Because
# of this limit a long file shows fewer errors.
MAX_STEPS = 240_000
# A repair whose cost less its gain exceeds this is worse than skipping the statement.
_LIKELY = 1.0
# Where a statement is known to be of another language, a repair may do no more than insert one
# token.
_CERTAIN = 1.25 - FURTHER * AHEAD


def syntax_errors(source: Source, tables: Tables, first: ParserError) -> list[Diagnostic]:
    """Return the syntax errors of a source: at least `first`, the error at which the parser
    stopped.
    """
    recovery = _Recovery(source, tables)
    recovery.run()
    return recovery.found or [_alone(source, tables, first)]


class _Recovery:
    def __init__(self, source: Source, tables: Tables) -> None:
        self.source = source
        self.literals = tables.literals
        self.reading = Reading(source, tables)
        self.repairs = Repairs(self.reading)
        self.reports = RepairReports(self.reading)
        self.leaving_out = LeavingOut(self.reading)
        self.refused: Token | None = None  # the last token that was not allowed
        self.repaired = False  # whether the last change was a repair
        self.found: list[Diagnostic] = []
        self.said: set[tuple[Span | None, str]] = set()

    def run(self) -> None:
        """Read all tokens and report those that are not allowed."""
        reading, last = self.reading, inf
        while len(reading.before) <= len(reading.tokens) and reading.recognizer.steps < last:
            at = len(reading.before) - 1
            try:
                after = None if reading.cuts_off(at) else reading.step(at)
            except TooDeepError as error:
                self.found.append(_too_deep(self.source, error.token))
                break
            if after is not None:
                reading.before.append(after)
                continue
            last = min(last, reading.recognizer.steps + MAX_STEPS)
            if len(self.found) >= MAX_SYNTAX_ERRORS or not self._go_on(at):
                break
        self._check_words()

    def _go_on(self, at: int) -> bool:
        """Report a token that is not allowed, and change the tokens.

        Return False if nothing can be changed.
        """
        token = self.reading.tokens[at]
        nested = definition_inside(self.source, openers(self.reading.before[at]), token)
        if nested is not None and token is not self.refused:
            return self._leave_out(token, nested)
        diagnostic, whole = self._diagnostic(at)
        if token is self.refused:  # skipping its statement was not enough
            without = self.leaving_out.definition(diagnostic)
        else:
            self.refused = token
            if not whole and self.repaired and at <= self.reading.first + 1:
                pass  # directly after a repair, which was then the wrong one
            elif self._repair(at, diagnostic, whole):
                return True
            else:
                self._report(diagnostic)
            without = self.leaving_out.statement(diagnostic)
        self.repaired = False
        if without is not None:
            self.reading.apply(without)
        return without is not None

    def _leave_out(self, token: Token, diagnostic: Diagnostic) -> bool:
        """Report a statement that nothing mends, and skip it; False if nothing would be left."""
        self.refused, self.repaired = token, False
        self._report(diagnostic)
        without = self.leaving_out.statement(diagnostic)
        if without is not None:
            self.reading.apply(without)
        return without is not None

    def _diagnostic(self, at: int) -> tuple[Diagnostic, bool]:
        """Return the diagnostic of a token that is not allowed, and whether it is about the whole
        statement.
        """
        token, before = self.reading.tokens[at], self.reading.before[at]
        if token.type == UNKNOWN:
            return unexpected_character(self.source, token.start_pos or 0), True
        refusal = self.reading.recognizer.refusal(before, token)
        return explained(self.source, refusal, openers(before), self.literals)

    def _repair(self, at: int, diagnostic: Diagnostic, whole: bool) -> bool:
        if self.reading.tokens[at].type == UNKNOWN:
            return False
        repair, value = self.repairs.best(at)
        if repair is None or value > (_CERTAIN if whole else _LIKELY):
            return False
        self._report(*self.reports.of(diagnostic, repair, at))
        self.reading.apply(repair)
        self.repaired = True
        return True

    def _report(self, *diagnostics: Diagnostic) -> None:
        """Add the diagnostics that were not reported before."""
        for diagnostic in diagnostics:
            said = (diagnostic.span, diagnostic.message)
            if said not in self.said:
                self.said.add(said)
                self.found.append(diagnostic)

    def _check_words(self) -> None:
        """Report words that cannot be names, numbers that are too long, and the like."""
        builder = TreeBuilder()
        builder.source = self.source
        keywords: set[str] = set()
        reading = self.reading
        for token, before, after in zip(
            reading.tokens, reading.before, reading.before[1:], strict=False
        ):
            put_in = token.start_pos == token.end_pos
            in_label = before.text == "." or (before.text == "->" and after.kind != "NAME")
            # A fraction is read as two whole numbers and a point only in a label, where any will do.
            in_label = in_label or (token.type == "FLOAT" and after.kind == "INT")
            if after is before or put_in or in_label or token in keywords:
                continue
            try:
                builder.check(token, after.kind, before.kind)
            except LocatedError as error:
                self.found.append(error.diagnostic)
                if token in KEYWORDS:
                    keywords.add(str(token))  # reported once for all its places


def _alone(source: Source, tables: Tables, error: ParserError) -> Diagnostic:
    """Return the diagnostic of an error of the parser, without its context."""
    if isinstance(error, LocatedError):
        return error.diagnostic
    if isinstance(error, TooDeepError):
        return _too_deep(source, error.token)
    if isinstance(error, UnexpectedCharacterError):
        return unexpected_character(source, error.at)
    return explained(source, Refusal(error.token, error.accepts), (), tables.literals)[0]


def _too_deep(source: Source, token: Token) -> Diagnostic:
    message = f"brackets are nested deeper than {MAX_NESTING}"
    return Diagnostic(codes.LIMIT_NESTING, message, token_span(source, token))
