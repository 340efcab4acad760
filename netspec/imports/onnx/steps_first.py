"""Inputs of a file whose batch is their second axis, as PyTorch's recurrent layers have it by default:
(T, N, C). Those of the net have the batch in front, and so have its outputs.
"""

from __future__ import annotations

import re
from dataclasses import replace

from netspec.compiler.ir.onnx_read import FileAttributes, FileOperator, FileValue
from netspec.imports.onnx.batch_first import RECURRENT
from netspec.imports.onnx.file_graph import FileGraph, Given

# What exporters and people call the size of a batch. An `N` may be the number of anything.
_BATCH = re.compile(r"\w*batch\w*", re.IGNORECASE)


def bring_batch_in_front(graph: FileGraph) -> frozenset[str]:
    """Put a turn behind each input that has the steps in front, and return the names of these.

    An input is known for one by the name of its second size, where the first has a number or another
    name, or by the recurrent layer that reads it.
    """
    found = [
        name
        for name, given in graph.inputs.items()
        if _is_named(given) or (given.sizes and _is_read_in_steps(graph, given.value))
    ]
    for name in found:
        graph.inputs[name] = _turned(graph, graph.inputs[name])
    return frozenset(found)


def _is_named(given: Given) -> bool:
    """Whether the second size alone is called a batch."""
    second = given.sizes[0] if given.sizes else None
    is_batch = isinstance(second, str) and _BATCH.fullmatch(second) is not None
    return is_batch and (given.batch is not None or _is_other(given.batch_name))


def _is_other(name: str) -> bool:
    return bool(name) and _BATCH.fullmatch(name) is None


def _is_read_in_steps(graph: FileGraph, value: FileValue) -> bool:
    """Whether a recurrent layer reads a value as it is."""
    return any(op.operator in RECURRENT and op.given(0) is value for op in graph.operators)


def _turned(graph: FileGraph, given: Given) -> Given:
    """Add a turn to the operators of a file, and return what it reads."""
    old, (batch, *rest) = given.value, given.sizes
    own = FileValue(old.name, None, None, old.is_whole, old.is_bool)
    perm = (1, 0, *range(2, len(given.sizes) + 1))
    turn = FileOperator("Transpose", (own,), (old,), FileAttributes({"perm": perm}))
    old.maker = turn
    graph.operators.insert(0, turn)
    steps = given.batch if given.batch is not None else given.batch_name or None
    return replace(
        given, value=own, sizes=(steps, *rest), batch=batch if isinstance(batch, int) else None,
        batch_name=batch if isinstance(batch, str) else "",
    )  # fmt: skip
