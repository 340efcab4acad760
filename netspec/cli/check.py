"""`netspec check FILE...`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec.cli.common import add_net_options, arguments_of, emit, is_wrong_use, report
from netspec.cli.exit_codes import FAILED, OK, WRONG_USE
from netspec.diagnostics import plural, to_json

if TYPE_CHECKING:
    from netspec.compiler.driver import Compilation
    from netspec.compiler.ir.graph import Graph


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a .net file")
    add_net_options(parser)
    parser.add_argument(
        "--format", choices=("text", "json"), default="text",
        help="text: errors on stderr, a line a file on stdout; json: all on stdout",
    )  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def run(options: argparse.Namespace) -> int:
    """Check every file; they fail together if one does."""
    from netspec.compiler.driver import Request, compile_request

    files = []
    code = OK
    arguments = arguments_of(options)
    for path in options.files:
        request = Request(path=path, net=options.net, arguments=arguments)
        result = compile_request(request)
        if result.errors and code != FAILED:
            code = WRONG_USE if is_wrong_use(result.errors) else FAILED
        if options.format == "json":
            files.append(_as_json(path, result))
            continue
        report(result.errors if options.quiet else result.diagnostics, options)
        if not options.quiet:
            emit(_line(path, result))
    if options.format == "json":
        import json

        emit(json.dumps({"ok": code == OK, "files": files}, indent=2))
    return code


def _line(path: Path, result: Compilation) -> str:
    errors = len(result.errors)
    warnings = len(result.diagnostics) - errors
    numbers = ((errors, "error"), (warnings, "warning"))
    counts = [plural(number, what) for number, what in numbers if number]
    if errors:
        return f"{path}: {', '.join(counts)}"
    found = [f"{name}: {_parameters(graph):,} parameters"
             for name, graph in result.graphs.items()]  # fmt: skip
    if not found and result.module is not None:
        found = [plural(len(result.module.blocks), "block")]
    return f"{path}: {', '.join(['ok', *counts])} ({'; '.join(found)})"


def _parameters(graph: Graph) -> int:
    return sum(parameter.size for parameter in graph.trainable())


def _as_json(path: Path, result: Compilation) -> dict[str, Any]:
    return {
        "file": str(path),
        "ok": not result.errors,
        "errors": len(result.errors),
        "warnings": len(result.diagnostics) - len(result.errors),
        "nets": [
            {"name": name, "parameters": _parameters(graph)}
            for name, graph in result.graphs.items()
        ],
        "diagnostics": [to_json(diagnostic) for diagnostic in result.diagnostics],
    }
