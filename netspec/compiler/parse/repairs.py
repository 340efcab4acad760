"""Finds the cheapest change of a few tokens with which the parser can continue.

The search is a minimum-cost repair for LR parsers (Corchuelo et al. 2002, "Repairing syntax errors
in LR parsers"; Diekmann and Tratt 2020, "Don't Panic! Better, Fewer, Syntax Errors for LR
Parsers"): tokens are inserted, deleted or replaced near the error, and the change that lets the
parser get furthest at the lowest cost is chosen. Two facts outside the grammar are used as well:
line breaks that were ignored because a bracket was open can count again, and lines and braces are
indented.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from netspec.compiler.parse.lalr import END, Token
from netspec.compiler.parse.layout import TooDeepError
from netspec.compiler.parse.reading import Reading, Repair
from netspec.compiler.parse.recognizer import Configuration

# How many steps of the parser may be spent on trying repairs.
MAX_STEPS = 120_000
# How many tokens back a repair may start, and for how many tokens its effect is followed.
_BACK = 8
AHEAD = 24
_ENOUGH = 1
_MAX_CLOSED = 4
# The costs of steps, in units of one insertion, and the gain for each token that the parser gets
# further.
_LEFT_OUT, _REPLACED, _NAME, _EACH_BACK, _LINE_BACK = 1.5, 2.0, 1.1, 0.05, 0.4
_ODD, FURTHER = 1.2, 0.12
# Other languages have the one where this one has the other: no more than an insertion.
_CONFUSED = {("COLON", "EQUAL"), ("EQUAL", "COLON"), ("EQUAL", "COMPARE")}
_DEFINITIONS = ("NET", "BLOCK", "FROM", "LANGUAGE")
# One operator and one atom stand for all of them, because the parser continues alike.
_ALIKE = {
    "PLUS": "- * / // % ** and or not".split(),
    "NAME": "true false none not + -".split(),
}
_OPENERS = frozenset(("LPAR", "LSQB"))
_ATOMS = frozenset(("INT", "FLOAT", "STRING"))
_NEVER_PUT_IN = frozenset(
    (END, "SHAPE", "TEXT_HOLE", "INTERPOLATE", "INTERPOLATE_END", "_NL", "RBRACE")
)


class Repairs:
    """Finds repairs of a reading. `steps` counts the steps of the parser that this took.

    After `MAX_STEPS` it finds no more.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.steps = 0
        kinds = reading.recognizer.kinds
        self._alike = {
            kind: frozenset(kinds[text] for text in texts) for kind, texts in _ALIKE.items()
        }

    def best(self, error: int) -> tuple[Repair | None, float]:
        """Return the best repair of an error and its value.

        `error` is the index of the token that is not allowed. The value is the cost of the repair
        less its gain. The repair is None if there is none with which the parser can continue, or
        if looking for it takes too long.
        """
        started = self.reading.recognizer.steps - self.steps
        best, least = None, inf
        for repair, before, far in self._near(error):
            if repair.cost + far - FURTHER * AHEAD >= least:
                continue  # not even if the parser gets as far as is followed
            value = self._value(before, repair, error) + far
            if value < least:
                best, least = repair, value
            self.steps = self.reading.recognizer.steps - started
            if self.steps > MAX_STEPS:
                return None, inf
        return best, least

    def _near(self, error: int) -> Iterator[tuple[Repair, Configuration, float]]:
        """Yield repairs of an error, where the parser is before each, and what their places cost."""
        reading = self.reading
        far, over_line = 0.0, False
        for at in range(error, max(reading.first, error - _BACK) - 1, -1):
            if at < error:
                ends_line = reading.starts_line(reading.tokens[at + 1])
                over_line = over_line or ends_line
                far += _LINE_BACK if ends_line else _EACH_BACK
                # A token that was read in an odd way is evidence for a repair before it.
                odd = self._is_odd(reading.before[at], reading.before[at + 1], reading.tokens[at])
                far -= _ODD * odd
            for repair in self._candidates(reading.before[at], at):
                if over_line and not _OPENERS.isdisjoint(repair.put_in):
                    continue  # a closing bracket missing on an earlier line would have shown there
                yield repair, reading.before[at], far

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
                yield Repair(at, 1, (kind,), _cost_of(token, kind))

    def _ends_of_definition(
        self, before: Configuration, at: int, closers: tuple[str, ...]
    ) -> Iterator[Repair]:
        braces = sum(bracket.kind == "LBRACE" for bracket in before.brackets())
        ends = ("RBRACE",) * braces + (("_NL",) if self.reading.tokens[at].type != END else ())
        if braces:
            yield Repair(at, 0, closers + ends, len(closers) + braces)
            yield Repair(at, 0, ("NAME", *closers, *ends), len(closers) + braces + _NAME)

    def _kinds(self, before: Configuration) -> list[str]:
        """Return the kinds of tokens that may be inserted."""
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
        """Whether a `{` may stand before a token: at the end of its line, or where a `}` follows on
        it.
        """
        if self.reading.starts_line(following) or following.type == "_NL":
            return True
        text, start = self.reading.source.text, following.start_pos or 0
        line_end = text.find("\n", start)
        return text.find("}", start, line_end if line_end >= 0 else len(text)) >= 0

    # -- trying

    def _value(self, before: Configuration, repair: Repair, error: int) -> float:
        """Return the cost of a repair less its gain; infinite if the parser cannot continue with
        it.
        """
        recognizer = self.reading.recognizer
        now: Configuration | None = before
        cost = repair.cost
        try:
            for token in self.reading.put_in(repair):
                now = None if now is None else recognizer.step(now, token)
            at = repair.at + repair.left_out
            last = min(len(self.reading.tokens), error + AHEAD)
            while now is not None and at < last:
                token = self.reading.tokens[at]
                following = recognizer.step(now, token)
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

    def _is_odd(self, before: Configuration, after: Configuration, token: Token) -> bool:
        """Whether the layout is evidence against the way in which a token was read."""
        if after.kind == "NAME" and token.type != "NAME":
            return True  # a keyword that was read as a name
        bracket = before.open
        if bracket is not None and before.in_brackets and self.reading.starts_statement(token):
            return self.reading.indent(token) <= self.reading.indent(bracket.token)
        if after.kind == "INTERPOLATE_END" and self.reading.starts_line(token):
            return True
        if after.kind == "RBRACE" and before.open is not None and self.reading.starts_line(token):
            return self.reading.indent(before.open.token) != self.reading.indent(token)
        return False


def _cost_of(token: Token, kind: str) -> float:
    """The cost of a token of this kind in the place of another."""
    return 1.0 if (token.type, kind) in _CONFUSED else _REPLACED
