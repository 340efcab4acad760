"""`netspec fmt FILE...`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from netspec.cli import FAILED, OK
from netspec.cli.common import (
    add_color_option,
    emit_text,
    emit_unchanged,
    report,
    tell,
    write_whole,
)
from netspec.diagnostics import NetspecError
from netspec.text.text_diff import text_diff

if TYPE_CHECKING:
    from netspec.cli.net_files import NetFile
    from netspec.diagnostics import Source

# A text of standard input that cannot be formatted is given back if no more bytes than these are left of
# it: it may have no end.
_GIVEN_BACK = 1 << 24


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+",
        help="a .net file, which is rewritten, or a folder of them; - reads standard input and "
        "writes to standard output, a text with errors as it was",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="write nothing, show what would change, and fail if a file is not in the canonical style",
    )  # fmt: skip
    parser.add_argument(
        "--diff", action="store_true", help="write nothing, and show what would change"
    )
    parser.add_argument(
        "--shapes", action="store_true",
        help="write the shape behind each line on which a layer ends as a comment, which is checked",
    )  # fmt: skip
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Format every file. A file that has errors is left unchanged; the others are still formatted."""
    from netspec.cli.net_files import net_files

    code = OK
    for file in net_files(options.files):
        try:
            if _format(file, options) and options.check:
                code = FAILED
        except NetspecError as error:
            report(error.diagnostics, options)
            code = FAILED
    return code


def _format(file: NetFile, options: argparse.Namespace) -> bool:
    """Format one file, or show what would change; return True if the file changes."""
    from netspec.cli.net_files import with_endings
    from netspec.compiler.fmt.formatter import format_source
    from netspec.compiler.parse import decode_source

    raw = file.read()
    try:
        source = decode_source(raw, file.name)
        text = with_endings(_shaped(file, source) if options.shapes else format_source(source), raw)
    except NetspecError:
        if file.path is None and not (options.diff or options.check):
            # An editor that pipes its text through here replaces the text by what it reads.
            rest = sys.stdin.buffer.read(_GIVEN_BACK)
            if len(rest) < _GIVEN_BACK:
                emit_unchanged(raw + rest)
        raise
    changes = text.encode() != raw
    if options.diff or options.check:
        emit_text(text_diff(raw.decode(), text, file.name, file.name))
    if changes and options.check:
        tell(f"{file.name} is not in the canonical style")
    if options.diff or options.check:
        return changes
    if file.path is None:
        emit_text(text)
    elif changes:
        write_whole(file.path, text)
        tell(f"{file.name} formatted")
    return changes


def _shaped(file: NetFile, source: Source) -> str:
    """Return the text in the canonical style, with the shapes behind its lines.

    Raises:
        NetspecError: with the errors of the file.
    """
    from netspec.compiler.driver import Request
    from netspec.compiler.shape_lines import with_shapes

    folder = file.path.parent if file.path is not None else file.folder
    return with_shapes(Request(source=source, folder=folder))
