"""What `%load_ext netspec` adds to IPython: `%%netspec NAME` and `%netspec VERB ...`."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol

from netspec import codes
from netspec.compiler.driver import Compilation, Request, compile_request
from netspec.diagnostics import NetspecError, Source
from netspec.net import Net, checked

_USE = "%%netspec NAME [--net NET] [--set ARGUMENT=VALUE ...]"


class Shell(Protocol):
    """What is used of IPython's shell."""

    def push(self, variables: Mapping[str, Any]) -> None:
        """Bind names."""

    def register_magic_function(self, function: Callable[..., Any], kind: str, name: str) -> None:
        """Add a magic."""


def load_extension(shell: Shell) -> None:
    """Add the magics to a shell."""

    def netspec(line: str, cell: str | None = None) -> Net | None:
        """Check a cell as a `.net` file and bind its net to a name; or run a command of netspec.

        %%netspec NAME
        %%netspec NAME --net NET --set ARGUMENT=VALUE
        %netspec check FILE
        """
        if cell is None:
            _run(shlex.split(line))
            return None
        chosen = _chosen(line)
        request = Request(
            source=Source(f"<cell {chosen.name}>", cell), folder=Path.cwd(), net=chosen.net,
            arguments=_arguments(chosen.set),
        )  # fmt: skip
        try:
            net = checked(request)
        except NetspecError:
            _draw(compile_request(request))
            raise
        shell.push({chosen.name: net})
        return net

    shell.register_magic_function(netspec, "line_cell", "netspec")


def _run(arguments: list[str]) -> None:
    """Run a command; what it says on stdout and stderr comes in the order in which it says it."""
    command = [sys.executable, "-u", "-m", "netspec", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment, encoding="utf-8", errors="replace",
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="")


class _Options(argparse.ArgumentParser):
    """The parser of the first line of a cell, whose mistakes are errors like any other."""

    def error(self, message: str) -> NoReturn:
        """Raise.

        Raises:
            NetspecError: `usage/net`.
        """
        raise NetspecError.simple(codes.USAGE_NET, f"`%%netspec`: {message}", _USE)


def _chosen(line: str) -> argparse.Namespace:
    """Return the name that a net is bound to, the net and its settings.

    Raises:
        NetspecError: `usage/net`.
    """
    parser = _Options(add_help=False, allow_abbrev=False)
    parser.add_argument("name")
    parser.add_argument("--net")
    parser.add_argument("--set", action="append", default=[])
    try:
        words = shlex.split(line)
    except ValueError as error:
        parser.error(str(error))
    chosen = parser.parse_args(words)
    if not chosen.name.isidentifier():
        parser.error(f"the net is bound to a name, and {chosen.name!r} is none")
    return chosen


def _arguments(settings: list[str]) -> dict[str, Any]:
    """Return the arguments that `--set` gives.

    Raises:
        NetspecError: `setting/...`.
    """
    if not settings:
        return {}
    from netspec.compiler.overrides import parse_settings

    return parse_settings(settings)


def _draw(result: Compilation) -> None:
    """Show what is known of the nets of a faulty cell, with the layers that are wrong in red."""
    from IPython.display import display

    from netspec.compiler.passes.layer_limit import require_few_layers
    from netspec.draw.drawing import Drawing

    for sketch in result.sketches.values():
        if sketch.misfits and sketch.graph.nodes:
            require_few_layers(sketch.graph)
            display(Drawing(sketch))
