"""ONNX's operators as a file has them: what an op's `from_onnx` reads, and the layer that it gives.

Nothing here needs the package onnx. Operators are in the form of a late opset: what older ones have
as attributes are inputs, and attributes have their defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

from netspec.compiler.ir.attributes import Number
from netspec.compiler.ir.graph import Shape
from netspec.compiler.ir.op import BATCH, Op
from netspec.compiler.ir.sizes import Dim, Size
from netspec.records import record

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(slots=True, eq=False)
class FileValue:
    """A tensor of a file.

    Attributes:
        name: its name in the file.
        maker: the operator that computes it; None for inputs and for stored numbers.
        shape: its shape for one image; None unless the net that is read has it as a value.
        is_whole: whether it is an input of whole numbers.
        is_bool: whether it is an input of booleans.
        is_constant: whether an operator of the file holds its numbers, and not the file's list of
            tensors.
    """

    name: str
    maker: FileOperator | None = field(default=None, repr=False)
    shape: Shape | None = None
    is_whole: bool = False
    is_bool: bool = False
    is_constant: bool = False


NO_END = 1 << 30
"""Above this is what exporters write as the end of a `Slice` that has none."""

MOST_AXES = 8
"""More axes than this has no value that is read of a file."""

ARRANGING = frozenset(
    ["Slice", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Gather", "Identity"]
)
"""The operators whose values hold numbers of their first input, if others in another place."""

_MOST_TERMS = 1000

FileAttribute = Union[int, float, str, "Array", tuple[int | float | str, ...], None]


@record(slots=True, eq=False)
class FileAttributes:
    """The attributes of an operator. One that is not there, or of another kind, is 0 or empty."""

    values: Mapping[str, FileAttribute]

    def whole(self, name: str) -> int:
        """Return a whole number."""
        value = self.values.get(name)
        return value if isinstance(value, int) else 0

    def real(self, name: str) -> float:
        """Return a number."""
        value = self.values.get(name)
        return value if isinstance(value, (int, float)) else 0.0

    def text(self, name: str) -> str:
        """Return a text."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def ints(self, name: str) -> tuple[int, ...]:
        """Return whole numbers."""
        value = self.values.get(name)
        found = value if isinstance(value, tuple) else ()
        return tuple(each for each in found if isinstance(each, int))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return texts."""
        value = self.values.get(name)
        found = value if isinstance(value, tuple) else ()
        return tuple(each for each in found if isinstance(each, str))


@dataclass(slots=True, eq=False)
class FileOperator:
    """An operator of a file.

    Attributes:
        operator: what it is, such as `Conv`.
        inputs: what it reads; None for one that is left out.
        outputs: what it computes.
        attributes: its attributes.
        name: its name in the file.
        metadata: what the file says of it.
        layer: the layer that it is a part of, where the file says that; else empty.
        scopes: the functions that it is in, as (name of the call, name of the function).
    """

    operator: str
    inputs: tuple[FileValue | None, ...]
    outputs: tuple[FileValue, ...]
    attributes: FileAttributes
    name: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    layer: str = ""
    scopes: tuple[tuple[str, str], ...] = ()

    def given(self, index: int) -> FileValue | None:
        """Return an input; None if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None


@record(eq=False)
class Held:
    """A parameter of a layer: numbers of the file, which name it, or others made of them."""

    value: FileValue
    numbers: Array | None = None


@record(eq=False)
class OnnxLayer:
    """A layer that a file has.

    Attributes:
        op: the op with its attributes.
        inputs: what it reads; stored numbers become declared parameters.
        parameters: by the op's own names.
        covers: the operators that it stands for.
        output: which output of the operator it computes.
    """

    op: Op
    inputs: tuple[FileValue, ...]
    parameters: Mapping[str, Held]
    covers: tuple[FileOperator, ...]
    output: int = 0


@record(eq=False)
class Found:
    """What a pattern has found: a value for each of its names, and the operators."""

    values: Mapping[str, FileValue]
    covers: tuple[FileOperator, ...]


