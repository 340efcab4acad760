"""The source of a graph's NumPy program, which is written without NumPy."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from netspec.compiler.ir.graph import Graph
from netspec.compiler.numpy_backend.emit import emit_program
from netspec.compiler.numpy_backend.pass_names import PASS_NAMES
from netspec.compiler.numpy_backend.pipeline import make_plan


def numpy_source(
    graph: Graph,
    *,
    training: bool,
    plain: bool = False,
    without: Collection[str] = (),
    **options: Any,
) -> str:
    """Return the NumPy source of a graph, the same on every machine.

    `plain` leaves out all passes and writes formulas out. `options` are the others of `make_plan`.
    """
    left_out = PASS_NAMES if plain else without
    plan = make_plan(graph, training=training, without=left_out, **options)
    return emit_program(plan, graph, plain=plain).text
