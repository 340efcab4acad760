"""A parser without values, whose configurations can be kept and returned to.

It reads tokens that were split without knowing the parser's state. The kind of each is settled when
it is read, in the way in which the contextual lexer and the layout do it for a text without errors.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from netspec.compiler.parse.lalr import END, Stack, Tables, Token
from netspec.compiler.parse.layout import CLOSES, EXPECTS_MORE, MAX_NESTING, TooDeepError

# The kind of a character that starts no token.
UNKNOWN = "?"
_BODY_STARTS = ("_NL", "LBRACE")


class Bracket(NamedTuple):
    """The open brackets, as a linked list: the innermost first."""

    token: Token
    kind: str
    depth: int
    around: Bracket | None


class Configuration(NamedTuple):
    """The state of a parser: its stack, the open brackets, the kind and text of the last token."""

    stack: Stack
    open: Bracket | None
    kind: str
    text: str

    def brackets(self) -> Iterator[Bracket]:
        """Yield the open brackets, innermost first."""
        bracket = self.open
        while bracket is not None:
            yield bracket
            bracket = bracket.around

    @property
    def in_brackets(self) -> bool:
        """Whether line breaks are ignored here."""
        return self.open is not None and self.open.kind != "LBRACE"

    @property
    def ends_line(self) -> bool:
        """Whether a line break here would end a statement, or what was read as one."""
        starts_line = self.kind in _BODY_STARTS or self.text in EXPECTS_MORE
        return not (starts_line or self.in_brackets)


class Refusal(NamedTuple):
    """The token that is not allowed, and the kinds of tokens that are."""

    token: Token
    accepts: set[str]


class Recognizer:
    """Decides whether a sequence of tokens belongs to the language.

    It can try several continuations. `steps` counts the tokens that it read and the reductions
    before them, of which one token can have as many as there are tokens before it.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.steps = 0
        self.start = Configuration(Stack(tables.start, None), None, "_NL", "")
        self.kinds = {text: kind for kind, text in tables.literals.items()}
        self._keywords = frozenset(k for words in tables.keywords.values() for k in words.values())

    def tokens(self, text: str) -> Iterator[Token]:
        """Yield all tokens of a text, including line breaks, and the end marker."""
        tables, at, line_start = self.tables, 0, 0
        names = tables.keywords.get("NAME", {})
        while at < len(text):
            match = tables.pattern.match(text, at)
            if match is None:
                end = at + 1
                if text[at] == '"':
                    end = text.find("\n", at)
                    end = len(text) if end < 0 else end
                yield Token(UNKNOWN, text[at:end], at, end, at - line_start + 1)
            else:
                end, kind = match.end(), match.lastgroup or ""
                kind = names.get(match[0], kind) if kind == "NAME" else kind
                if kind not in tables.ignored:
                    yield Token(kind, match[0], at, end, at - line_start + 1)
            newline = text.rfind("\n", at, end)
            line_start = newline + 1 if newline >= 0 else line_start
            at = end
        yield Token(END, "")

    def step(self, before: Configuration, token: Token) -> Configuration | None:
        """Return the configuration after a token, or None if the token is not allowed.

        Raises:
            TooDeepError: at a bracket that is nested too deeply.
        """
        self.steps += 1
        if token.type == UNKNOWN:
            return None
        if token.type == "_NL" and not before.ends_line:
            return before
        stack = self._behind_line(before, token)
        if stack is None:
            return None
        allowed = self.tables.states[stack.state]
        kind = self._read_as(token, before, allowed)
        if kind == "FLOAT" and kind not in allowed and "INT" in allowed:
            return self._number_in_label(before, token)
        shifted = self._shift(stack, kind)
        if shifted is None:
            return None
        return Configuration(shifted, _opened(before.open, kind, token), kind, str(token))

    def refusal(self, before: Configuration, token: Token) -> Refusal:
        """Return why a token is not allowed: the token itself or the line break before it, and what
        is allowed.
        """
        stack = self._behind_line(before, token)
        if stack is None:
            line_end, stack = token.put_before("_NL"), before.stack
            return Refusal(line_end, self.accepts(self._reduced(stack, "_NL")))
        return Refusal(token, self.accepts(self._reduced(stack, token.type)))

    def accepts(self, stack: Stack) -> set[str]:
        """Return the kinds of tokens that are allowed next."""
        allowed, reductions = self.tables.accepts(stack)
        self.steps += reductions
        return allowed

    def _behind_line(self, before: Configuration, token: Token) -> Stack | None:
        """Return the stack after the line break that a token implies; None if that is not allowed."""
        if token.type == END:
            implied = before.kind != "_NL"
        else:
            inside = before.open is not None and before.open.kind == "LBRACE"
            implied = token.type == "RBRACE" and inside and before.kind not in _BODY_STARTS
        return self._shift(before.stack, "_NL") if implied else before.stack

    def _read_as(self, token: Token, before: Configuration, allowed: Collection[str]) -> str:
        """Return the kind as which a token is read, given the kinds that are allowed."""
        kind = token.type
        if kind == "RBRACE" and before.open is not None and before.open.kind == "INTERPOLATE":
            return "INTERPOLATE_END"
        if kind in allowed:
            return kind
        if kind == "LBRACE" and "INTERPOLATE" in allowed:
            return "INTERPOLATE"
        return "NAME" if kind in self._keywords and "NAME" in allowed else kind

    def _number_in_label(self, before: Configuration, token: Token) -> Configuration | None:
        """Read a number such as `0.1` in a label, where it is three tokens."""
        first, point, second = token.partition(".")
        after: Configuration | None = before
        for kind, text in (("INT", first), (self.kinds["."], point), ("INT", second)):
            after = None if after is None else self.step(after, Token(kind, text))
        return after

    def _shift(self, stack: Stack, kind: str) -> Stack | None:
        """Return the stack after a token of a kind and all reductions before it; None if it is not
        allowed.
        """
        stack = self._reduced(stack, kind)
        if kind == END and stack.state == self.tables.end:
            return stack
        target = self.tables.states[stack.state].get(kind)
        return None if target is None else Stack(target, stack)

    def _reduced(self, stack: Stack, kind: str) -> Stack:
        """Return the stack after the reductions that precede a token of a kind.

        If the token is not allowed, the reductions go as far as the tables permit.
        """
        tables = self.tables
        while True:
            below = stack.below
            if below is not None:
                state = tables.climbed(below.state, stack.state, kind)
                stack = stack if state == stack.state else Stack(state, below)
            target = tables.states[stack.state].get(kind)
            if target is None or target >= 0:
                return stack
            stack = tables.reduced(stack, target)
            self.steps += 1


def _opened(bracket: Bracket | None, kind: str, token: Token) -> Bracket | None:
    """Return the open brackets after a token."""
    if kind in ("LPAR", "LSQB", "LBRACE", "INTERPOLATE"):
        depth = bracket.depth + 1 if bracket is not None else 1
        if depth > MAX_NESTING:
            raise TooDeepError(token)
        return Bracket(token, kind, depth, bracket)
    closes = kind in CLOSES or kind in ("RBRACE", "INTERPOLATE_END")
    return bracket.around if closes and bracket is not None else bracket
