"""`netspec watch FILE`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.cli import OK
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    emit,
    named_request,
    natural,
    positive,
    report,
    tell,
)
from netspec.diagnostics import render
from netspec.text.width import terminal_width

if TYPE_CHECKING:
    from netspec.cli.live_page import LivePage
    from netspec.compiler.driver import Compilation, Request

# How often the files are looked at, in seconds.
INTERVAL = 0.2
# A file's time of change, size and place on the disk; None if it is not there.
Stamp = tuple[int, int, int] | None


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_net_file(parser)
    add_net_options(parser)
    parser.add_argument(
        "--depth", type=positive, metavar="N",
        help="add up blocks whose labels have more than N parts, one row each",
    )  # fmt: skip
    parser.add_argument(
        "--draw", action="store_true",
        help="serve the picture of the net at an address that only this machine can reach; the page"
        " reloads at every save",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=natural, default=0, metavar="N",
        help="the port of that address (default: one that is free)",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Check and summarize the net now and whenever it or a file that it imports has changed."""
    page: LivePage | None = None
    if options.draw:
        from netspec.cli.live_page import LivePage

        page = LivePage(options.port)
        tell(f"the picture is at {page.address}")
    try:
        for request, result in rounds(options):
            if sys.stdout.isatty():
                print("\x1b[2J\x1b[H", end="", flush=True)
            _tell(result, request, options)
            if page is not None:
                _show(page, result)
    except KeyboardInterrupt:
        return OK
    finally:
        if page is not None:
            page.close()
    return OK


def rounds(options: argparse.Namespace) -> Iterator[tuple[Request, Compilation]]:
    """Yield the result of checking now, and again each time that a file of the net has changed."""
    from netspec.compiler.driver import compile_request

    while True:
        request = named_request(options)
        assert request.path is not None
        # The stamps are taken before the files are read, so that no change is missed.
        before = stamps({request.path})
        result = compile_request(request)
        seen = {**stamps(result.imports), **before}
        yield request, result
        while stamps(seen) == seen:
            time.sleep(INTERVAL)


def stamps(paths: Mapping[Path, Stamp] | set[Path] | frozenset[Path]) -> dict[Path, Stamp]:
    """Return what tells whether files have changed."""
    return {path: _stamp(path) for path in paths}


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _tell(result: Compilation, request: Request, options: argparse.Namespace) -> None:
    from netspec.compiler.analysis.costs import summarize
    from netspec.compiler.analysis.costs_text import as_table

    report(result.diagnostics, options)
    tell(f"{time.strftime('%H:%M:%S')} {request.path}: {_verdict(result)}")
    if result.errors:
        return
    for graph in result.graphs.values():
        summary = summarize(graph)
        if options.depth is not None:
            summary = summary.folded(options.depth)
        emit(as_table(summary, None, terminal_width()) + "\n")


def _verdict(result: Compilation) -> str:
    from netspec.diagnostics import plural

    errors = len(result.errors)
    warnings = len(result.diagnostics) - errors
    counts = [plural(n, what) for n, what in ((errors, "error"), (warnings, "warning")) if n]
    return ", ".join(counts) or "ok"


def _show(page: LivePage, result: Compilation) -> None:
    """Show the picture of each net; of one with errors, what is known of it."""
    from netspec.draw.drawing import Drawing

    pages = {name: Drawing(sketch).html() for name, sketch in result.sketches.items()}
    page.show(pages, "\n\n".join(render(d) for d in result.diagnostics))
