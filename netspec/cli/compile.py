"""`netspec compile FILE --target numpy|torch`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from netspec.cli import FAILED, OK
from netspec.cli.common import add_net_options, checked_net, emit, write_whole
from netspec.diagnostics import NetspecError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a .net file")
    parser.add_argument(
        "--target", choices=("numpy", "torch"), required=True,
        help="numpy: forward and the analytic backward pass, as it is run by `train numpy`;"
        " torch: a PyTorch module that needs torch and nothing else",
    )  # fmt: skip
    add_net_options(parser)
    parser.add_argument(
        "-o", "--output", metavar="OUT", type=Path, help="write to this file instead of stdout"
    )
    parser.add_argument(
        "--check", action="store_true",
        help="write nothing; exit with 1 if the file of -o is not what would be written",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print or write the program, or compare it with what is there."""
    if options.check and options.output is None:
        raise NetspecError.simple("usage/check", "--check needs -o OUT, the file to look at")
    text = checked_net(options).source(options.target)
    if options.check:
        return _check(options.output, text)
    if options.output is None:
        emit(text)
    else:
        write_whole(options.output, text)
    return OK


def _check(path: Path, text: str) -> int:
    """Whether a file holds this text.

    Raises:
        NetspecError: `file/unreadable`.
    """
    try:
        held = path.read_bytes()
    except FileNotFoundError:
        print(f"{path} does not exist", file=sys.stderr)
        return FAILED
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise NetspecError.simple("file/unreadable", message) from None
    if held == text.encode():
        return OK
    print(f"{path} is out of date: compile it again", file=sys.stderr)
    return FAILED
