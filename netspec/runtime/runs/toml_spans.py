"""The positions of keys and values in a TOML text, and a check that it is not nested too deep.

`tomllib` stores every prefix of a dotted key, so a key of 30,000 parts takes gigabytes. Therefore
`find_excess` checks a text before it is parsed. `find_places` walks over it afterwards, when it is
known to be valid.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

from netspec.diagnostics import Source, Span

Path = tuple[str | int, ...]

MAX_KEY_PARTS = 16
MAX_BRACKETS = 32

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")
# The longest quotes first.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL
)
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
# Multi-line strings first, because they begin like an empty single-line string.
_TOKEN = re.compile(
    rf"""(?P<long>\"{{3}}(?:\\.|[^\\])*?\"{{3,5}}|'{{3}}.*?'{{3,5}})"""
    rf"""|(?P<open>\"{{3}}|'{{3}})"""
    rf"""|(?P<key>{_PART}(?:[ \t]*\.[ \t]*{_PART})*)"""
    r"""|(?P<bracket>[\[\]{}])|(?P<comment>\#[^\n]*)|(?P<quote>["'])""",
    re.DOTALL,
)
_PARTS = re.compile(_PART)


def find_excess(source: Source) -> tuple[str, Span] | None:
    """Describe what is nested too deep to be parsed, with its span; None if nothing is.

    The text after a syntax error is not checked, because it is not parsed either.
    """
    depth = 0
    for token in _TOKEN.finditer(source.text):
        span = Span(source, token.start(), token.end())
        if token["key"] and len(_PARTS.findall(token[0])) > MAX_KEY_PARTS:
            return f"a key has more than {MAX_KEY_PARTS} parts", span
        if token["bracket"]:
            depth += 1 if token[0] in "[{" else -1
            if depth > MAX_BRACKETS:
                return f"brackets are nested deeper than {MAX_BRACKETS}", span
        if token["open"] or token["quote"]:
            break  # an unterminated string
    return None


@dataclass
class TomlSpans:
    """The positions in a TOML text by path: names of keys, and indices of array items.

    `keys` has the spans of keys, `values` those of whole values and of the items in arrays.
    """

    keys: dict[Path, Span] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)


def find_places(source: Source) -> TomlSpans:
    """Walk over a valid TOML text."""
    return _Walk(source).run()


class _Walk:
    def __init__(self, source: Source) -> None:
        self.source, self.text = source, source.text
        self.at = 0
        self.places = TomlSpans()

    def run(self) -> TomlSpans:
        table: Path = ()
        self._skip(_SPACE)
        while self.at < len(self.text):
            if self._next("["):
                double = self.text.startswith("[[", self.at)
                self.at += 2 if double else 1
                table = self._key(())
                self.at += 2 if double else 1
            else:
                self._pair(table)
            self._skip(_SPACE)
        return self.places

    def _pair(self, table: Path) -> None:
        path = self._key(table)
        self._skip(_BLANKS)
        self.at += 1  # the equals sign
        self._skip(_BLANKS)
        self._value(path)

    def _key(self, table: Path) -> Path:
        """Read a dotted key; each part gets the span from the beginning of the key to its end."""
        self._skip(_BLANKS)
        start = self.at
        path = table
        while True:
            found = _STRING.match(self.text, self.at) or _BARE_KEY.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
            name = found[0]
            # Escapes in a quoted key are decoded by `tomllib`.
            path = (*path, tomllib.loads(f"k = {name}")["k"] if name[0] in "\"'" else name)
            self.places.keys.setdefault(path, Span(self.source, start, self.at))
            self._skip(_BLANKS)
            if not self._next("."):
                return path
            self.at += 1
            self._skip(_BLANKS)

    def _value(self, path: Path) -> None:
        start = self.at
        if string := _STRING.match(self.text, self.at):
            self.at = string.end()
        elif self._next("["):
            self._inside("]", path)
        elif self._next("{"):
            self._inside("}", path)
        else:
            found = _BARE_VALUE.match(self.text, self.at)
            assert found is not None
            self.at += len(found[0].rstrip())
        self.places.values[path] = Span(self.source, start, self.at)

    def _inside(self, end: str, path: Path) -> None:
        """Walk over the items of an array, or the pairs of an inline table."""
        self.at += 1
        number = 0
        self._skip(_SPACE)
        while not self._next(end):
            if end == "]":
                self._value((*path, number))
            else:
                self._pair(path)
            number += 1
            self._skip(_SPACE)
            if self._next(","):
                self.at += 1
                self._skip(_SPACE)
        self.at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        assert found is not None
        self.at = found.end()

    def _next(self, char: str) -> bool:
        return self.text.startswith(char, self.at)
