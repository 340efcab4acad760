"""`netspec compile FILE --target numpy`."""

from __future__ import annotations

import argparse
from pathlib import Path

from netspec.cli import OK
from netspec.cli.common import add_net_options, checked_graph, emit, write_whole


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a .net file")
    parser.add_argument(
        "--target", choices=("numpy",), required=True,
        help="numpy: forward and the analytic backward pass, as it is run by `train numpy`",
    )  # fmt: skip
    add_net_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="write to this file instead of stdout"
    )


def run(options: argparse.Namespace) -> int:
    """Print or write the program."""
    from netspec.net import Net

    text = Net(checked_graph(options)).source(options.target)
    if options.output is None:
        emit(text)
    else:
        write_whole(options.output, text)
    return OK
