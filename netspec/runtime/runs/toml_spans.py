"""Where each key and each value of a TOML text stands: what `tomllib` does not tell.

The text has been parsed by `tomllib` before, so this only walks over what is known to be sound.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field

from netspec.diagnostics import Source, Span

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")
# The longest quotes first.
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\])*"|\'[^\']*\'', re.DOTALL
)


@dataclass
class Places:
    """The places of a TOML text by path: names of keys, and numbers of items of arrays.

    `keys` are of keys, `values` of whole values and of the items in arrays.
    """

    keys: dict[Path, Span] = field(default_factory=dict)
    values: dict[Path, Span] = field(default_factory=dict)


def find_places(source: Source) -> Places:
    """Walk over a sound TOML text."""
    return _Walk(source).run()


class _Walk:
    def __init__(self, source: Source) -> None:
        self.source, self.text = source, source.text
        self.at = 0
        self.places = Places()

    def run(self) -> Places:
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
        """A key with its dots; each of its parts has the place of the whole up to there."""
        self._skip(_BLANKS)
        start = self.at
        path = table
        while True:
            found = _STRING.match(self.text, self.at) or _BARE_KEY.match(self.text, self.at)
            assert found is not None
            self.at = found.end()
            name = found[0]
            # Whatever is escaped in a quoted key, `tomllib` knows.
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
        """The items of an array, or the pairs of an inline table."""
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
