"""Turns the repairs of syntax errors into diagnostics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from netspec import codes
from netspec.compiler.parse.errors import explained, unclosed
from netspec.compiler.parse.lalr import END, Token
from netspec.compiler.parse.layout import CLOSES, EXPECTS_MORE, token_span
from netspec.compiler.parse.leaving_out import CONTINUES
from netspec.compiler.parse.reading import Reading, Repair, openers
from netspec.compiler.parse.recognizer import Bracket, Configuration, Refusal
from netspec.diagnostics import Diagnostic, Label


class RepairReports:
    """Turns repairs of a reading into diagnostics."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.source = reading.source
        self.literals = reading.recognizer.tables.literals

    def of(self, general: Diagnostic, repair: Repair, error: int) -> Iterator[Diagnostic]:
        """Yield a diagnostic for each mistake that a repair corrects.

        Args:
            general: the diagnostic of the token that is not allowed, if there were no repair.
            repair: the repair.
            error: the index of that token.
        """
        before = self.reading.before[repair.at]
        bracket, others = before.open, 0
        braces = 0
        for kind in repair.put_in:
            if kind in CLOSES and bracket is not None:
                if _is_of_the_text(bracket.token):
                    yield self._unclosed(bracket, general, repair, error)
                bracket = bracket.around
            elif kind == "RBRACE" and (bracket is None or bracket.kind != "INTERPOLATE"):
                braces += 1
            else:
                others += kind != "_NL"
        for opener in self._unclosed_braces(before, repair.at, braces):
            if _is_of_the_text(opener):
                yield unclosed(self.source, opener)
        if others or (bracket is before.open and not braces):
            yield self._elsewhere(repair, error) or general

    def _elsewhere(self, repair: Repair, error: int) -> Diagnostic | None:
        """Return the diagnostic for an error whose cause is before the token that is not allowed.

        It is at the end of the line before, if that is incomplete, or at a token that would only be
        allowed as something else. It is None if the token that is not allowed is the place to look
        at.
        """
        reading = self.reading
        token, before = reading.tokens[repair.at], reading.before[repair.at]
        if not repair.put_in or repair.left_out:
            return None
        if reading.starts_line(token) and self._ends_line(before, repair, token):
            last = self._last_code(repair.at)
            if last is not None:
                end = Token("_NL", "", last.end_pos, last.end_pos)
                accepts = reading.recognizer.refusal(before, end).accepts
                return self._explained(before, Refusal(end, accepts))
        joins_lines = token.type == "_NL" and self.literals.get(repair.put_in[-1]) in EXPECTS_MORE
        if repair.at == error or joins_lines:
            return None
        if reading.before[repair.at + 1].kind == "NAME" and token.type != "NAME":
            return self._explained(before, reading.recognizer.refusal(before, token))
        refused = token_span(self.source, reading.tokens[error])
        if refused.line == token_span(self.source, token).line:
            return None
        return self._explained(before, Refusal(token, {*repair.put_in} - {"_NL"}))

    def _explained(self, before: Configuration, refusal: Refusal) -> Diagnostic:
        return explained(self.source, refusal, openers(before), self.literals)[0]

    def _ends_line(self, before: Configuration, repair: Repair, token: Token) -> bool:
        """Whether tokens inserted before the first token of a line belong to the line before it."""
        first = repair.put_in[0]
        if before.kind in ("_NL", "LBRACE", "COMMA") or first == "_NL":
            return False
        if self.literals.get(first) in EXPECTS_MORE:
            return False  # these belong at the start of a line
        line_start = self.source.text.rfind("\n", 0, token.start_pos or 0) + 1
        goes_on = CONTINUES.match(self.source.text, line_start) is not None
        ends = repair.put_in[-1] == "_NL" or token.type in ("RBRACE", END)
        return ends or before.in_brackets or goes_on

    def _last_code(self, at: int) -> Token | None:
        tokens = self.reading.tokens
        return next((t for t in reversed(tokens[:at]) if t.type != "_NL" and t.end_pos), None)

    def _unclosed(
        self, bracket: Bracket, general: Diagnostic, repair: Repair, error: int
    ) -> Diagnostic:
        """Return the diagnostic of a bracket that a repair closes.

        It is located where the bracket was opened.
        """
        token, place = self.reading.tokens[error], self.reading.tokens[repair.at]
        opener, here = token_span(self.source, bracket.token), token_span(self.source, token)
        if general.code == codes.SYNTAX_BRACKET and general.secondary and general.span != opener:
            return general  # a bracket of another kind closes it
        on_its_line = here.line == opener.line and not self.reading.starts_line(token)
        if on_its_line and general.code != codes.SYNTAX_BRACKET:
            return replace(general, secondary=(Label(opener, "opened here"),))
        labels: tuple[Label, ...] = ()
        if self.reading.starts_statement(place) and place.type not in (END, "RBRACE"):
            labels = (Label(token_span(self.source, place), "a new statement starts here"),)
        return unclosed(self.source, bracket.token, *labels)

    def _unclosed_braces(self, before: Configuration, at: int, count: int) -> list[Token]:
        """Return the braces that are not closed, judging by the columns of those `}` that close
        others.
        """
        if not count:
            return []
        tokens = self.reading.tokens
        outer = next(token for token in openers(before) if token.type == "LBRACE")
        start = next(i for i, token in enumerate(tokens) if token is outer)
        still_open: list[Token] = []
        passed_over: list[Token] = []
        for token in tokens[start:at]:
            if token.type == "LBRACE":
                still_open.append(token)
            elif token.type == "RBRACE" and still_open:
                last = self._closed_by(token, still_open)
                passed_over += still_open[last + 1 :]
                del still_open[last:]
        return (passed_over + still_open[::-1])[:count]

    def _closed_by(self, token: Token, still_open: list[Token]) -> int:
        """Return the index of the brace that a `}` closes: the last open one with its indentation,
        else the last one.
        """
        last = len(still_open) - 1
        if not self.reading.starts_line(token):
            return last
        indent = (token.column or 1) - 1
        alike = (i for i in range(last, -1, -1) if self.reading.indent(still_open[i]) == indent)
        return next(alike, last)


def _is_of_the_text(token: Token) -> bool:
    """Whether a token is in the text. One that a repair inserted was reported with that repair."""
    return token.start_pos != token.end_pos
