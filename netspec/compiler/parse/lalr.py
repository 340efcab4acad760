"""The lexer and the LALR(1) parser, driven by tables and calling back for each reduction.

Lark builds the tables (`tables.py`), and this module runs them, because importing Lark takes longer
than checking a file. It works as Lark does: the lexer is contextual, which means that it knows the
parser's state and matches only tokens that are allowed there (in a label `0.1` is three tokens,
elsewhere it is a number).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

END = "$END"


class Token(str):
    """A piece of text with its kind and its position.

    A token that was inserted has no text of its own.
    """

    __slots__ = ("column", "end_pos", "start_pos", "type")

    def __new__(
        cls,
        type: str,
        text: str,
        start_pos: int | None = None,
        end_pos: int | None = None,
        column: int | None = None,
    ) -> Token:
        """Create a token."""
        self = str.__new__(cls, text)
        self.type = type
        self.start_pos = start_pos
        self.end_pos = end_pos
        self.column = column
        return self

    type: str
    start_pos: int | None
    end_pos: int | None
    column: int | None

    def put_before(self, type: str) -> Token:
        """Return an empty token at the position of this one."""
        return Token(type, "", self.start_pos, self.end_pos, self.column)


class Stack(NamedTuple):
    """The parser's stack of states, as a linked list: the top state first."""

    state: int
    below: Stack | None


class UnexpectedTokenError(Exception):
    """The parser cannot continue with a token. `accepts` are the kinds with which it could."""

    def __init__(self, token: Token, accepts: set[str]) -> None:
        super().__init__(token.type)
        self.token = token
        self.accepts = accepts


class UnexpectedCharacterError(Exception):
    """No token starts at a position of the text."""

    def __init__(self, at: int) -> None:
        super().__init__(at)
        self.at = at


class Filter(Protocol):
    """A filter between lexer and parser.

    The lexer may always match the tokens in `always_accept`.
    """

    always_accept: tuple[str, ...]

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        """Yield the tokens that the parser sees."""
        ...


