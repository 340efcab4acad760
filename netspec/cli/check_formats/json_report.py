"""`check --format json`: netspec's own format, in which nothing is left out.

`docs/check.schema.json` is its schema, a JSON Schema. `VERSION` grows when a field is removed or
gets another meaning; a field that is new leaves it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from netspec.cli.check_formats.checked_file import CheckedFile
from netspec.compiler.ir.graph import Graph, Shape
from netspec.diagnostics import to_json

VERSION = 1


def as_json(files: Sequence[CheckedFile], *, ok: bool) -> str:
    """Return the report; `ok` is whether the command succeeds."""
    return json.dumps({"version": VERSION, "ok": ok, "files": [*map(_file, files)]}, indent=2)


def _file(file: CheckedFile) -> dict[str, Any]:
    return {
        "file": file.name,
        "ok": not file.failed,
        "errors": file.errors,
        "warnings": file.warnings,
        "nets": [_net(name, graph) for name, graph in file.result.graphs.items()],
        "fixes": [{"code": fix.diagnostic.code, "text": fix.hint.text} for fix in file.fixes],
        "diagnostics": [to_json(diagnostic) for diagnostic in file.diagnostics],
    }


def _net(name: str, graph: Graph) -> dict[str, Any]:
    return {
        "name": name,
        "parameters": sum(parameter.size for parameter in graph.trainable()),
        "inputs": {name: _shape(shape) for name, shape in graph.inputs.items()},
        **({"input_types": dict(graph.input_types)} if graph.input_types else {}),
        "outputs": {n: _shape(graph.shape_of(value)) for n, value in graph.outputs.items()},
    }


def _shape(shape: Shape) -> list[int | str]:
    """The shape without the batch dimension; a size that is not fixed is given as its formula."""
    return [size if isinstance(size, int) else str(size) for size in shape]
