"""`netspec fmt FILE...`."""

from __future__ import annotations

import argparse
import difflib
import io
import sys
from pathlib import Path

from netspec.cli.common import add_color_option, emit, report, write_whole
from netspec.cli.exit_codes import FAILED, OK
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
        help="write nothing, and fail if a file is not in the canonical style",
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
    text = format_source(decode_source(raw, shown))
    changes = text.encode() != raw
    if options.diff:
        _emit_text(_diff(raw.decode(), text, shown))
    if changes and options.check:
        print(f"{shown} is not in the canonical style", file=sys.stderr)
    if options.diff or options.check:
        return changes
    if name == _STDIN:
        _emit_text(text)
    elif changes:
        write_whole(Path(name).resolve(), text)  # a link stays one
        print(f"{shown} formatted", file=sys.stderr)
    return changes


def _emit_text(text: str) -> None:
    """Print what belongs to a file: every character is kept, whatever the terminal can show."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    if text:
        emit(text)


def _diff(before: str, after: str, name: str) -> str:
    """A unified diff, as `patch` reads it."""
    lines = difflib.unified_diff(_lines(before), _lines(after), name, name)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def _lines(text: str) -> list[str]:
    """Unlike those of `str.splitlines`, only line feeds end them."""
    return list(io.StringIO(text, newline="\n"))
