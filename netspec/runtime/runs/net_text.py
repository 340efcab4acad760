"""Tells by their texts whether runs are of one net: a file may be edited between two of them."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from netspec.compiler.parse import MAX_FILE_BYTES
from netspec.files.regular_file import kind_of, read_regular
from netspec.runtime.runs.folder import Facts, RunFolder

# A string, which may hold the sign of a comment, or a comment.
_PIECE = re.compile(r'"(?:\\.|[^"\\\n])*"|#[^\n]*')
# More files than any net has, of a folder that may come from anyone.
_MOST_FILES = 2000


def net_digest(path: Path, facts: Facts) -> str:
    """Return a digest of the texts of a run's net, without comments and space; empty if unreadable.

    Args:
        path: The run's folder.
        facts: What it was started with. The name of its `.net` file does not count.

    Raises:
        NetspecError: `run/damaged` if the net leads out of the folder.
    """
    main = RunFolder(path).net_file(facts)
    inside = path / "net"
    total = hashlib.sha256()
    try:
        files = sorted(p for p in inside.rglob("*.net") if kind_of(p) == "file")[:_MOST_FILES]
        if main not in files:
            return ""
        for file in [main, *(p for p in files if p != main)]:
            name = "" if file == main else file.relative_to(inside).as_posix()
            text = read_regular(file, MAX_FILE_BYTES).decode("utf-8", "replace")
            total.update(f"{name}\0{_plain(text)}\0".encode("utf-8", "replace"))
    except OSError:
        return ""
    return total.hexdigest()


def _plain(text: str) -> str:
    """Return a text without comments, with one space where there was any; line ends are kept."""
    told = _PIECE.sub(lambda found: "" if found[0].startswith("#") else found[0], text)
    lines = (" ".join(line.split()) for line in told.splitlines())
    return "\n".join(line for line in lines if line)
