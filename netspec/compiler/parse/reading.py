"""A text with errors while it is read: its tokens, as changed by repairs, and the parser's state
before each.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

from netspec.compiler.parse.lalr import END, Tables, Token
from netspec.compiler.parse.layout import EXPECTS_MORE
from netspec.compiler.parse.recognizer import Configuration, Recognizer
from netspec.diagnostics import Source

_BLANK = r"[ \t]*"
_STATEMENT = re.compile(
    rf"(?:input|output|return|init|assert|for|if|layer|net|block)\b(?!{_BLANK}=)"
    rf"|(?:inline|scan)[ \t]+block\b(?!{_BLANK}=)"
    rf"|(?:parameter|buffer|constant|state)[ \t]+[A-Za-z_]"
    rf"|[A-Za-z_]\w*(?:{_BLANK},{_BLANK}[A-Za-z_]\w*){{0,8}}{_BLANK}=(?!=)|\}}"
)


class Repair(NamedTuple):
    """A change of the tokens: from index `at` on, `left_out` tokens are removed and others
    inserted.
    """

    at: int
    left_out: int
    put_in: tuple[str, ...]
    cost: float = 0.0


class Reading:
    """A text while it is being read.

    Attributes:
        source: the text.
        recognizer: reads its tokens.
        tokens: all of them, with the end marker; repairs change them.
        before: the configuration of the parser before each token, up to the next one to be read.
        first: the index of the first token that may still be changed.
    """

    def __init__(self, source: Source, tables: Tables) -> None:
        self.source = source
        self.recognizer = Recognizer(tables)
        self.tokens = list(self.recognizer.tokens(source.text))
        self.before = [self.recognizer.start]
        self.first = 0
        # Where the first token of each line starts, and by how much it is indented.
        self._starts: list[int] = []
        self._indents: list[int] = []
        end = 0
        for token in self.tokens:
            start = token.start_pos
            if start is None or token.type == "_NL":
                continue
            if not self._starts or source.text.find("\n", end, start) >= 0:
                self._starts.append(start)
                self._indents.append((token.column or 1) - 1)
            end = start + len(token)

    def starts_line(self, token: Token) -> bool:
        """Whether a token is the first on its line. The end of the file counts as one."""
        if token.start_pos is None:
            return True
        line = bisect_right(self._starts, token.start_pos) - 1
        return token.type != "_NL" and line >= 0 and self._starts[line] == token.start_pos

    def starts_statement(self, token: Token) -> bool:
        """Whether a token is the first on its line and looks like the start of a statement."""
        if token.type == END:
            return True
        looks_like_one = _STATEMENT.match(self.source.text, token.start_pos or 0)
        return self.starts_line(token) and looks_like_one is not None

    def step(self, at: int) -> Configuration | None:
        """Return the configuration after a token, or None if it is not allowed.

        Raises:
            TooDeepError: at a bracket that is nested too deeply.
        """
        return self.recognizer.step(self.before[at], self.tokens[at])

    def cuts_off(self, at: int) -> bool:
        """Whether a token is a line break behind an operator, and a statement begins behind it.

        Behind an arrow a keyword could be a label, and a name a layer, so that only a later token
        would be refused.
        """
        before, token = self.before[at], self.tokens[at]
        if token.type != "_NL" or before.in_brackets or before.text not in EXPECTS_MORE:
            return False
        return self.starts_statement(self.tokens[at + 1]) and self.tokens[at + 1].type != END

    def indent(self, token: Token) -> int:
        """Return the indentation of a token's line."""
        if token.start_pos is None:
            return 0
        line = bisect_right(self._starts, token.start_pos) - 1
        return self._indents[line] if line >= 0 else 0

    def number_of(self, place: int) -> int:
        """Return the index of the first token at or after a place of the text."""
        behind = (
            number
            for number, token in enumerate(self.tokens)
            if token.start_pos is None or token.start_pos >= place
        )
        return next(behind)

    def put_in(self, repair: Repair) -> list[Token]:
        """Return the tokens that a repair inserts. They have no text in the source."""
        literals = self.recognizer.tables.literals
        place = self.tokens[repair.at]
        start = place.start_pos if place.start_pos is not None else len(self.source.text)
        return [
            Token(kind, literals.get(kind, ""), start, start, place.column)
            for kind in repair.put_in
        ]

    def closers(self, before: Configuration) -> tuple[str, ...]:
        """Return the tokens that close the open brackets up to the enclosing body, innermost first."""
        inner = takewhile(lambda bracket: bracket.kind in ("LPAR", "LSQB"), before.brackets())
        return tuple("RPAR" if bracket.kind == "LPAR" else "RSQB" for bracket in inner)

    def apply(self, repair: Repair) -> None:
        """Apply a repair, and go back to the place where it changes the tokens."""
        put_in = self.put_in(repair)
        self.tokens[repair.at : repair.at + repair.left_out] = put_in
        del self.before[repair.at + 1 :]
        self.first = repair.at + len(put_in)


def openers(before: Configuration) -> Sequence[Token]:
    """Return the open brackets, outermost first."""
    return [bracket.token for bracket in before.brackets()][::-1]
