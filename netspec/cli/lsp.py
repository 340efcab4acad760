"""`netspec lsp`."""

from __future__ import annotations

import argparse
import os
import sys

import netspec
from netspec import codes
from netspec.cli import OK
from netspec.diagnostics import NetspecError


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--stdio", action="store_true",
        help="speak over standard input and output, which it does in any case; editors say so",
    )  # fmt: skip
    parser.add_argument(
        "--ops", metavar="FILE", action="append", default=[],
        help="run a Python file that defines ops, which nets may use; may be repeated",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Serve an editor until it ends the session."""
    require_pygls()
    from netspec.language_server.server import make_server

    # What anything else prints must not come between the messages.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as messages:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        make_server(netspec.__version__).start_io(stdout=messages)
    return OK


def require_pygls() -> None:
    """Check that pygls is installed.

    Raises:
        NetspecError: `library/pygls`.
    """
    try:
        import pygls  # noqa: F401
    except ImportError:
        message, help = "`netspec lsp` needs pygls", "pip install 'netspec-dsl[lsp]'"
        raise NetspecError.simple(codes.LIBRARY_PYGLS, message, help) from None
