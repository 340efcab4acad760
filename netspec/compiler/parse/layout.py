"""Between lexer and parser: which line breaks count, and which braces belong to a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netspec.compiler.parse.lalr import Token
from netspec.diagnostics import Source, Span

MAX_NESTING = 48
_ENDS_LABEL = ("COLON", "COMMA", "LPAR", "RPAR", "LSQB", "RSQB", "LBRACE", "RBRACE", "_NL")
CLOSES = {"RPAR": "LPAR", "RSQB": "LSQB"}


def token_span(source: Source, token: Token) -> Span:
    """The span of a token; a line break is shown as the place behind the last word."""
    start = token.start_pos if token.start_pos is not None else len(source.text)
    end = token.end_pos if token.end_pos is not None else start
    return Span(source, start, start if token.type == "_NL" else max(end, start))


# A line that ends with one of these goes on below, like one that starts with it.
_EXPECTS_MORE = frozenset("-> + - * / // % ** == != < <= > >= and or".split())


class Layout:
    """Between lexer and parser: drops line breaks inside brackets and adds those that `}` implies.

    It also tells the braces of a label (`layer{i}`) from those of a body, and bounds the nesting.
    `open` are the brackets not closed yet; `unbalanced` is the first `{` whose `}` stands further
    left than the line that opened it: if one is missing, it is most likely that one's.
    """

    always_accept: tuple[str, ...] = ("_NL", "LBRACE", "RBRACE")

    def __init__(self) -> None:
        self.open: list[Token] = []
        self.unbalanced: Token | None = None

    def process(self, stream: Iterable[Token]) -> Iterator[Token]:
        """Yield the tokens that the parser sees."""
        self.open = []
        self.unbalanced = None
        indents: dict[int, int] = {}  # of the line of each `{`, by the token's id
        indent = 0
        previous, operator = "_NL", ""
        in_label = False
        for token in stream:
            kind = token.type
            starts_line = previous in ("_NL", "LBRACE") and kind != "_NL"
            if starts_line and kind != "RBRACE":
                indent = token.column or 0
            if kind == "_NL":
                inside = bool(self.open) and self.open[-1].type != "LBRACE"
                if inside or previous in ("_NL", "LBRACE") or operator in _EXPECTS_MORE:
                    continue
            elif kind == "LBRACE":
                if in_label:
                    token.type = "INTERPOLATE"
                self._push(token)
                indents[id(token)] = indent
            elif kind in ("LPAR", "LSQB"):
                self._push(token)
            elif kind == "RBRACE":
                opener = self._pop("LBRACE", "INTERPOLATE")
                if opener is not None and opener.type == "INTERPOLATE":
                    token.type = "INTERPOLATE_END"
                elif opener is not None and previous not in ("_NL", "LBRACE"):
                    yield token.put_before("_NL")
                elif opener is not None and (token.column or 0) < indents[id(opener)]:
                    self.unbalanced = self.unbalanced or opener
            elif kind in CLOSES:
                self._pop(CLOSES[kind])
            # A label can only stand right behind an arrow, up to its colon.
            in_label = token.type == "INTERPOLATE_END" or (
                token == "->" or (in_label and kind not in _ENDS_LABEL)
            )
            previous, operator = token.type, str(token)
            yield token
        if previous != "_NL":
            yield Token("_NL", "")

    def _pop(self, *kinds: str) -> Token | None:
        """The bracket that a closing one belongs to; one that fits nothing leaves all open."""
        return self.open.pop() if self.open and self.open[-1].type in kinds else None

    def _push(self, token: Token) -> None:
        self.open.append(token)
        if len(self.open) > MAX_NESTING:
            raise TooDeepError(token)


class TooDeepError(Exception):
    """Raised at the bracket that goes too deep."""

    def __init__(self, token: Token) -> None:
        self.token = token
