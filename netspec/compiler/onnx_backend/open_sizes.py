"""Computes the sizes that a net leaves open, and that of the batch, from the shapes of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.onnx_form import OnnxAttribute, OnnxNode, OnnxTensor, OnnxValue
from netspec.compiler.ir.op import BATCH
from netspec.compiler.ir.sizes import Dim, Floor, Size


class OpenSizes:
    """Makes a tensor (1,) of int64 from each size that is asked for.

    The operators are in front of all others, and those for equal sizes are shared.

    Attributes:
        nodes: the operators.
    """

    def __init__(self, graph: Graph, inputs: Mapping[str, OnnxValue]) -> None:
        self.nodes: list[OnnxNode] = []
        self._inputs = inputs
        self._places: dict[str, tuple[str, int]] = {
            str(dim): (name, axis)
            for name, shape in reversed(list(graph.inputs.items()))
            for axis, dim in reversed(list(enumerate(shape, 1)))
            if isinstance(dim, Size)
        }
        self._places[str(BATCH)] = next(iter(graph.inputs)), 0
        self._known: dict[Dim | Floor | str, OnnxValue] = {}

    def __call__(self, size: Dim) -> OnnxValue:
        """Return a size as a tensor (1,)."""
        if size not in self._known:
            self._known[size] = (
                self._number(size) if isinstance(size, int) else self._polynomial(size)
            )
        return self._known[size]

    def _polynomial(self, size: Size) -> OnnxValue:
        total: OnnxValue | None = None
        for monomial, coefficient in size.terms.items():
            factors = [self._atom(atom) for atom in monomial]
            if coefficient != 1 or not factors:
                factors.append(self(coefficient))
            term = factors[0]
            for factor in factors[1:]:
                term = self._append("Mul", term, factor)
            total = term if total is None else self._append("Add", total, term)
        assert total is not None
        return total

    def _atom(self, atom: str | Floor) -> OnnxValue:
        if atom not in self._known:
            self._known[atom] = self._floor(atom) if isinstance(atom, Floor) else self._named(atom)
        return self._known[atom]

    def _named(self, name: str) -> OnnxValue:
        given, axis = self._places[name]
        return self._append("Shape", self._inputs[given], start=axis, end=axis + 1)

    def _floor(self, atom: Floor) -> OnnxValue:
        # ONNX's division rounds towards zero, which is the same here: sizes are at least 1.
        return self._append("Div", self(atom.numerator), self(atom.divisor))

    def _number(self, number: int) -> OnnxValue:
        return self._append("Constant", value=OnnxTensor((number,), (1,), "int64"))

    def _append(self, operator: str, *inputs: OnnxValue, **attributes: OnnxAttribute) -> OnnxValue:
        made = OnnxValue()
        self.nodes.append(OnnxNode(operator, inputs, (made,), attributes))
        return made
