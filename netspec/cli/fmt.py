"""`netspec fmt FILE...`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from netspec.cli.common import add_color_option, emit_text, report, write_whole
from netspec.cli.exit_codes import FAILED, OK
from netspec.cli.text_diff import text_diff
from netspec.diagnostics import NetspecError

_STDIN = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "files", metavar="FILE", nargs="+",
        help="a .net file, which is rewritten; - reads stdin and writes to stdout",
    )  # fmt: skip
    parser.add_argument(
        "--check", action="store_true",
        help="write nothing, show what would change, and fail if a file is not in the canonical style",
    )  # fmt: skip
    parser.add_argument(
        "--diff", action="store_true", help="write nothing, and show what would change"
    )
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Format every file; one that has errors stays as it is, and the rest are formatted."""
    code = OK
    for name in options.files:
        try:
            if _format(name, options) and options.check:
                code = FAILED
        except NetspecError as error:
            report(error.diagnostics, options)
            code = FAILED
    return code


def _format(name: str, options: argparse.Namespace) -> bool:
    """Format one file, or show what that would do; whether it changes."""
    from netspec.compiler.fmt.formatter import format_source
    from netspec.compiler.parse import decode_source, read_file

    shown = "<stdin>" if name == _STDIN else name
    raw = sys.stdin.buffer.read() if name == _STDIN else read_file(name, name)
    text = _with_endings(format_source(decode_source(raw, shown)), raw)
    changes = text.encode() != raw
    if options.diff or options.check:
        emit_text(text_diff(raw.decode(), text, shown, shown))
    if changes and options.check:
        print(f"{shown} is not in the canonical style", file=sys.stderr)
    if options.diff or options.check:
        return changes
    if name == _STDIN:
        emit_text(text)
    elif changes:
        write_whole(Path(name).resolve(), text)  # a link stays one
        print(f"{shown} formatted", file=sys.stderr)
    return changes


def _with_endings(text: str, raw: bytes) -> str:
    """The text with the line endings of the file: those of its first line."""
    ends_in_both = raw.partition(b"\n")[0].endswith(b"\r")
    return text.replace("\n", "\r\n") if ends_in_both else text
