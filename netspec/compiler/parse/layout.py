"""The filter between lexer and parser: which line breaks count, and which braces belong to a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netspec.compiler.parse.lalr import Token
from netspec.diagnostics import Source, Span

MAX_NESTING = 48
_ENDS_LABEL = ("COLON", "COMMA", "LPAR", "RPAR", "LSQB", "RSQB", "LBRACE", "RBRACE", "_NL")
_OPENS = frozenset(("LBRACE", "LPAR", "LSQB"))
CLOSES = {"RPAR": "LPAR", "RSQB": "LSQB"}


def token_ends(source: Source, token: Token) -> tuple[int, int]:
    """Return where a token starts and ends. A line break is empty, behind the last word."""
    start, end = token.start_pos, token.end_pos
    if start is None:
        start = len(source.text)
    return start, start if end is None or end < start or token.type == "_NL" else end


def token_span(source: Source, token: Token) -> Span:
    """Return the span of a token."""
    return Span(source, *token_ends(source, token))


# A line that ends with one of these tokens continues on the next line, as one that starts with it.
EXPECTS_MORE = frozenset("-> + - * / // % ** == != < <= > >= and or".split())


class Layout:
    """Filters the tokens for the parser: drops line breaks inside brackets, adds those that `}`
    implies.

    It also distinguishes the braces of a label (`layer{i}`) from those of a body, and limits the
    nesting of brackets.
    """

    always_accept: tuple[str, ...] = ("_NL", "LBRACE", "RBRACE")

    def __init__(self) -> None:
        self.open: list[Token] = []

    def process(self, stream: Iterable[Token]) -> Iterator[Token]:
        """Yield the tokens that the parser sees."""
        self.open = []
        previous, word = "_NL", ""
        in_label = False
        for token in stream:
            kind = token.type
            if kind == "_NL":
                starts_line = previous in ("_NL", "LBRACE")
                inside = bool(self.open) and self.open[-1].type != "LBRACE"
                if inside or starts_line or word in EXPECTS_MORE:
                    continue
            if kind in _OPENS:
                self._push(token, in_label)
            elif kind == "RBRACE":
                opener = self._pop("LBRACE", "INTERPOLATE")
                if self._ends_body(token, opener, starts_line=previous in ("_NL", "LBRACE")):
                    yield token.put_before("_NL")
            elif kind in CLOSES:
                self._pop(CLOSES[kind])
            # A label stands only directly behind an arrow, and reaches up to its colon.
            in_label = token.type == "INTERPOLATE_END" or (
                token == "->" or (in_label and kind not in _ENDS_LABEL)
            )
            previous, word = token.type, token
            yield token
        if previous != "_NL":
            yield Token("_NL", "")

    def _ends_body(self, token: Token, opener: Token | None, *, starts_line: bool) -> bool:
        """Whether a `}` ends a body in the middle of a line, so that it ends the line too."""
        if opener is None:
            return False
        if opener.type == "INTERPOLATE":
            token.type = "INTERPOLATE_END"
            return False
        return not starts_line

    def _pop(self, *kinds: str) -> Token | None:
        """Remove and return the open bracket that a closing one matches; None, and no change, if
        there is none.
        """
        return self.open.pop() if self.open and self.open[-1].type in kinds else None

    def _push(self, token: Token, in_label: bool) -> None:
        if token.type == "LBRACE" and in_label:
            token.type = "INTERPOLATE"
        self.open.append(token)
        if len(self.open) > MAX_NESTING:
            raise TooDeepError(token)


class TooDeepError(Exception):
    """Raised at the bracket that is nested too deeply."""

    def __init__(self, token: Token) -> None:
        self.token = token
