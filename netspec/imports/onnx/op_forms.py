"""The ONNX forms of ops as patterns: what netspec writes, it finds again."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from netspec.compiler.ir.graph import Node, Origin, Shape
from netspec.compiler.ir.onnx_form import (
    OnnxBody,
    OnnxForm,
    OnnxNode,
    OnnxTensor,
    OnnxValue,
    TooManyOperatorsError,
)
from netspec.compiler.ir.op import NoOnnxFormError, Op, ShapeError
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.syntax.tree import Call, Name
from netspec.diagnostics import Source, Span
from netspec.imports.onnx.modern import modern
from netspec.imports.onnx.patterns import Applied, Numbers, Pattern, Sizes, Wanted

# The opsets at which a form changes; the last is the one that `modern` brings operators to.
OPSETS = (20, 17, 21)

_NOWHERE = Span(Source("", ""), 0, 0)


@functools.cache
def shapeless_forms(op: Op) -> tuple[Applied, ...]:
    """Return the patterns of an op that are the same for all shapes."""
    count = op.arity or 2
    shapes = ((1,),) * count
    return tuple(filter(None, (form_pattern(op, shapes, opset) for opset in OPSETS)))


def form_pattern(
    op: Op, shapes: Sequence[Shape], opset: int, whole: frozenset[int] = frozenset()
) -> Applied | None:
    """Return the pattern of an op for inputs of these shapes; None if it has no form.

    Inputs are called `x0`, `x1` and so on, parameters by the op's own names behind `p:`.

    Args:
        op: the op.
        shapes: the shapes of its inputs for one image.
        opset: the opset of the form.
        whole: the inputs that hold whole numbers.
    """
    if not _takes(op, len(shapes)):
        return None
    try:
        shape = op.shape(*shapes)
        specs = op.parameters(*shapes)
    except (ShapeError, OverflowError):
        return None
    inputs = tuple(OnnxValue(f"x{i}") for i in range(len(shapes)))
    parameters = {spec.name: OnnxValue(f"p:{spec.name}") for spec in specs}
    sizes: dict[OnnxValue, Dim] = {}

    def size_of(size: Dim) -> OnnxValue:
        value = OnnxValue()
        sizes[value] = size
        return value

    origin = Origin(_NOWHERE, Call(Name("", _NOWHERE), (), _NOWHERE))
    node = Node(
        "", op, tuple(v.name for v in inputs), shape, {s.name: s.name for s in specs}, origin
    )
    form = OnnxForm(
        node=node, x=inputs, x_shapes=tuple(shapes), opset=opset, parameters=parameters,
        size_of=size_of, typed_input=lambda i, number: (
            inputs[i] if number == "int64" and i in whole else None
        ),
        inner=_no_body,
    )  # fmt: skip
    try:
        root = op.onnx(form)
    except (NoOnnxFormError, TooManyOperatorsError):
        return None
    made = _Patterns(form.nodes, opset, sizes)
    for value in (*inputs, *parameters.values()):
        made.known[value] = Wanted(value.name, value in parameters.values())
    pattern = made.pattern(root)
    return pattern if isinstance(pattern, Applied) else None


def _no_body(*_: object, **__: object) -> OnnxBody:
    raise NoOnnxFormError("a loop has no pattern")


def _takes(op: Op, count: int) -> bool:
    """Whether an op with these attributes takes so many values."""
    numbers = sum(getattr(op, name) is not None for name in {*op.number_places} if name)
    if op.arity is None:
        return count + numbers >= 2
    return op.arity <= count + numbers <= op.arity + op.optional


class _Patterns:
    """Makes patterns of the values of one form."""

    def __init__(self, nodes: Sequence[OnnxNode], opset: int, sizes: dict[OnnxValue, Dim]) -> None:
        self._makers = {value: (n, i) for n in nodes for i, value in enumerate(n.outputs)}
        self._opset = opset
        self._sizes = sizes
        self.known: dict[OnnxValue, Pattern] = {}

    def pattern(self, value: OnnxValue) -> Pattern:
        """Return the pattern of a value."""
        if value not in self.known:
            self.known[value] = self._made(value)
        return self.known[value]

    def _made(self, value: OnnxValue) -> Pattern:
        if value in self._sizes:
            return Sizes((self._sizes[value],))
        node, output = self._makers[value]
        if node.operator == "Constant":
            tensor = node.attributes["value"]
            assert isinstance(tensor, OnnxTensor)
            return Numbers(np.array(tensor.numbers, tensor.number).reshape(tensor.shape))
        if node.operator == "Identity" and node.inputs[0] is not None:
            return self.pattern(node.inputs[0])
        if node.operator == "Mod":
            parts = [self.pattern(v) for v in node.inputs if v is not None]
            a, b = (part.array if isinstance(part, Numbers) else None for part in parts)
            if a is not None and b is not None:
                return Numbers(a % b)
        if node.operator == "Concat":
            joined = self._joined_sizes(node)
            if joined is not None:
                return joined
        read = modern(node.operator, node.inputs, node.attributes, self._opset)
        inputs = tuple(self._input(each) for each in read.inputs)
        return Applied(read.operator, inputs, read.attributes, output)

    def _joined_sizes(self, node: OnnxNode) -> Sizes | None:
        """Return the sizes that a vector of sizes holds; None if it holds something else."""
        parts = [self.pattern(v) for v in node.inputs if v is not None]
        found: list[Dim] = []
        for part in parts:
            if isinstance(part, Sizes):
                found += part.sizes
            elif isinstance(part, Numbers) and part.array.dtype.kind == "i":
                found += part.array.reshape(-1).tolist()
            else:
                return None
        return Sizes(tuple(found)) if any(isinstance(s, Size) for s in found) else None

    def _input(self, given: Any) -> Pattern | None:
        if given is None:
            return None
        return self.pattern(given) if isinstance(given, OnnxValue) else Numbers(np.asarray(given))
