"""Parameters that a module takes from another one, at the end of a net's constructor."""

from __future__ import annotations

from netspec.compiler.ir.graph import Graph
from netspec.compiler.torch_backend.naming import is_attribute, quote
from netspec.compiler.torch_backend.python_layout import statement


def tie_lines(graph: Graph) -> list[str]:
    """`self.lm_head.weight = self.wte.weight`, for each tied parameter."""
    lines: list[str] = []
    for own, full in graph.ties.items():
        lines += statement(f"{_reached(own)} = {_reached(full)}", 2)
    return lines


def _reached(parameter: str) -> str:
    path, _, name = parameter.rpartition(".")
    if all(map(is_attribute, path.split("."))):
        return f"self.{path}.{name}"
    return f"self.get_submodule({quote(path)}).{name}"