@record(eq=False)
class OnnxReader:
    """The interface through which an op reads a file: the operator at which a layer may end.

    Attributes:
        root: the operator.
        array: gives the numbers of a value that depends on no input; else None.
        sizes: gives the sizes that a vector or a number of whole numbers holds; else None. `BATCH`
            is that of the batch.
        search: looks for a pattern that ends at the operator.
        match: looks for an op by its own ONNX form; the inputs are given, unless the form does not
            depend on their shapes.
        batch: the size of the batch, where the file has a fixed one.
        inputs: those of the net.
        said: the layer as netspec wrote it, where the file says it.
        last_with: gives an input, or else the value before the operator, that has a size on an axis,
            counted from 1.
    """

    root: FileOperator
    array: Callable[[FileValue | None], Array | None]
    sizes: Callable[[FileValue | None], tuple[Dim, ...] | None]
    search: Callable[[FileOperator, str], Found | None]
    match: Callable[[FileOperator, Op, Sequence[FileValue] | None], OnnxLayer | None]
    batch: int | None
    inputs: Sequence[FileValue]
    said: str
    last_with: Callable[[int, Dim], FileValue | None]

    # -- the operator

    @property
    def attributes(self) -> FileAttributes:
        """The attributes of the operator."""
        return self.root.attributes

    def given(self, index: int) -> FileValue | None:
        """Return an input of the operator; None if it is left out."""
        return self.root.given(index)

    def shape(self, index: int = 0) -> Shape | None:
        """Return the shape of an input for one image; None if it is no value of the net."""
        value = self.given(index)
        return None if value is None else value.shape

    def shape_of(self, value: FileValue | None) -> Shape | None:
        """Return the shape of a value for one image; None if it is no value of the net."""
        return None if value is None else value.shape

    def rank(self) -> int | None:
        """Return the number of axes of the inputs, with the batch; None if that is not known."""
        ranks = [len(v.shape) for v in self.root.inputs if v is not None and v.shape is not None]
        return max(ranks) + 1 if ranks else None

    # -- numbers

    def number(self, value: FileValue | None) -> float | None:
        """Return the single number of a value that depends on no input; else None."""
        array = self.array(value)
        if array is None or array.size != 1 or array.dtype.kind not in "fiu":
            return None
        return plain(array.reshape(-1)[0])

    def whole(self, value: FileValue | None) -> tuple[int, ...] | None:
        """Return whole numbers that depend on no input; else None."""
        found = self.sizes(value)
        if found is None or not all(isinstance(size, int) for size in found):
            return None
        return tuple(size for size in found if isinstance(size, int))

    def image_sizes(self, target: Sequence[Dim], x: Shape) -> tuple[int, ...] | None:
        """Return the shape for one image that a `Reshape` of a value asks for, as `reshape` takes it.

        None if the batch does not stay in front, or more than one size is open.
        """
        own: Sequence[Dim] = (BATCH, *x)
        copied: list[Dim] = [
            own[i] if size == 0 and i <= len(x) else size for i, size in enumerate(target)
        ]
        if not copied:
            return None
        first, *rest = copied
        open_sizes = sum(isinstance(size, Size) or size == -1 for size in rest)
        if open_sizes > 1:
            return None
        if isinstance(first, int) and first == -1:
            if open_sizes or product(rest) != product(x):
                return None
        elif first != BATCH and (self.batch is None or first != self.batch):
            return None
        return tuple(-1 if isinstance(size, Size) else size for size in rest)

    # -- neighbours

    def behind(self, value: FileValue | None, *operators: str) -> FileOperator | None:
        """Return the operator that is reached from a value by going back over operators of these
        kinds, each by its first input; all but the last may be missing.
        """
        at = None if value is None else value.maker
        for operator in operators[:-1]:
            if at is not None and at.operator == operator:
                own = at.inputs[1] if operator == "Where" else at.inputs[0]
                at = None if own is None else own.maker
        return at if at is not None and at.operator == operators[-1] else None

    def extent(self, value: FileValue | None) -> int | None:
        """Return how many places a `Slice` of a file keeps; None for anything else."""
        maker = None if value is None else value.maker
        if maker is None or maker.operator != "Slice":
            return None
        starts, stops = self.whole(maker.given(1)), self.whole(maker.given(2))
        return None if starts is None or stops is None else stops[0] - starts[0]

    def array_of(self, found: Found, name: str, sizes: str) -> Array | None:
        """Return stored numbers that a pattern has found, in the shape that they get there."""
        array = self.array(found.values[name])
        target = self.whole(found.values.get(sizes))
        if array is None or target is None:
            return array
        return array.reshape(target) if -1 in target or product(target) == array.size else None

    # -- layers

    def layer(
        self,
        op: Op,
        *inputs: FileValue | None,
        found: Found | None = None,
        output: int = 0,
        parameters: Mapping[str, Held | FileValue | None] | None = None,
    ) -> OnnxLayer | None:
        """Return a layer, which covers the operator or what a pattern has found.

        Parameters are values, `Held` or None. None if an input is missing, or a parameter that
        depends on an input.
        """
        held = {}
        for name, given in (parameters or {}).items():
            if given is None:
                continue
            each = given if isinstance(given, Held) else Held(given)
            if self.array(each.value) is None:
                return None
            held[name] = each
        known = tuple(value for value in inputs if value is not None)
        if len(known) < len(inputs):
            return None
        covers = (self.root,) if found is None else found.covers
        return OnnxLayer(op, known, held, covers, output)

    @staticmethod
    def held(value: FileValue | None, numbers: Array | None) -> Held | None:
        """Return a parameter that is made of a value's numbers; None if that is left out."""
        return None if value is None else Held(value, numbers)

    def pattern(self, text: str) -> Found | None:
        """Look for operators that end at this one, written as `Mul(x, Sigmoid(x))`.

        A name is a value, everywhere the same; a number is a stored one that is about equal. What a
        pattern says of attributes holds: `Softmax(x, axis=-1)`.
        """
        return self.search(self.root, text)

    def form(self, op: Op, *inputs: FileValue) -> OnnxLayer | None:
        """Look for an op in the form that it is written in; without inputs for one that is the same
        for all shapes.
        """
        return self.match(self.root, op, inputs or None)


def plain(number: float) -> float:
    """Return a number as a person would write it: single precision by its shortest digits.

    It may be one of NumPy's.
    """
    import numpy as np

    value = float(str(number) if isinstance(number, np.floating) else number)
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def product(sizes: Sequence[Dim]) -> Dim:
    """Return the product of sizes.

    Raises:
        OverflowError: if it has more terms than a file may make one compute.
    """
    total: Dim = 1
    for size in sizes:
        total = total * size
        if isinstance(total, Size) and len(total.terms) > _MOST_TERMS:
            raise OverflowError("the product of these sizes has too many terms")
    return total


def is_by_channel(array: Array | None, shape: Shape | None, channels: int) -> bool:
    """Whether numbers that broadcast with a value are one for each channel."""
    if array is None or shape is None or array.size != channels:
        return False
    axes = (channels, *(1,) * (len(shape) - 1))
    return array.shape in (axes, (1, *axes))


def joined(numbers: Sequence[Number]) -> Number | tuple[Number, ...]:
    """Return one number if all are equal, as attributes have it."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)
