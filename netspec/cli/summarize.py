"""`netspec summarize FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from netspec.cli import OK
from netspec.cli.common import add_net_options, checked_graph, emit, positive


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    from netspec.compiler.summary_text import FORMATS

    parser.add_argument("file", metavar="FILE", type=Path, help="a .net file")
    add_net_options(parser)
    parser.add_argument(
        "--batch", type=positive, default=1, metavar="N",
        help="images in a batch, for the memory (default 1)",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default="table",
        help="table (default) and md for people, json and csv for programs",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the summary of the chosen net."""
    from netspec.compiler.summary import summarize
    from netspec.compiler.summary_text import FORMATS

    summary = summarize(checked_graph(options), options.batch)
    emit(FORMATS[options.format](summary))
    return OK
