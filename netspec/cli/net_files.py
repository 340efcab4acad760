"""The `.net` files a command line names: files, folders, standard input, and files of a commit."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.compiler.driver import Request
from netspec.compiler.parse import MAX_FILE_BYTES, decode_source, read_file
from netspec.diagnostics import NetspecError
from netspec.files.run_facts import RUN_FACTS
from netspec.records import record

STDIN = "-"
_SHOWN_STDIN = "<stdin>"


@record
class NetFile:
    """A `.net` file: the name that messages show, and its path.

    `folder` is where imports are resolved for a text without a path.
    """

    name: str
    path: Path | None = None
    folder: Path | None = None

    def read(self) -> bytes:
        """Return the bytes of the file, up to the size limit.

        Raises:
            NetspecError: `file/unreadable`.
        """
        if self.path is None:
            return sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        return read_file(self.path, self.name)

    def request(
        self, net: str | None = None, arguments: Mapping[str, Any] | None = None
    ) -> Request:
        """Return the request that has the compiler read this file.

        Raises:
            NetspecError: if it is not a file on disk and cannot be read.
        """
        if self.path is not None and self.folder is None:
            return Request(path=self.path, net=net, arguments=arguments or {})
        source = decode_source(self.read(), self.name)
        return Request(source=source, folder=self.folder, net=net, arguments=arguments or {})


@record
class Named:
    """What names stand for: the files, and a line for each folder below them that a person may take
    for a file, or that is not looked into.
    """

    files: list[NetFile]
    notes: list[str]


def named_files(names: Iterable[str]) -> Named:
    """Return the files that names stand for: `-` is standard input, a folder all `.net` files in it.

    Raises:
        NetspecError: `file/no-net` for a folder without any.
    """
    found: dict[str, NetFile] = {}
    notes: list[str] = []
    for name in names:
        if name == STDIN:
            found[name] = NetFile(_SHOWN_STDIN, folder=Path())
        elif Path(name).is_dir():
            for path in files_below(Path(name), notes):
                found[str(path)] = NetFile(str(path), path)
        else:
            found[name] = NetFile(name, Path(name))
    return Named(list(found.values()), notes)


def net_files(names: Iterable[str]) -> list[NetFile]:
    """Return the files that names stand for, see `named_files`."""
    return named_files(names).files


def files_below(folder: Path, notes: list[str] | None = None) -> list[Path]:
    """The `.net` files below a folder, sorted; hidden folders and runs are left out.

    `notes` gets a line for each folder that a person may take for a file, or whose files are not
    looked for, because it is a link.

    Raises:
        NetspecError: `file/no-net` if there are none.
    """
    found: list[Path] = []
    said = [] if notes is None else notes
    for where, folders, files in os.walk(folder):
        # The nets in a run are records, not sources.
        is_run = RUN_FACTS in files and Path(where) != folder
        folders[:] = [] if is_run else sorted(each for each in folders if each[0] != ".")
        said += filter(None, (_note(Path(where, each)) for each in folders))
        if not is_run:
            found += [Path(where, each) for each in sorted(files) if each.endswith(".net")]
    if not found:
        raise NetspecError.simple(codes.FILE_NO_NET, f"there is no .net file in {folder}")
    return found


def _note(folder: Path) -> str | None:
    """Return what is to be said of a folder, if anything."""
    if folder.is_symlink():
        return f"note: {folder} is a link to a folder, which is not followed"
    return f"note: {folder} is a folder, not a file" if folder.suffix == ".net" else None


def with_endings(text: str, raw: bytes) -> str:
    """Return the text with the line endings of the original file: those of its first line."""
    ends_in_both = raw.partition(b"\n")[0].endswith(b"\r")
    return text.replace("\n", "\r\n") if ends_in_both else text


def as_written(text: str, raw: bytes) -> str:
    """Return the text with the line endings and the byte order mark of the original file."""
    marked = raw.startswith(codecs.BOM_UTF8)
    return ("\ufeff" if marked else "") + with_endings(text, raw)
