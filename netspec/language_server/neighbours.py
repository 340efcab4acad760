"""Blocks of the files beside a text that it does not import yet, and the lines that import them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path

from netspec.compiler.parse import read_source
from netspec.diagnostics import Edit, NetspecError, Span
from netspec.language_server.analysis import Analysis

_MAX_FILES = 50
_BLOCK = re.compile(r"^(?:(?:inline|scan)[ \t]+)?block[ \t]+([A-Z]\w*)", re.MULTILINE)
_IMPORT = re.compile(r'^from[ \t]+"([^"\n]*)"[ \t]+import[ \t]+[\w \t,]*\w', re.MULTILINE)
_LANGUAGE = re.compile(r"^language[^\n]*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Offer:
    """A block of another file, and the change of the text that imports it."""

    name: str
    file: str
    edit: Edit


def offers(analysis: Analysis) -> Iterator[Offer]:
    """Yield the blocks of files in the folder of a text, and in the folders in it, that it neither
    imports nor defines; a name once for each file that has it.
    """
    folder = analysis.request.folder
    if folder is None:
        return
    own = {match[1] for match in _BLOCK.finditer(analysis.text)}
    for match in _IMPORT.finditer(analysis.text):
        own.update(re.findall(r"\w+", match[0].rpartition(" import")[2]))
    for path in islice(chain(folder.glob("*.net"), folder.glob("[!.]*/*.net")), _MAX_FILES):
        file = path.relative_to(folder).as_posix()
        for name in dict.fromkeys(_blocks(analysis, path)) if file != analysis.source.name else ():
            if name not in own:
                yield Offer(name, file, _importing(analysis, name, file))


def _blocks(analysis: Analysis, path: Path) -> tuple[str, ...]:
    real = Path(os.path.realpath(path))
    if real in analysis.request.buffers:
        return tuple(match[1] for match in _BLOCK.finditer(analysis.request.buffers[real]))
    try:
        return _saved(real, real.stat().st_mtime_ns)
    except OSError:
        return ()


@lru_cache(maxsize=4 * _MAX_FILES)
def _saved(path: Path, _changed: int) -> tuple[str, ...]:
    try:
        text = read_source(path, path.name).text
    except NetspecError:
        return ()
    return tuple(match[1] for match in _BLOCK.finditer(text))


def _importing(analysis: Analysis, name: str, file: str) -> Edit:
    """Return the change that imports a block: behind the names of its file, or on a line of its own
    below the other imports.
    """
    source, at = analysis.source, 0
    if (language := _LANGUAGE.search(source.text)) is not None:
        at = language.end()
    for match in _IMPORT.finditer(source.text):
        if match[1] == file:
            return Edit(Span(source, match.end(), match.end()), f", {name}")
        following = source.text.find("\n", match.end())
        at = len(source.text) if following < 0 else following + 1
    is_apart = at == 0 and not source.text.startswith("from ")
    line = f'from "{file}" import {name}\n'
    return Edit(Span(source, at, at), line + "\n" * is_apart)
