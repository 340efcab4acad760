"""The cheapest change of a few tokens with which the parser can go on.

Searched as in minimum-cost repair of LR parsers (Corchuelo et al. 2002, "Repairing syntax errors in LR
parsers"; Diekmann and Tratt 2020, "Don't Panic! Better, Fewer, Syntax Errors for LR Parsers"): tokens are
inserted, left out or replaced near the error, and what lets the parser go furthest for the least is
taken. Two things are known here that a grammar does not say: line breaks that did not count because a
bracket was open can count again, and lines and braces are indented.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from netspec.compiler.parse.lalr import END, Token
from netspec.compiler.parse.layout import TooDeepError
from netspec.compiler.parse.reading import Reading, Repair
from netspec.compiler.parse.recognizer import Configuration

# How far back a repair may start, and how far it is followed: in tokens.
_BACK = 8
AHEAD = 24
_ENOUGH = 1
_MAX_CLOSED = 4
# What a step costs, in insertions; what is gained by each token that the parser gets further.
_LEFT_OUT, _REPLACED, _NAME, _EACH_BACK, _LINE_BACK = 1.5, 2.0, 1.1, 0.05, 0.4
_ODD, FURTHER = 1.2, 0.12
_DEFINITIONS = ("NET", "BLOCK", "FROM", "LANGUAGE")
# One operator and one atom stand for all: the parser goes on alike.
_ALIKE = {
    "PLUS": "- * / // % ** and or not".split(),
    "NAME": "true false none not + -".split(),
}
_OPENERS = frozenset(("LPAR", "LSQB"))
_ATOMS = frozenset(("INT", "FLOAT", "STRING"))
_NEVER_PUT_IN = frozenset((END, "SHAPE", "INTERPOLATE", "INTERPOLATE_END", "_NL", "RBRACE"))


class Repairs:
    """Finds repairs of a reading; `steps` are those of the parser that it took."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.steps = 0
        kinds = reading.recognizer.kinds
        self._alike = {
            kind: frozenset(kinds[text] for text in texts) for kind, texts in _ALIKE.items()
        }

    def best(self, error: int) -> tuple[Repair | None, float]:
        """The best repair of an error, by the number of the token that cannot stand, and its value.

        The value is what it costs, less what it gains; there is no repair where none leads on.
        """
        reading = self.reading
        best, least = None, inf
        far, over_line = 0.0, False
        for at in range(error, max(reading.first, error - _BACK) - 1, -1):
            if at < error:
                ends_line = reading.starts_line(reading.tokens[at + 1])
                over_line = over_line or ends_line
                far += _LINE_BACK if ends_line else _EACH_BACK
                # What was read oddly speaks for a repair in front of it.
                odd = self._is_odd(reading.before[at], reading.before[at + 1], reading.tokens[at])
                far -= _ODD * odd
            for repair in self._candidates(reading.before[at], at):
                if over_line and not _OPENERS.isdisjoint(repair.put_in):
                    continue  # what is missing there would have been met on that line
                value = self._value(reading.before[at], repair, error) + far
                if value < least:
                    best, least = repair, value
        return best, least

    # -- candidates

    def _candidates(self, before: Configuration, at: int) -> Iterator[Repair]:
        token = self.reading.tokens[at]
        closers = self.reading.closers(before)[:_MAX_CLOSED]
        kinds = self._kinds(before)
        starts_line = self.reading.starts_line(token)
        for count in range(1, len(closers) + 1):
            yield Repair(at, 0, closers[:count], count)
        if starts_line and closers:
            yield Repair(at, 0, (*closers, "_NL"), len(closers))
        yield from self._insertions(kinds, at)
        if token.type == END or (token.type in _DEFINITIONS and starts_line):
            yield from self._ends_of_definition(before, at, closers)
        if token.type != END:
            yield Repair(at, 1, (), _LEFT_OUT)
            yield from self._replacements(kinds, at)

    def _insertions(self, kinds: list[str], at: int) -> Iterator[Repair]:
        token = self.reading.tokens[at]
        starts_line = self.reading.starts_line(token) and token.type != END
        for kind in kinds:
            if kind == "LBRACE" and not self._opens_body(token):
                continue
            cost = _NAME if kind == "NAME" else 1.0
            yield Repair(at, 0, (kind,), cost)
            if starts_line:
                yield Repair(at, 0, (kind, "_NL"), cost)
                yield Repair(at, 0, ("_NL", kind), cost + 0.1)

    def _replacements(self, kinds: list[str], at: int) -> Iterator[Repair]:
        token, following = self.reading.tokens[at : at + 2]
        if token.type == "_NL":
            return
        for kind in kinds:
            if kind != token.type and (kind != "LBRACE" or self._opens_body(following)):
                yield Repair(at, 1, (kind,), _REPLACED)

    def _ends_of_definition(
        self, before: Configuration, at: int, closers: tuple[str, ...]
    ) -> Iterator[Repair]:
        braces = sum(bracket.kind == "LBRACE" for bracket in before.brackets())
        ends = ("RBRACE",) * braces + (("_NL",) if self.reading.tokens[at].type != END else ())
        if braces:
            yield Repair(at, 0, closers + ends, len(closers) + braces)
            yield Repair(at, 0, ("NAME", *closers, *ends), len(closers) + braces + _NAME)

    def _kinds(self, before: Configuration) -> list[str]:
        """What can be put in."""
        accepted = self.reading.recognizer.accepts(before.stack)
        kinds = accepted - _NEVER_PUT_IN
        for kind, others in self._alike.items():
            if kind in accepted:
                kinds -= others
        if "NAME" in accepted:
            kinds -= _ATOMS
        if before.open is not None and before.open.kind in ("LBRACE", "INTERPOLATE"):
            kinds.add("RBRACE")
        return sorted(kinds)

    def _opens_body(self, following: Token) -> bool:
        """Whether a `{` can stand before a token: at the end of its line, or where a `}` follows."""
        if self.reading.starts_line(following) or following.type == "_NL":
            return True
        text, start = self.reading.source.text, following.start_pos or 0
        line_end = text.find("\n", start)
        return text.find("}", start, line_end if line_end >= 0 else len(text)) >= 0

    # -- trying

    def _value(self, before: Configuration, repair: Repair, error: int) -> float:
        """What a repair costs, less what it gains: infinite if it does not lead on."""
        now: Configuration | None = before
        cost = repair.cost
        try:
            for token in self.reading.put_in(repair):
                now = self._step(now, token)
            at = repair.at + repair.left_out
            last = min(len(self.reading.tokens), error + AHEAD)
            while now is not None and at < last:
                token = self.reading.tokens[at]
                following = self._step(now, token)
                if following is None or self._is_odd(now, following, token):
                    break
                now = following
                at += 1
        except TooDeepError:
            return inf
        if now is None:
            return inf
        gone = AHEAD if at == len(self.reading.tokens) else min(at - error, AHEAD)
        return inf if gone < _ENOUGH else cost - FURTHER * gone

    def _step(self, before: Configuration | None, token: Token) -> Configuration | None:
        self.steps += 1
        return None if before is None else self.reading.recognizer.step(before, token)

    def _is_odd(self, before: Configuration, after: Configuration, token: Token) -> bool:
        """Whether the layout speaks against how a token was read."""
        if after.kind == "NAME" and token.type != "NAME":
            return True  # a word of the language as a name
        bracket = before.open
        if bracket is not None and before.in_brackets and self.reading.starts_statement(token):
            return self.reading.indent(token) <= self.reading.indent(bracket.token)
        if after.kind == "INTERPOLATE_END" and self.reading.starts_line(token):
            return True
        if after.kind == "RBRACE" and before.open is not None and self.reading.starts_line(token):
            return self.reading.indent(before.open.token) != self.reading.indent(token)
        return False