class Tables:
    """The tables of a grammar, as `tables.py` stores them.

    Attributes:
        states: by state and symbol, the state to go to, or -1 - r for a reduction by rule r.
        rules: (name, number of symbols, the indices of those whose items are spliced into the
            children, whether a single child replaces the node).
        terminals: (kind, pattern, kind of the general terminal that is tried first, or "") in the
            order in which they are tried.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.states: list[dict[str, int]] = data["states"]
        self.rules: list[tuple[str, int, list[int], bool]] = data["rules"]
        self.terminals: list[tuple[str, str, str]] = data["terminals"]
        self.ignored = frozenset(data["ignored"])
        self.start: int = data["start"]
        self.end: int = data["end"]
        self.literals: dict[str, str] = data["literals"]
        keywords: dict[str, dict[str, str]] = {}
        for kind, _, general in self.terminals:
            if general:
                keywords.setdefault(general, {})[self.literals[kind]] = kind
        self.keywords = keywords
        # The rules by which one value takes another's place, as in `?sum: product`.
        self.passes_on = [
            size == 1 and bare and not spliced for _, size, spliced, bare in self.rules
        ]
        self.known_climbs: dict[tuple[int, int, str], int] = {}
        self.pattern = self.pattern_of(frozenset(kind for kind, *_ in self.terminals))

    @functools.cache  # noqa: B019 - there is one, and it lives as long as we do
    def pattern_of(self, kinds: frozenset[str]) -> re.Pattern[str]:
        """Return one pattern for several kinds of tokens.

        A keyword gets no pattern of its own if its general terminal is among the kinds, which
        matches it.
        """
        return re.compile(
            "|".join(
                f"(?P<{kind}>{pattern})"
                for kind, pattern, general in self.terminals
                if kind in kinds and general not in kinds
            )
        )

    @functools.cache  # noqa: B019 - as above
    def targets_of(self, state: int, kinds: frozenset[str]) -> dict[int, frozenset[str]]:
        """Return what a state does with tokens of several kinds: the kinds, by target."""
        found: dict[int, set[str]] = {}
        for kind in kinds & self.states[state].keys():
            found.setdefault(self.states[state][kind], set()).add(kind)
        return {target: frozenset(alike) for target, alike in found.items()}

    def reduced(self, stack: Stack, target: int) -> Stack:
        """Return the stack after the reduction that a target below 0 stands for."""
        name, size, *_ = self.rules[-1 - target]
        below: Stack | None = stack
        for _ in range(size):
            assert below is not None
            below = below.below
        assert below is not None
        return Stack(self.states[below.state][name], below)

    def climbed(self, below: int, state: int, kind: str) -> int:
        """Return the state that follows one before a token, after all reductions in which one value
        takes another's place. A name or a number alone takes a dozen of them to be an argument.
        """
        key = (below, state, kind)
        if key not in self.known_climbs:
            target = self.states[state].get(kind)
            while target is not None and target < 0 and self.passes_on[-1 - target]:
                state = self.states[below][self.rules[-1 - target][0]]
                target = self.states[state].get(kind)
            self.known_climbs[key] = state
        return self.known_climbs[key]

    def accepts(self, stack: Stack) -> tuple[set[str], int]:
        """Return the kinds of tokens that are allowed next, and how many reductions that took.

        Kinds before which the same reductions come are followed together: a stack can be long.
        """
        allowed, reductions = set[str](), 0
        kinds = frozenset(kind for kind in self.states[stack.state] if kind.isupper())
        pending = [(stack, kinds)]
        while pending:
            stack, kinds = pending.pop()
            if stack.state == self.end:
                allowed |= kinds & {END}
            for target, alike in self.targets_of(stack.state, kinds).items():
                if target >= 0:
                    allowed |= alike
                else:
                    pending.append((self.reduced(stack, target), alike))
                    reductions += 1
        return allowed, reductions


class Parser:
    """The parser, which keeps the state of one run over a text."""

    def __init__(self, tables: Tables, callbacks: Any, layout: Filter) -> None:
        self.tables = tables
        self.layout = layout
        self.callbacks: list[Callable[[list[Any]], Any] | None] = [
            None if name.startswith("_") else getattr(callbacks, name, None)
            for name, *_ in tables.rules
        ]
        self.stack: list[int] = []
        self.values: list[Any] = []

    def parse(self, text: str, first: Token | None = None, end: int | None = None) -> Any:
        """Parse a text and return what the callback of the start rule returns.

        With a `first` token, parse that token and then the text from its end up to `end`.

        Raises:
            UnexpectedTokenError, UnexpectedCharacterError: where the text does not match the
                grammar.
        """
        self.stack = [self.tables.start]
        self.values = []
        token = None
        for token in self.layout.process(self._lex(text, first, len(text) if end is None else end)):
            self._feed(token)
        return self._feed(token.put_before(END) if token is not None else Token(END, "", 0, 0, 1))

    # -- the lexer

    def _lex(self, text: str, first: Token | None, size: int) -> Iterator[Token]:
        tables, states, stack = self.tables, self.tables.states, self.stack
        ignored, keywords, match_any = tables.ignored, tables.keywords, tables.pattern.match
        at, line_start = 0, 0
        if first is not None:
            yield first
            at = line_start = first.end_pos or 0
        while at < size:
            if text[at] == " ":
                at += 1
                continue
            allowed = states[stack[-1]]
            # The usual case of `_match`, without its calls.
            match = match_any(text, at)
            kind, end = (match.lastgroup or "", match.end()) if match is not None else ("", at)
            if kind in keywords:
                kind = self._keyword(kind, text[at:end], allowed)
            if kind not in allowed and kind not in ignored:
                found = self._match(text, at, allowed)
                if found is None:
                    raise self._unexpected(text, at, line_start)
                kind, end = found
            if kind not in ignored:
                yield Token(kind, text[at:end], at, end, at - line_start + 1)
            if end - at > 1 or kind == "_NL":
                newline = text.rfind("\n", at, end)
                if newline >= 0:
                    line_start = newline + 1
            at = end

    def _match(self, text: str, at: int, allowed: dict[str, int]) -> tuple[str, int] | None:
        """Return the kind and the end of the token at a position, or None if no allowed token
        matches.
        """
        tables, always = self.tables, self.layout.always_accept
        # The pattern of all terminals is tried first. If what it matches is allowed, it is also
        # what the pattern of the allowed ones would match.
        match = tables.pattern.match(text, at)
        if match is not None:
            kind = match.lastgroup or ""
            kind = self._keyword(kind, match[0], allowed)
            if kind in allowed or kind in tables.ignored or kind in always:
                return kind, match.end()
        kinds = (kind for kind, *_ in tables.terminals)
        fit = (k for k in kinds if k in allowed or k in tables.ignored or k in always)
        match = tables.pattern_of(frozenset(fit)).match(text, at)
        if match is None:
            return None
        return self._keyword(match.lastgroup or "", match[0], allowed), match.end()

    def _keyword(self, kind: str, text: str, allowed: dict[str, int] | None) -> str:
        """Return the kind of a name: that of its keyword where the keyword is allowed, else its
        own.
        """
        keyword = self.tables.keywords.get(kind, {}).get(text)
        return keyword if keyword and (allowed is None or keyword in allowed) else kind

    def _unexpected(self, text: str, at: int, line_start: int) -> Exception:
        """Return the error at a position where nothing allowed matches: a token is there, or none
        at all.
        """
        match = self.tables.pattern.match(text, at)
        if match is None:
            return UnexpectedCharacterError(at)
        kind = self._keyword(match.lastgroup or "", match[0], None)
        token = Token(kind, match[0], at, match.end(), at - line_start + 1)
        return UnexpectedTokenError(token, self._accepts())

    # -- the parser

    def _feed(self, token: Token) -> Any:
        """Shift a token, after all reductions before it.

        At the end, return the value of the start rule.
        """
        tables, stack, values = self.tables, self.stack, self.values
        states, passes_on, known = tables.states, tables.passes_on, tables.known_climbs
        kind = token.type
        while True:
            target = states[stack[-1]].get(kind)
            if target is None:
                raise UnexpectedTokenError(token, self._accepts())
            if target >= 0:
                stack.append(target)
                values.append(token)
                return None
            if passes_on[-1 - target]:
                place = stack[-2], stack[-1], kind
                stack[-1] = known[place] if place in known else tables.climbed(*place)
                continue
            name, size, spliced, bare = tables.rules[-1 - target]
            children: list[Any] = []
            if size:
                children = values[-size:]
                del stack[-size:], values[-size:]
            if spliced:
                children = _splice(children, spliced)
            callback = self.callbacks[-1 - target]
            if bare and len(children) == 1:
                (value,) = children
            else:
                value = children if callback is None else callback(children)
            stack.append(states[stack[-1]][name])
            values.append(value)
            if kind == END and stack[-1] == tables.end:
                return value

    def _accepts(self) -> set[str]:
        """Return the kinds of tokens with which the parser could continue."""
        stack = Stack(self.stack[0], None)
        for state in self.stack[1:]:
            stack = Stack(state, stack)
        return self.tables.accepts(stack)[0]


def _splice(children: list[Any], spliced: list[int]) -> list[Any]:
    """Return the children with some of them replaced by their items.

    The first of those lists grows in place: a list that the grammar builds item by item is never
    copied.
    """
    out: list[Any] = []
    for i, child in enumerate(children):
        if i not in spliced:
            out.append(child)
        elif out:
            out += child
        else:
            out = child
    return out
