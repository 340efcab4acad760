"""A header that lies beside a C file which is written without one."""

from __future__ import annotations

from pathlib import Path

from netspec.cli.common import tell
from netspec.cli.output_place import is_made_by_netspec
from netspec.files.regular_file import open_regular

# A header is a page; of a longer file there is nothing to say.
_MOST_BYTES = 1 << 20


def say_older_header(c_file: Path, text: str) -> None:
    """Note on stderr that a header of ours beside a C file does not belong to it.

    Programs that include it would compile, with the sizes, scales and digest of another file.

    Args:
        c_file: the C file, which has no header of its own.
        text: what it holds, its declarations too.
    """
    header = c_file.with_suffix(".h")
    if not header.is_file():
        return
    try:
        if not is_made_by_netspec(header):
            return
        with open_regular(header) as file:
            content = file.read(_MOST_BYTES).decode(errors="replace")
    except OSError:
        return
    if not _declarations(content) <= _declarations(text):
        tell(f"note: {header} does not belong to {c_file.name}: --header writes one that does")


def _declarations(text: str) -> set[str]:
    """Return the constants and the heads of functions of a file, without the guard of a header."""
    lines = (line.removesuffix(";").rstrip() for line in text.splitlines())
    return {
        line
        for line in lines
        if line.startswith(("#define ", "void ", "int ")) and not line.endswith("_H")
    }
