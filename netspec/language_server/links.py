"""The files that a text names, to be opened with a click."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from netspec.language_server.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Link:
    """A name of a file in a text, between its quotes, and the file."""

    start: int
    end: int
    path: Path


def links(analysis: Analysis) -> Iterator[Link]:
    """Yield the links of `from "FILE" import` and `use "FILE"`, where there is such a file in the
    text's folder or below it.
    """
    folder = analysis.request.folder
    if folder is None:
        return
    root = folder.resolve()
    tokens = analysis.tokens
    for word, name in pairwise(tokens):
        if word.text not in ("from", "use") or name.kind != "string" or "\0" in name.text:
            continue
        path = (root / name.text.strip('"')).resolve()
        if path.is_relative_to(root) and path.is_file():
            yield Link(name.start + 1, name.end - 1, path)
