"""Between lexer and parser: which line breaks count, and which braces belong to a label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import lark

from netspec.diagnostics import Source, Span

MAX_NESTING = 48


def token_span(source: Source, token: lark.Token) -> Span:
    """The span of a token; a line break is shown as the place behind the last word."""
    start = token.start_pos if token.start_pos is not None else len(source.text)
    end = token.end_pos if token.end_pos is not None else start
    return Span(source, start, start if token.type == "_NL" else max(end, start))


class Layout:
    """Between lexer and parser: drops line breaks inside brackets and adds those that `}` implies.

    It also tells the braces of a label (`layer{i}`) from those of a body, and bounds the nesting.
    """

    always_accept = ("_NL", "LBRACE", "RBRACE")

    def __init__(self) -> None:
        self.open: list[lark.Token] = []

    def process(self, stream: Iterable[lark.Token]) -> Iterator[lark.Token]:
        """Yield the tokens that the parser sees."""
        self.open = []
        previous = "_NL"
        in_label = False
        for token in stream:
            kind = token.type
            if kind == "_NL":
                if previous in ("_NL", "LBRACE") or (self.open and self.open[-1].type != "LBRACE"):
                    continue
            elif kind == "LBRACE":
                if in_label:
                    token.type = "INTERPOLATE"
                self._push(token)
            elif kind in ("LPAR", "LSQB"):
                self._push(token)
            elif kind == "RBRACE":
                opener = self.open.pop() if self.open else None
                if opener is not None and opener.type == "INTERPOLATE":
                    token.type = "INTERPOLATE_END"
                elif previous not in ("_NL", "LBRACE"):
                    yield lark.Token.new_borrow_pos("_NL", "", token)
            elif kind in ("RPAR", "RSQB") and self.open:
                self.open.pop()
            # A label can only stand right behind an arrow, up to its colon.
            in_label = token.type == "INTERPOLATE_END" or (
                token == "->" or (in_label and kind not in ("COLON", "LPAR", "_NL", "LBRACE"))
            )
            previous = token.type
            yield token
        if previous != "_NL":
            yield lark.Token("_NL", "")

    def _push(self, token: lark.Token) -> None:
        self.open.append(token)
        if len(self.open) > MAX_NESTING:
            raise TooDeepError(token)


class TooDeepError(Exception):
    """Raised at the bracket that goes too deep."""

    def __init__(self, token: lark.Token) -> None:
        self.token = token
