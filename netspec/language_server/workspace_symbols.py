"""The nets and blocks of all files of an editor's folders, by parts of their names."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from netspec.compiler.parse import read_source
from netspec.diagnostics import NetspecError
from netspec.language_server.texts import MAX_FILES, OpenText

# How many files and folders are looked at, and how many symbols are found at most.
MAX_ENTRIES = 20_000
_MAX_FOUND = 500
_HEAD = re.compile(r"^(?:(?:inline|scan)[ \t]+)?(net|block)[ \t]+([A-Z]\w*)", re.MULTILINE)
_NOT_OF_PEOPLE = ("node_modules", "__pycache__")


@dataclass(frozen=True, slots=True)
class Named:
    """A net or a block: its name, and the range of that."""

    name: str
    kind: Literal["net", "block"]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class FileSymbols:
    """Nets and blocks of a file: its address, its text, and what was found in it."""

    uri: str
    text: str
    found: tuple[Named, ...]


def workspace_symbols(
    folders: Iterable[Path], opened: Iterable[OpenText], query: str
) -> list[FileSymbols]:
    """Return the nets and blocks whose names have the letters of a query in their order.

    Args:
        folders: those of the editor; the files nearest to them come first.
        opened: the texts that are open, which count in place of their files.
        query: the letters, small or capital; empty for all.
    """
    wanted, left = query.casefold(), _MAX_FOUND
    files: list[FileSymbols] = []
    for uri, text in _texts(folders, list(opened)):
        found = tuple(islice((n for n in _named(text) if _has(n.name.casefold(), wanted)), left))
        left -= len(found)
        files += [FileSymbols(uri, text, found)] if found else []
    return files


def _named(text: str) -> Iterator[Named]:
    for head in _HEAD.finditer(text):
        yield Named(head[2], "net" if head[1] == "net" else "block", *head.span(2))


def _has(name: str, letters: str) -> bool:
    left = iter(name)
    return all(letter in left for letter in letters)


def _texts(folders: Iterable[Path], opened: list[OpenText]) -> Iterator[tuple[str, str]]:
    """Yield the texts with their addresses, those that are open first."""
    for each in opened:
        yield each.uri, each.text
    seen = {each.path for each in opened}
    for path in islice(_files(folders), MAX_FILES):
        real = Path(os.path.realpath(path))
        if real not in seen:
            seen.add(real)
            try:
                yield path.as_uri(), read_source(path, path.name).text
            except NetspecError:
                continue


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    """Yield the `.net` files of folders and of the folders in them, the nearest first."""
    todo, left = deque(folders), MAX_ENTRIES
    while todo and left > 0:
        try:
            entries = sorted(islice(os.scandir(todo.popleft()), left), key=lambda e: e.name)
        except OSError:
            continue
        left -= len(entries)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(".") and entry.name not in _NOT_OF_PEOPLE:
                    todo.append(Path(entry.path))
            elif entry.name.endswith(".net") and entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
