"""What `%load_ext netspec` adds to IPython: `%%netspec NAME` and `%netspec VERB ...`."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from netspec import codes
from netspec.compiler.driver import Request
from netspec.diagnostics import NetspecError, Source
from netspec.net import Net, checked


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
        %netspec check FILE
        """
        if cell is None:
            command = [sys.executable, "-m", "netspec", *shlex.split(line)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            print(done.stdout + done.stderr, end="")
            return None
        name = line.strip()
        if not name.isidentifier():
            message = f"`%%netspec` needs the name that the net is bound to, not {name!r}"
            raise NetspecError.simple(codes.USAGE_NET, message, "%%netspec net")
        source = Source(f"<cell {name}>", cell)
        net = checked(Request(source=source, folder=Path.cwd()))
        shell.push({name: net})
        return net

    shell.register_magic_function(netspec, "line_cell", "netspec")
