"""Takes away turns of the axes that a file takes back later.

Frameworks that have the channels last bring them in front for each convolution and pool, and back
behind it: `Transpose`, the layer, its bias, an activation, `Transpose`. What lies between two turns
and computes each number alone, joins, or reduces, is written for the axes before the turn; where the
turn is taken back, both are gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from netspec.compiler.ir.onnx_read import FileAttributes, FileOperator, FileValue
from netspec.imports.onnx.apart import under_name
from netspec.imports.onnx.batch_first import pointwise
from netspec.imports.onnx.constants import Constants
from netspec.imports.onnx.file_graph import FileGraph
from netspec.imports.onnx.proto_file import REAL, Array

_REDUCING = frozenset(["ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"])
_ALONG_AXIS = frozenset(["Concat", "LogSoftmax", "Softmax"])

# What does not give real numbers for real numbers.
_OF_ANOTHER_KIND = frozenset(
    "And ArgMax ArgMin Cast Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonZero Not Or"
    " Shape Size Xor".split()
)

_Axes = tuple[int, ...]


def without_turns(graph: FileGraph) -> None:
    """Write a graph without the turns that are taken back, and without casts of real numbers to real
    numbers, which exporters leave between them.
    """
    _leave_out_casts(graph)
    turns = _Turns(graph, Constants(graph))
    turns.go()
    if _count(turns.found) >= _count(graph.operators):
        return
    graph.operators = turns.found
    for op in turns.found:
        for value in op.outputs:
            value.maker = op
    graph.outputs = {name: turns.plain(value) for name, value in graph.outputs.items()}
    graph.stored.update(turns.stored)


def _count(operators: Sequence[FileOperator]) -> int:
    return sum(op.operator == "Transpose" for op in operators)


def _leave_out_casts(graph: FileGraph) -> None:
    real = {
        given.value
        for given in graph.inputs.values()
        if not given.value.is_whole and not given.value.is_bool
    }
    same: dict[FileValue, FileValue] = {}
    found: list[FileOperator] = []
    for op in graph.operators:
        op.inputs = tuple(v and same.get(v, v) for v in op.inputs)
        x = op.given(0)
        is_to_real = op.operator == "Cast" and op.attributes.whole("to") in REAL
        if is_to_real and x in real and op.outputs[0] not in graph.outputs.values():
            assert x is not None
            same[op.outputs[0]] = x
            continue
        if is_to_real or (x in real and op.operator not in _OF_ANOTHER_KIND):
            real.update(op.outputs[:1])
        found.append(op)
    graph.operators = found


@dataclass
class _Turns:
    """Goes through a graph in order.

    Attributes:
        turned: values that are another one with its axes in another order: axis i of the value is
            axis `axes[i]` of that one.
        same: values that are others.
        stored: numbers in another order of axes.
    """

    graph: FileGraph
    constants: Constants
    found: list[FileOperator] = field(default_factory=list)
    turned: dict[FileValue, tuple[FileValue, _Axes]] = field(default_factory=dict)
    same: dict[FileValue, FileValue] = field(default_factory=dict)
    stored: dict[FileValue, Array] = field(default_factory=dict)
    _makers: dict[FileValue, FileOperator] = field(default_factory=dict)
    _done: set[FileValue] = field(default_factory=set)

    def go(self) -> None:
        """Write all operators again."""
        for op in self.graph.operators:
            given = replace(op, inputs=tuple(v and self.plain(v) for v in op.inputs))
            if self.constants.is_fixed(op.outputs[0] if op.outputs else None):
                self.found.append(op)
            elif not (self._turn(given) or self._written_before(given)):
                for value in given.inputs:
                    self._write_turn(value)
                self.found.append(given)
        for value in self.graph.outputs.values():
            self._write_turn(self.plain(value))

    def plain(self, value: FileValue) -> FileValue:
        """Return the value that a value is."""
        return self.same.get(value, value)

    def _turn(self, op: FileOperator) -> bool:
        """Note a turn that leaves the batch in front."""
        axes = op.attributes.ints("perm")
        x = op.given(0)
        if op.operator != "Transpose" or x is None or axes[:1] != (0,) or len(op.outputs) != 1:
            return False
        if sorted(axes) != list(range(len(axes))):
            return False
        base, before = self.turned.get(x, (x, tuple(range(len(axes)))))
        if len(before) != len(axes):
            return False
        now = tuple(before[axis] for axis in axes)
        (y,) = op.outputs
        if now == tuple(range(len(now))):
            self.same[y] = base
        else:
            self._note(y, base, now, op)
        return True

    def _note(self, y: FileValue, base: FileValue, axes: _Axes, op: FileOperator) -> None:
        self.turned[y] = base, axes
        self._makers[y] = op

    def _write_turn(self, value: FileValue | None) -> None:
        """Write the turn that gives a value, where something needs it."""
        if value is None or value not in self.turned or value in self._done:
            return
        self._done.add(value)
        base, axes = self.turned[value]
        self.found.append(
            under_name(self._makers[value], "Transpose", (base,), (value,), {"perm": axes})
        )

    # -- what is written for the axes before a turn

    def _written_before(self, op: FileOperator) -> bool:
        kinds = {self.turned[v][1] for v in op.inputs if v in self.turned}
        if len(kinds) != 1 or len(op.outputs) != 1:
            return False
        (axes,) = kinds
        if op.operator in pointwise():
            return self._each_alone(op, axes)
        if op.operator in _ALONG_AXIS:
            return self._along_axis(op, axes)
        return op.operator in _REDUCING and self._reduced(op, axes)

    def _each_alone(self, op: FileOperator, axes: _Axes) -> bool:
        inputs = [None if v is None else self._before(v, axes) for v in op.inputs]
        if any(found is None for found, v in zip(inputs, op.inputs, strict=True) if v is not None):
            return False
        self._append(op, tuple(inputs), axes, op.attributes)
        return True

    def _before(self, value: FileValue, axes: _Axes) -> FileValue | None:
        """Return a value in the axes before the turn; None for one that was never turned."""
        if value in self.turned:
            return self.turned[value][0]
        array = self.constants.array(value)
        if array is None or array.ndim > len(axes):
            return None
        if array.size == 1:
            return value
        whole = array.reshape((1,) * (len(axes) - array.ndim) + array.shape)
        made = FileValue(value.name)
        self.stored[made] = whole.transpose([axes.index(axis) for axis in range(len(axes))])
        return made

    def _along_axis(self, op: FileOperator, axes: _Axes) -> bool:
        axis = op.attributes.values.get("axis")
        if not all(v in self.turned for v in op.inputs) or not isinstance(axis, int):
            return False
        if not -len(axes) <= axis < len(axes):
            return False
        inputs = tuple(self.turned[v][0] for v in op.inputs if v is not None)
        attributes = FileAttributes({**op.attributes.values, "axis": axes[axis]})
        self._append(op, inputs, axes, attributes)
        return True

    def _reduced(self, op: FileOperator, axes: _Axes) -> bool:
        x, given = op.given(0), self.constants.array(op.given(1))
        if x not in self.turned or given is None or len(op.inputs) != 2 or given.dtype.kind != "i":
            return False
        places = given.reshape(-1).tolist()
        if not places or not all(-len(axes) <= place < len(axes) for place in places):
            return False
        gone = {axes[place] for place in places}
        left = [axis for axis in axes if axis not in gone]
        keeps = bool(op.attributes.whole("keepdims"))
        if not keeps and left != sorted(left):
            return False
        held = FileValue("")
        self.stored[held] = np.array(sorted(gone), np.int64)
        inputs = (self.turned[x][0], held)
        if keeps:
            self._append(op, inputs, axes, op.attributes)
        else:
            self.found.append(under_name(op, op.operator, inputs, op.outputs, op.attributes.values))
        return True

    def _append(
        self, op: FileOperator, inputs: tuple[FileValue | None, ...], axes: _Axes,
        attributes: FileAttributes,
    ) -> None:  # fmt: skip
        (y,) = op.outputs
        own = FileValue(y.name)
        self.found.append(under_name(op, op.operator, inputs, (own,), attributes.values))
        self._note(y, own, axes, op)
