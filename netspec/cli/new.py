"""`netspec new [NAME]`."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import emit
from netspec.compiler.parse.shipped_nets import meant_by, shipped_nets
from netspec.diagnostics import NetspecError
from netspec.text.table import table_lines, text_column
from netspec.text.width import terminal_width

RECIPE = ".toml"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "name", metavar="NAME", nargs="?",
        help="a net that comes with netspec, such as lenet; without it, all are listed",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Copy a net and its recipe into the working folder, or list the available nets."""
    nets = shipped_nets()
    if options.name is None:
        rows = [(name, _about(path)) for name, path in nets.items()]
        columns = [text_column("name"), text_column("about", least=20)]
        emit("\n".join(table_lines(columns, rows, titled=False, width=terminal_width())))
        return OK
    name = options.name.removesuffix(".net")
    if name not in nets:
        meant = meant_by(name)
        raise NetspecError.simple(
            codes.USAGE_NET, f"no net `{options.name}` comes with netspec",
            f"did you mean `{meant}`?" if meant else "`netspec new` lists those that do",
        )  # fmt: skip
    source = nets[name]
    files = [path for path in (source, source.with_suffix(RECIPE)) if path.is_file()]
    _write_new({Path(path.name): path.read_bytes() for path in files})
    for path in files:
        print(f"wrote {path.name}", file=sys.stderr)
    print(f"next: netspec check {source.name}", file=sys.stderr)
    return OK


def _about(path: Path) -> str:
    """Return the first sentence of the comment above a net."""
    lines = takewhile(lambda line: line.startswith("#"), path.read_text("utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in lines).partition(". ")[0]


def _write_new(files: dict[Path, bytes]) -> None:
    """Write files that do not exist yet: all of them or none.

    Raises:
        NetspecError: `output/exists`, `output/unwritable`.
    """
    with ExitStack() as undo:
        for path, content in files.items():
            try:
                with path.open("xb") as file:
                    undo.callback(path.unlink, missing_ok=True)
                    file.write(content)
            except FileExistsError:
                raise NetspecError.simple(
                    codes.OUTPUT_EXISTS, f"{path} already exists, and `new` never replaces a file",
                    "move it, or use another folder",
                ) from None  # fmt: skip
            except OSError as error:
                message = f"cannot write {path}: {error.strerror}"
                raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message) from None
        undo.pop_all()
