"""What a file does with a picture before its first layer, which the data of a net does: the order of
its axes (TensorFlow has the channels last), and its normalisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.onnx_read import FileOperator, FileValue
from netspec.compiler.onnx_backend import NORMALIZE, NORMALIZES
from netspec.imports.onnx.constants import Constants
from netspec.imports.onnx.file_graph import NETSPEC, FileGraph
from netspec.imports.onnx.proto_file import Array
from netspec.runtime.data.input_normalization import Normalization

_TO_CHANNELS_FIRST = (0, 3, 1, 2)
_TO_CHANNELS_LAST = (0, 2, 3, 1)
_COLOURS = (1, 3, 4)

# Means and deviations of pixels from 0 to 1 are not above this.
_MOST_OF_ONE = 1.5
_BYTES = 255


@dataclass(eq=False)
class Border:
    """What lies between an input of the file and that of the net: y = (x - mean) / scale, and the
    order of the axes.

    Attributes:
        turned: whether the file has the channels last, and the net first.
        flat: whether the file has a single number for each image, and the net an axis for it.
        second: whether the batch is the second axis in the file.
        mean: for each channel, or for all.
        scale: the same.
    """

    turned: bool = False
    flat: bool = False
    second: bool = False
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 1, 1, 1)))
    scale: NDArray[np.float64] = field(default_factory=lambda: np.ones((1, 1, 1, 1)))

    @property
    def is_normal(self) -> bool:
        """Whether numbers stay as they are."""
        return not self.mean.any() and bool((self.scale == 1).all())

    @property
    def is_of_one(self) -> bool:
        """Whether the file takes pixels from 0 to 1, as what it computes tells, and not up to 255."""
        return bool(max(np.abs(self.mean).max(), self.scale.max()) <= _MOST_OF_ONE)

    def normalization(self) -> Normalization:
        """Return the normalisation for pictures of bytes, as data sets have them."""
        mean, scale = ((_BYTES if self.is_of_one else 1) * a[0] for a in (self.mean, self.scale))
        return Normalization("mean-std", mean.astype(np.float32), scale.astype(np.float32), "uint8")

    def outside(self, y: Array) -> Array:
        """Return what the file takes for a batch that the net takes."""
        if self.second:
            y = y.swapaxes(0, 1)
        if self.flat:
            return y.reshape(len(y))
        x = y if self.is_normal else y * self.scale + self.mean
        return x.transpose(_TO_CHANNELS_LAST) if self.turned else x


@dataclass(frozen=True, eq=False)
class Borders:
    """The borders of a file by the names of its inputs, the outputs with the channels last, those that
    are a single number for each image, and those with the batch as their second axis.
    """

    inputs: Mapping[str, Border] = field(default_factory=dict)
    turned_outputs: frozenset[str] = frozenset()
    flat_outputs: frozenset[str] = frozenset()
    second_outputs: frozenset[str] = frozenset()

    def output(self, name: str, y: Array) -> Array:
        """Return an output of the file as the net has it."""
        if name in self.flat_outputs:
            return y.reshape(len(y), 1)
        if name in self.second_outputs:
            return y.swapaxes(0, 1)
        return y.transpose(_TO_CHANNELS_FIRST) if name in self.turned_outputs else y


def taken_away(graph: FileGraph, shapes: dict[str, Shape]) -> Borders:
    """Take the borders of a file away, and return them. The shapes of inputs change with them.

    A file of netspec's own has none, for it says each layer, unless it says that it normalises: by
    operators whose names say so.
    """
    is_own = graph.producer == NETSPEC
    if is_own and graph.metadata.get(NORMALIZES) != "true":
        return Borders()
    constants = Constants(graph)
    found = {}
    for name, given in graph.inputs.items():
        if not shapes[name]:
            found[name] = Border(flat=True)
        if len(shapes[name]) == 3:
            named = f"{NORMALIZE}{name}/" if is_own else ""
            walk = _Walk(graph, constants, given.value, shapes[name], named)
            border = walk.border(may_scale=len(graph.inputs) == 1)
            if border is not None:
                found[name] = border
                shapes[name] = walk.shape
                graph.inputs[name] = replace(given, value=walk.value)
    turned = _turned_outputs(graph) if any(b.turned for b in found.values()) else frozenset()
    return Borders(found, turned)


class _Walk:
    """Goes from an input to the first layer."""

    def __init__(
        self,
        graph: FileGraph,
        constants: Constants,
        value: FileValue,
        shape: Shape,
        named: str,
    ) -> None:
        self._graph = graph
        self._named = named
        self._constants = constants
        self.value = value
        self.shape = shape
        self._passed: list[FileOperator] = []

    def border(self, *, may_scale: bool) -> Border | None:
        """Go on as far as possible, and return what lies behind; None if that is nothing.

        Whether numbers may change is said, for a weights file has one normalisation.
        """
        border = Border()
        while (op := self._reader()) is not None:
            after = self._turned(op, border) or (may_scale and self._scaled(op, border)) or None
            if after is None:
                break
            border = after
            self._passed.append(op)
            self.value = op.outputs[0]
        is_last = max(border.mean.shape[3], border.scale.shape[3]) > 1
        if not self._passed or is_last:  # the last axis of a picture is no axis of channels
            return None
        passed = set(map(id, self._passed))
        self._graph.operators = [op for op in self._graph.operators if id(op) not in passed]
        self.value.maker = None
        return border

    def _reader(self) -> FileOperator | None:
        """Return the only operator that reads the value."""
        readers = [op for op in self._graph.operators if self.value in op.inputs]
        ends = set(self._graph.outputs.values())
        is_one = len(readers) == 1 and readers[0].inputs.count(self.value) == 1
        is_one = is_one and readers[0].name.startswith(self._named)
        return readers[0] if is_one and not ends & {self.value, *readers[0].outputs} else None

    def _turned(self, op: FileOperator, border: Border) -> Border | None:
        if op.operator != "Transpose" or op.attributes.ints("perm") != _TO_CHANNELS_FIRST:
            return None
        height, width, channels = self.shape
        if border.turned or channels not in _COLOURS:
            return None
        self.shape = (channels, height, width)
        mean, scale = (a.transpose(_TO_CHANNELS_FIRST) for a in (border.mean, border.scale))
        return Border(turned=True, mean=mean, scale=scale)

    def _scaled(self, op: FileOperator, border: Border) -> Border | None:
        if op.operator not in ("Add", "Sub", "Mul", "Div") or len(op.inputs) != 2:
            return None
        is_first = op.inputs[0] is self.value
        array = self._constants.array(op.inputs[1 if is_first else 0])
        numbers = None if array is None else self._by_channel(array)
        if numbers is None or (not is_first and op.operator in ("Sub", "Div")):
            return None
        mean, scale = border.mean, border.scale
        if op.operator in ("Add", "Sub"):
            mean = mean - numbers * scale if op.operator == "Add" else mean + numbers * scale
        elif not (numbers > 0).all():
            return None
        else:
            scale = scale / numbers if op.operator == "Mul" else scale * numbers
        is_sound = np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()
        return Border(turned=border.turned, mean=mean, scale=scale) if is_sound else None

    def _by_channel(self, array: Array) -> NDArray[np.float64] | None:
        """Return numbers as (1, ..) along the axes of the value; None if they are not by channel."""
        if array.dtype.kind not in "fiu" or array.ndim > 4:
            return None
        sizes = (1,) * (4 - array.ndim) + array.shape
        long = [axis for axis, size in enumerate(sizes) if size > 1]
        if long and (len(long) > 1 or not long[0] or sizes[long[0]] not in _COLOURS):
            return None
        axis = long[0] if long else 1
        if axis not in (1, 3) or (long and self.shape[axis - 1] != sizes[axis]):
            return None
        return array.astype(np.float64).reshape(sizes)


def _turned_outputs(graph: FileGraph) -> frozenset[str]:
    """Take the last `Transpose` of outputs away, and return their names."""
    found = set()
    for name, value in graph.outputs.items():
        maker = value.maker
        is_turned = maker is not None and maker.operator == "Transpose"
        if maker is None or not is_turned or maker.attributes.ints("perm") != _TO_CHANNELS_LAST:
            continue
        (source,) = maker.inputs
        is_read = any(value in op.inputs for op in graph.operators)
        if source is not None and source.maker is not None and not is_read:
            graph.outputs[name] = source
            found.add(name)
    return frozenset(found)
