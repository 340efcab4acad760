"""ONNX's operators as data: what an op's `onnx` appends, and the ONNX backend writes.

Nothing here needs the package onnx. A value is an object until the backend names it; a node's last
value gets the node's name, and what lies before it a name under that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from netspec.compiler.ir.expression import FUNCTIONS, Apply, Const, Expression, Var
from netspec.compiler.ir.graph import Graph, Node, Shape
from netspec.compiler.ir.op import BATCH
from netspec.compiler.ir.sizes import Dim, Size
from netspec.records import record

Number = Literal["float32", "int64", "bool"]

# ONNX's numbers for the types of tensors: TensorProto.DataType.
ONNX_TYPES: dict[Number, int] = {"float32": 1, "int64": 7, "bool": 9}


@dataclass(slots=True, eq=False)
class OnnxValue:
    """A tensor that flows between operators. `name` is empty until the backend gives it one."""

    name: str = ""


@record(slots=True)
class OnnxTensor:
    """Numbers that are part of a model: row-major `numbers` in an array of this shape and type."""

    numbers: tuple[float, ...]
    shape: tuple[int, ...]
    number: Number


@record(eq=False)
class OnnxBody:
    """Operators that one runs again and again. They may read the values that are around it.

    Attributes:
        inputs, outputs: what it is given, and what it returns.
        about: the type and the shape for one image of each of these.
        nodes: its operators.
        values: the value of each node of `graph`, by name.
        graph: the part of the net that it computes.
    """

    inputs: tuple[OnnxValue, ...]
    outputs: tuple[OnnxValue, ...]
    about: Mapping[OnnxValue, tuple[Number, Shape]]
    nodes: tuple[OnnxNode, ...]
    values: Mapping[str, OnnxValue] = field(repr=False)
    graph: Graph = field(repr=False)

    @property
    def made(self) -> list[OnnxValue]:
        """The values that are its own, each once, also those of bodies within it."""
        found = dict.fromkeys(self.inputs)
        for node in self.nodes:
            found |= dict.fromkeys(node.outputs)
            for body in node.bodies:
                found |= dict.fromkeys(body.made)
        return list(found)


OnnxAttribute = (
    int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | OnnxTensor | OnnxBody
)


@dataclass(slots=True, eq=False)
class OnnxNode:
    """One operator, with its inputs (None for one left out) and outputs.

    `source` is the node of the net that it belongs to. The backend gives the `name`, and the
    `domain` and the `metadata` of calls.
    """

    operator: str
    inputs: tuple[OnnxValue | None, ...]
    outputs: tuple[OnnxValue, ...]
    attributes: Mapping[str, OnnxAttribute]
    source: Node | None = None
    name: str = ""
    domain: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def bodies(self) -> list[OnnxBody]:
        """The bodies among its attributes."""
        return [value for value in self.attributes.values() if isinstance(value, OnnxBody)]

    @property
    def reads(self) -> list[OnnxValue]:
        """The values that it reads, as often as it does, also within bodies."""
        found = [value for value in self.inputs if value is not None]
        for body in self.bodies:
            own = set(body.made)
            inside = [value for node in body.nodes for value in node.reads]
            found += [value for value in (*inside, *body.outputs) if value not in own]
        return found


# Makes a body of a graph within an op: of the graph, its parameters by full name, those of its inputs
# that the body reads from around it, and the others and the outputs in the order of the body. Raises
# `NoOnnxFormError` if a layer in it has no form.
InnerForm = Callable[
    [Graph, Mapping[str, OnnxValue], Mapping[str, OnnxValue], Sequence[str], Sequence[str]],
    OnnxBody,
]


# A layer may ask for as many operators as it has places, and a file for any size.
MOST_OPERATORS = 20_000


class TooManyOperatorsError(Exception):
    """The form of one layer takes more operators than a model may have."""


@dataclass(eq=False)
class OnnxForm:
    """The interface through which an op gives its ONNX form: its operands, and what appends operators.

    Values are (N, C, H, W), as in the file. Every operator that is appended must exist in `opset`.

    Attributes:
        node: the node of the net.
        x: its inputs: of float32, but for an op that only moves numbers, which takes any.
        x_shapes: their shapes for one image; sizes may be formulas of open ones.
        opset: the version of ONNX's operators, 17 or later.
        parameters: its parameters by the op's own names.
        size_of: makes a tensor (1,) of int64 from a size, which may be a formula.
        typed_input: gives an input that is of a type already; else None.
        inner: makes the body of a loop.
        most: how many operators it may have.
    """

    node: Node
    x: tuple[OnnxValue, ...]
    x_shapes: tuple[Shape, ...]
    opset: int
    parameters: Mapping[str, OnnxValue]
    size_of: Callable[[Dim], OnnxValue]
    typed_input: Callable[[int, Number], OnnxValue | None]
    inner: InnerForm
    most: int = MOST_OPERATORS
    nodes: list[OnnxNode] = field(default_factory=list)
    _constants: dict[OnnxTensor, OnnxValue] = field(default_factory=dict)

    # -- operands

    @property
    def shape(self) -> Shape:
        """The shape of the value for one image."""
        return self.node.shape

    def parameter(self, name: str) -> OnnxValue | None:
        """Return a parameter by the op's own name; None if this node does not have it (no bias)."""
        return self.parameters.get(name)

    def whole(self, index: int) -> OnnxValue:
        """Return an input that holds whole numbers as a tensor of int64."""
        given = self.typed_input(index, "int64")
        return given if given is not None else self.cast(self("Round", self.x[index]), "int64")

    def booleans(self, index: int) -> OnnxValue:
        """Return an input that holds booleans as a tensor of bool."""
        given = self.typed_input(index, "bool")
        return given if given is not None else self.cast(self.x[index], "bool")

    # -- operators

    def operators(
        self, operator: str, *inputs: OnnxValue | None, outputs: int, **attributes: OnnxAttribute
    ) -> tuple[OnnxValue, ...]:
        """Append an operator with several outputs, and return them.

        Raises:
            TooManyOperatorsError: Nothing is appended.
        """
        if len(self.nodes) >= self.most:
            raise TooManyOperatorsError
        made = tuple(OnnxValue() for _ in range(outputs))
        given = list(inputs)
        while given and given[-1] is None:
            given.pop()
        self.nodes.append(OnnxNode(operator, tuple(given), made, attributes, self.node))
        return made

    def __call__(
        self, operator: str, *inputs: OnnxValue | None, **attributes: OnnxAttribute
    ) -> OnnxValue:
        """Append an operator, and return its output."""
        (made,) = self.operators(operator, *inputs, outputs=1, **attributes)
        return made

    def cast(self, x: OnnxValue, number: Number) -> OnnxValue:
        """Return a value as numbers of another type."""
        return self("Cast", x, to=ONNX_TYPES[number])

    # -- numbers

    def floats(self, numbers: Iterable[float], shape: tuple[int, ...]) -> OnnxValue:
        """Return an array of float32."""
        return self._constant(OnnxTensor(tuple(map(float, numbers)), shape, "float32"))

    def float(self, number: float) -> OnnxValue:
        """Return one number of float32, which broadcasts."""
        return self.floats((number,), ())

    def ints(self, *numbers: int) -> OnnxValue:
        """Return a vector of int64."""
        return self._constant(OnnxTensor(numbers, (len(numbers),), "int64"))

    def int_array(self, numbers: Iterable[int], shape: tuple[int, ...]) -> OnnxValue:
        """Return an array of int64."""
        return self._constant(OnnxTensor(tuple(numbers), shape, "int64"))

    def _constant(self, tensor: OnnxTensor) -> OnnxValue:
        if tensor not in self._constants:
            self._constants[tensor] = self("Constant", value=tensor)
        return self._constants[tensor]

    # -- shapes

    def sizes(self, dims: Sequence[Dim]) -> OnnxValue:
        """Return sizes as a vector of int64; `BATCH` is that of the batch."""
        if all(isinstance(dim, int) for dim in dims):
            return self.ints(*(dim for dim in dims if isinstance(dim, int)))
        parts = [self.ints(d) if isinstance(d, int) else self.size_of(d) for d in dims]
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=0)

    def size_as_float(self, size: Dim) -> OnnxValue:
        """Return a size as a number of float32, which broadcasts."""
        return (
            self.float(size) if isinstance(size, int) else self.cast(self.size_of(size), "float32")
        )

    def reshaped(self, x: OnnxValue, shape: Sequence[Dim]) -> OnnxValue:
        """Return x, whose first axis is the batch, with another shape for each image.

        The batch is copied (0), so that its size stays known as N; one open size is inferred (-1).
        """
        unknown = [dim for dim in shape if isinstance(dim, Size)]
        if len(unknown) > 1:
            return self("Reshape", x, self.sizes((BATCH, *shape)))
        return self("Reshape", x, self.ints(0, *(d if isinstance(d, int) else -1 for d in shape)))

    def transposed(self, x: OnnxValue, axes: Sequence[int]) -> OnnxValue:
        """Return x with its axes in another order, the batch's in front."""
        return self("Transpose", x, perm=(0, *axes))

    def part(self, x: OnnxValue, axis: int, start: Dim, stop: Dim, step: int = 1) -> OnnxValue:
        """Return places along an axis, counted with the batch as axis 0."""
        ends = self.sizes([start]), self.sizes([stop]), self.ints(axis)
        return self("Slice", x, *ends, self.ints(step) if step != 1 else None)

    def split(self, x: OnnxValue, count: int, axis: int) -> tuple[OnnxValue, ...]:
        """Return equal parts along an axis."""
        options = {"num_outputs": count} if self.opset >= 18 else {}
        return self.operators("Split", x, outputs=count, axis=axis, **options)

    def reduced(
        self, operator: str, x: OnnxValue, axes: Sequence[int], *, keep: bool = True
    ) -> OnnxValue:
        """Append a reduction. Before opset 18, all but ReduceSum take their axes as an attribute."""
        keepdims = int(keep)
        if self.opset < 18 and operator != "ReduceSum":
            return self(operator, x, axes=tuple(axes), keepdims=keepdims)
        return self(operator, x, self.ints(*axes), keepdims=keepdims)

    def beside(self, parameter: OnnxValue, count: int) -> OnnxValue:
        """Return a vector with `count` axes of size 1 behind it."""
        return self("Reshape", parameter, self.ints(-1, *(1,) * count)) if count else parameter

    # -- formulas

    def formula(self, formula: Expression, values: Mapping[str, OnnxValue]) -> OnnxValue:
        """Append a formula, one operator for each of its functions."""
        known: dict[Expression, OnnxValue] = {}

        def value(part: Expression) -> OnnxValue:
            if isinstance(part, Var):
                return values[part.name]
            if isinstance(part, Const):
                return self.float(part.value)
            if part not in known:
                assert isinstance(part, Apply)
                known[part] = self._function(part.function, [value(a) for a in part.arguments])
            return known[part]

        return value(formula)

    def _function(self, name: str, arguments: Sequence[OnnxValue]) -> OnnxValue:
        one = self.float(1.0) if name in ("expm1", "log1p") else None
        if name == "log1p":
            return self("Log", self("Add", *arguments, one))
        if name == "expm1":
            return self("Sub", self("Exp", *arguments), one)
        return self(FUNCTIONS[name].onnx, *arguments)
