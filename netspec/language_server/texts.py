"""The texts that are open in an editor, and the last analysis of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from netspec.compiler.parse import read_source
from netspec.diagnostics import NetspecError
from netspec.language_server.analysis import Analysis, analyze
from netspec.language_server.positions import line_break_of

# How many files are looked at for those that import another one.
MAX_FILES = 200


@dataclass(eq=False)
class OpenText:
    """A text that is open in an editor.

    Attributes:
        uri: its address.
        path: its real path; None if it was never saved.
        text: what the editor shows, saved or not.
        version: the editor's number of this state, which it wants to hear with diagnostics.
        state: counts whatever may change the analysis: the text, and the files that it imports.
        analysis: the last analysis, of this state or of an earlier one.
        analyzed: the state of which it is.
    """

    uri: str
    path: Path | None
    text: str
    version: int | None
    state: int = 0
    analysis: Analysis | None = None
    analyzed: int = -1

    @property
    def line_break(self) -> str:
        """What ends its lines."""
        return line_break_of(self.text)


class OpenTexts:
    """All texts that are open, by their addresses."""

    def __init__(self) -> None:
        self._texts: dict[str, OpenText] = {}

    def get(self, uri: str) -> OpenText | None:
        """Return an open text, or None."""
        return self._texts.get(uri)

    def all(self) -> list[OpenText]:
        """Return all open texts."""
        return list(self._texts.values())

    def put(self, uri: str, path: Path | None, text: str, version: int | None) -> OpenText:
        """Open a text, or change it."""
        found = self._texts.get(uri)
        if found is None:
            found = self._texts[uri] = OpenText(uri, path, text, version)
        found.text, found.version = text, version
        found.state += 1
        return found

    def close(self, uri: str) -> OpenText | None:
        """Forget a text, so that the file on disk counts again."""
        return self._texts.pop(uri, None)

    def importers(self, path: Path | None) -> list[OpenText]:
        """Return the open texts that import a file, which must be checked again if it changes."""
        return [
            text
            for text in self.all()
            if text.analysis is not None and path is not None and path in text.analysis.files
        ]

    def importing(self, path: Path) -> list[Analysis]:
        """Return the analyses of files that are not open and that import a file, also through others:
        of its folder, of the folders in it, and of the folder above.
        """
        opened = {text.path for text in self.all()}
        buffers = self._buffers()
        here, above = path.parent, path.parent.parent
        near = chain(here.glob("*.net"), here.glob("*/*.net"), above.glob("*.net"))
        texts: dict[Path, str] = {}
        for each in islice(near, MAX_FILES):
            real = Path(os.path.realpath(each))
            try:
                texts[real] = buffers.get(real) or read_source(real, real.name).text
            except NetspecError:
                continue
        return [
            analyze(texts[real], real.name, real.parent, buffers)
            for real in _naming(path, texts)
            if real not in opened
        ]

    def _buffers(self, without: OpenText | None = None) -> dict[Path, str]:
        texts = (each for each in self.all() if each is not without)
        return {each.path: each.text for each in texts if each.path is not None}

    def analyze(self, text: OpenText, state: int) -> Analysis | None:
        """Return the analysis of a state of a text; None if the text has changed since."""
        if text.state != state:
            return None
        if text.analyzed != state or text.analysis is None:
            path = text.path
            buffers = self._buffers(without=text)
            name = path.name if path is not None else text.uri.rpartition("/")[2] or "untitled.net"
            folder = path.parent if path is not None else None
            analysis = analyze(text.text, name, folder, buffers, text.analysis)
            if text.state != state:
                return None
            text.analysis, text.analyzed = analysis, state
        return text.analysis


def _naming(path: Path, texts: Mapping[Path, str]) -> list[Path]:
    """Return the files that name a file, and those that name these, each once."""
    found: list[Path] = []
    names = [path.name]
    for name in names:
        for real, text in texts.items():
            if f'{name}"' in text and real != path and real not in found:
                found.append(real)
                names.append(real.name)
    return found
