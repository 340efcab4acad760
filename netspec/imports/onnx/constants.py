"""What is known of values before anything runs: numbers that depend on no input, and sizes.

Numbers are computed when something asks for them, by the package onnx, and not more than some: a
file of a few bytes can ask for as much as it likes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.onnx_read import FileOperator, FileValue, product
from netspec.compiler.ir.op import BATCH
from netspec.compiler.ir.sizes import Dim, Size, are_short
from netspec.imports.onnx.file_graph import FileGraph
from netspec.imports.onnx.modern import LATE
from netspec.imports.onnx.proto_file import Array

# The bytes of numbers that are computed from those of a file.
_MOST_BYTES = 1 << 30
_MOST_AT_ONCE = 1 << 27

# More axes or sizes than this are no shape, nor are larger numbers or longer formulas.
_MOST_SIZES = 64
_LARGEST_SIZE = 1 << 63

SizeArray = NDArray[np.object_]


class Constants:
    """The stored and computed numbers of one file, and the sizes that its values hold."""

    def __init__(self, graph: FileGraph) -> None:
        self._arrays: dict[FileValue, Array | None] = dict(graph.stored)
        self._sizes: dict[FileValue, SizeArray] = {}
        self._left = _MOST_BYTES
        self._places = {id(op): i for i, op in enumerate(graph.operators)}
        self._fixed: set[FileValue] = set(graph.stored)
        for op in graph.operators:
            self.note_fixed(op)

    def note_fixed(self, op: FileOperator) -> None:
        """Note that an operator gives what depends on no input, if it reads nothing else."""
        known = all(v is None or v in self._fixed for v in op.inputs)
        if op.operator in _FOLDED and op.inputs and known:
            self._places.setdefault(id(op), len(self._places))
            self._fixed.update(op.outputs)

    def is_fixed(self, value: FileValue | None) -> bool:
        """Whether a value depends on no input."""
        return value is not None and value in self._fixed

    def array(self, value: FileValue | None) -> Array | None:
        """Return the numbers of a value that depends on no input; else None."""
        if value is None or value not in self._fixed:
            return None
        if value not in self._arrays:
            for op in self._needed(value):
                self._fold(op)
        return self._arrays.get(value)

    def _needed(self, value: FileValue) -> list[FileOperator]:
        """Return the operators that compute a value, in order."""
        found: dict[int, FileOperator] = {}
        waiting = [value]
        while waiting:
            maker = waiting.pop().maker
            if maker is None or id(maker) in found:
                continue
            if all(output in self._arrays for output in maker.outputs):
                continue
            found[id(maker)] = maker
            waiting += [each for each in maker.inputs if each is not None]
        return sorted(found.values(), key=lambda op: self._places[id(op)])

    def _fold(self, op: FileOperator) -> None:
        inputs = [None if v is None else self._arrays.get(v) for v in op.inputs]
        for output in op.outputs:
            self._arrays[output] = None
        if any(a is None and v is not None for a, v in zip(inputs, op.inputs, strict=True)):
            return
        try:
            size = _size_after(op, inputs)
        except (ArithmeticError, IndexError, TypeError, ValueError):
            return  # sizes that are none
        if size > _MOST_AT_ONCE or self._left <= 0:
            return
        found = _evaluated(op, inputs)
        if found is None:
            return
        for output, array in zip(op.outputs, found, strict=False):
            self._left -= array.nbytes
            self._arrays[output] = array

    # -- sizes

    def sizes(self, value: FileValue | None) -> tuple[Dim, ...] | None:
        """Return the sizes that a vector or a single number holds; else None."""
        found = self.size_array(value)
        return None if found is None or found.ndim > 1 else tuple(found.reshape(-1).tolist())

    def size_array(self, value: FileValue | None) -> SizeArray | None:
        """Return the sizes that a value holds; else None."""
        if value is None:
            return None
        if value in self._sizes:
            return self._sizes[value]
        array = self.array(value)
        if array is None or array.size > _MOST_SIZES or array.dtype.kind not in "iub":
            return None
        return array.astype(object)

    def of_sizes(self, sizes: Sequence[Dim]) -> FileValue:
        """Return a value that holds these sizes."""
        if all(isinstance(size, int) for size in sizes):
            return self.of_numbers(np.array(sizes, np.int64))
        value = FileValue("")
        self._sizes[value] = np.array(sizes, dtype=object)
        return value

    def of_numbers(self, array: Array) -> FileValue:
        """Return a value that holds these numbers."""
        value = FileValue("")
        self._arrays[value] = array
        self._fixed.add(value)
        return value

    def note_sizes(self, op: FileOperator) -> bool:
        """Compute the sizes that an operator gives; return whether it gives any."""
        if op.operator == "Shape":
            x = op.given(0)
            if x is not None and x.shape is not None:
                return self.note_shape(op, (BATCH, *x.shape))
            held = self.size_array(x)
            return held is not None and self.note_shape(op, held.shape)
        given = [self.size_array(v) for v in op.inputs]
        if not given or given[0] is None or not any(v in self._sizes for v in op.inputs):
            return False
        return self._note(op, given)

    def note_shape(self, op: FileOperator, shape: Sequence[Dim]) -> bool:
        """Keep what a `Shape` gives of a value with this shape; return whether it is known."""
        return self._note(op, [np.array(shape, dtype=object)])

    def _note(self, op: FileOperator, given: Sequence[SizeArray | None]) -> bool:
        compute = _OF_SIZES.get(op.operator)
        if compute is None or len(op.outputs) != 1:
            return False
        try:
            computed = compute(op.attributes.values, given)
        except (AttributeError, TypeError, ValueError, IndexError, ArithmeticError):
            return False
        found = np.asarray(computed, dtype=object)
        if computed is None or found.size > _MOST_SIZES or not all(map(is_sound, found.flat)):
            return False
        (value,) = op.outputs
        if all(isinstance(size, int) for size in found.flat):
            truths = all(isinstance(size, bool) for size in found.flat)
            self._arrays[value] = found.astype(bool if truths and found.size else np.int64)
            self._fixed.add(value)
        else:
            self._sizes[value] = found
        return True


def is_sound(size: Dim | bool) -> bool:
    """Whether a size may be one. What a file multiplies again and again grows beyond all bounds."""
    if isinstance(size, Size):
        return are_short([size])
    return abs(size) <= _LARGEST_SIZE


def _evaluated(op: FileOperator, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
    """Return what the package onnx computes; None if it cannot."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    names = ["" if a is None else f"x{i}" for i, a in enumerate(inputs)]
    node = helper.make_node(
        op.operator,
        names,
        [f"y{i}" for i in range(len(op.outputs))],
        **_usable(op.attributes.values),
    )
    feeds = {name: a for name, a in zip(names, inputs, strict=True) if a is not None}
    try:
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(node, opsets={"": LATE}).run(None, feeds)
    except Exception:  # the package raises what NumPy raises, and others; the value is then unknown
        return None
    return [np.asarray(each) for each in found]


