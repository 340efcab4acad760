"""The normalisation that a file does itself, by layers: `(x - mean) / deviation` right behind an input.

The numbers of it are statistics of data, as a rule, and nothing that training should move.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from netspec.compiler.ir.onnx_read import FileOperator, FileValue
from netspec.imports.onnx.constants import Constants
from netspec.imports.onnx.file_graph import FileGraph, source_of
from netspec.imports.onnx.proto_file import Array

# As many numbers are shown.
_MOST_SHOWN = 4

_VERBS = {"Sub": "subtracts", "Add": "adds", "Mul": "multiplies by", "Div": "divides by"}
_SHIFTS = frozenset(["Sub", "Add"])
_PASSING = frozenset(["Cast", "Identity"])


@dataclass(frozen=True, eq=False)
class Inside:
    """What a file does with an input before its first layer: operators with their numbers, in order."""

    steps: tuple[tuple[str, Array], ...]
    stored: frozenset[FileValue] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return ", then ".join(f"{_VERBS[operator]} {_shown(a)}" for operator, a in self.steps)


def normalised_inside(graph: FileGraph, names: Iterable[str]) -> dict[str, Inside]:
    """Return how inputs are normalised by the operators of a file, for those that are.

    A shift and a factor by stored numbers count: with a difference or a quotient, with single numbers,
    or with numbers of which the file says that nobody learns them. Others, such as a sum of positions
    or a product alone, may be learned.

    Args:
        graph: the file.
        names: the inputs that are asked about.
    """
    constants = Constants(graph)
    readers: dict[FileValue, list[FileOperator]] = {}
    for op in graph.operators:
        for value in set(op.inputs) - {None}:
            if op.operator != "Shape":
                readers.setdefault(value, []).append(op)  # type: ignore[arg-type]
    found = {}
    for name in names:
        given = graph.inputs[name].value
        if given.is_whole or given.is_bool:
            continue
        inside = _behind(given, graph, constants, readers)
        if inside is not None:
            found[name] = inside
    return found


def _behind(
    value: FileValue, graph: FileGraph, constants: Constants,
    readers: dict[FileValue, list[FileOperator]],
) -> Inside | None:  # fmt: skip
    """Return what is done with a value, up to the first layer; None if that is no normalisation."""
    steps: list[tuple[str, Array]] = []
    stored: set[FileValue] = set()
    while len(readers.get(value, ())) == 1:
        (op,) = readers[value]
        if op.operator not in _PASSING and not _is_batch_turned(op):
            is_shift = op.operator in _SHIFTS
            is_again = any((known in _SHIFTS) == is_shift for known, _ in steps)
            other = None if is_again else _other(op, value)
            array = constants.array(other)
            if other is None or array is None or not _can_be_statistic(op, array):
                break
            source = source_of(other)
            if source is not None and graph.kinds.get(source.name) == "parameter":
                break
            steps.append((op.operator, array))
            stored.update(() if source is None else (source,))
        (value,) = op.outputs
    is_plain = all(array.size == 1 for _, array in steps)
    is_said = bool(stored) and all(graph.kinds.get(each.name) == "buffer" for each in stored)
    is_statistic = any(operator in ("Sub", "Div") for operator, _ in steps)
    if not steps or not (is_plain or is_said or is_statistic):
        return None
    return Inside(tuple(steps), frozenset(stored))


def _is_batch_turned(op: FileOperator) -> bool:
    """Whether an operator changes the batch and the steps, behind which axes stay."""
    perm = op.attributes.ints("perm")
    return op.operator == "Transpose" and perm == (1, 0, *range(2, len(perm)))


def _other(op: FileOperator, value: FileValue) -> FileValue | None:
    """Return the other operand of arithmetic; None for a difference or a quotient the wrong way round."""
    if op.operator not in _VERBS or len(op.inputs) != 2 or op.inputs.count(value) != 1:
        return None
    is_first = op.inputs[0] is value
    return op.inputs[1] if is_first else None if op.operator in ("Sub", "Div") else op.inputs[0]


def _can_be_statistic(op: FileOperator, array: Array) -> bool:
    if array.dtype.kind not in "fiu" or not array.size or not np.isfinite(array).all():
        return False
    return op.operator in _SHIFTS or bool((array > 0).all())


def _shown(array: Array) -> str:
    flat = array.reshape(-1)
    if (flat == flat[0]).all():
        return f"{float(flat[0]):.6g}"
    if flat.size > _MOST_SHOWN:
        return f"{flat.size:,} numbers"
    return "[" + ", ".join(f"{float(number):.6g}" for number in flat) + "]"