def _usable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    from onnx import numpy_helper

    return {
        name: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
        for name, value in attributes.items()
        if value is not None and not (isinstance(value, tuple) and not value)
    }


def _size_after(op: FileOperator, inputs: Sequence[Array | None]) -> int:
    """Return about how many numbers an operator makes of these."""
    arrays = [array for array in inputs if array is not None]
    if op.operator in ("Expand", "ConstantOfShape"):
        target = arrays[-1].reshape(-1).tolist()
        return math.prod(max(int(size), 1) for size in target) * max(
            arrays[0].size if op.operator == "Expand" else 1, 1
        )
    if op.operator == "Range":
        start, limit, delta = (float(a.reshape(-1)[0]) if a.size else 0.0 for a in arrays[:3])
        return int(min(abs((limit - start) / delta), 2**40)) if delta else 2**40
    if op.operator == "Tile":
        return arrays[0].size * math.prod(max(int(n), 1) for n in arrays[1].reshape(-1).tolist())
    if op.operator == "Pad":
        widths = int(np.abs(arrays[1].astype(np.float64)).max(initial=0))
        return math.prod(size + 2 * widths for size in arrays[0].shape)
    if op.operator == "Concat":
        return sum(a.size for a in arrays)
    try:
        return math.prod(np.broadcast_shapes(*(a.shape for a in arrays)))
    except ValueError:
        return sum(a.size for a in arrays)


_FOLDED = frozenset(
    "Abs Add And Cast Ceil Concat ConstantOfShape Constant Cos Div Equal Erf Exp Expand Flatten Floor"
    " Gather Greater GreaterOrEqual Identity Less LessOrEqual Log Max Min Mod Mul Neg Not Or Pow"
    " Pad Range Reciprocal ReduceMax ReduceMin ReduceProd ReduceSum Reshape ScatterND Shape Sigmoid"
    " Sin Size Slice Split Sqrt Squeeze Sub Sum Tile Transpose Trilu Unsqueeze Where"
    " DequantizeLinear".split()
)


# -- the arithmetic of sizes: attributes and inputs to the value


def _shape(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    return given[0][slice(attributes.get("start", 0), attributes.get("end"))]


def _slice(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    starts, ends, axes, steps = (*given[1:], None, None)[:4]
    if axes is not None and list(axes.reshape(-1)) not in ([0], [-1]):
        return None
    step = 1 if steps is None else int(steps.reshape(-1)[0])
    return given[0][slice(int(starts.reshape(-1)[0]), int(ends.reshape(-1)[0]), step)]


def _divided(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    return given[0] // given[1]


def _where(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    condition, a, b = np.broadcast_arrays(*given)
    chosen = [x if c else y for c, x, y in zip(condition.flat, a.flat, b.flat, strict=True)]
    return np.array(chosen, dtype=object).reshape(condition.shape)


def _equal(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    a, b = np.broadcast_arrays(*given)
    same = [x == y for x, y in zip(a.flat, b.flat, strict=True)]
    return np.array(same, dtype=object).reshape(a.shape)


def _reshaped(attributes: Mapping[str, Any], given: Sequence[Any]) -> Any:
    return given[0].reshape([int(size) for size in given[1].reshape(-1)])


_Compute = Callable[[Mapping[str, Any], Sequence[Any]], Any]
_OF_SIZES: dict[str, _Compute] = {
    "Shape": _shape,
    "Gather": lambda _, given: given[0][given[1].astype(int)],
    "Slice": _slice,
    "Concat": lambda _, given: np.concatenate([each.reshape(-1) for each in given]),
    "Unsqueeze": lambda _, given: given[0].reshape(-1) if given[0].ndim == 0 else None,
    "Squeeze": lambda _, given: given[0].reshape(()) if given[0].size == 1 else given[0],
    "Reshape": _reshaped,
    "Cast": lambda _, given: given[0],
    "Identity": lambda _, given: given[0],
    "Floor": lambda _, given: given[0],
    "Add": lambda _, given: given[0] + given[1],
    "Sub": lambda _, given: given[0] - given[1],
    "Mul": lambda _, given: given[0] * given[1],
    "Div": _divided,
    "Equal": _equal,
    "Where": _where,
    "ReduceProd": lambda _, given: np.array(product(given[0].reshape(-1).tolist()), dtype=object),
}
