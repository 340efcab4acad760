"""What a run should have computed, given its own preceding values.

Two correct programs can diverge where rounding decides: on which side of a ReLU's kink a number is,
or which of two nearly equal pixels a pool selects. From there on they differ by much, and neither
is wrong. So where they differ, the value of each is compared with what the reference computes from
that program's *own* inputs. This tells a fault from rounding, and at which node the fault is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Evaluation
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.difference import distance
from netspec.tools.agreement.quantities import LOSS, Item, Trace, holders

Array = NDArray[Any]

# Programs may round in a different order than the reference.
ROUNDINGS = 32


class LocalReference:
    """The reference, evaluated one node at a time on the numbers of one trace.

    Numbers that the trace does not hold (the inner values of a fused kernel) are computed from
    those that it holds. The computation is in float64, or in float32 to see what rounding does to
    the reference itself. `shakes` changes the last bits of the gradients that it is given, to see
    the effect of earlier rounding.
    """

    def __init__(
        self,
        graph: Graph,
        case: Trial,
        trace: Trace,
        dtype: DTypeLike = np.float64,
        *,
        shakes: bool = False,
    ) -> None:
        self.dtype = dtype
        self.shakes = shakes
        self.graph = graph
        self.case = case
        self.trace = trace
        self._runs: dict[str, tuple[Evaluation, Array]] = {}
        self._backward: dict[str, tuple[Array, ...]] = {}
        self._readers: dict[str, list[tuple[str, int]]] = {}
        for node in graph.nodes:
            for i, value in enumerate(node.inputs):
                self._readers.setdefault(value, []).append((node.name, i))

    def expected(self, item: Item) -> Array:
        """Return the correct value of the item."""
        if item.kind == "value":
            return self._run(item.name)[1]
        if item.kind == "output":
            return self._seen(self.graph.outputs[item.name])
        if item.kind == "buffer":
            return self._buffer(item.name)
        if item == LOSS:
            return np.array(self._objective()[0])
        if item.kind == "loss gradient":
            return self._objective()[1][item.name]
        if item.kind == "contribution":
            return self._contributions(item.name)[item.index]
        if item.kind == "parameter":
            return self._parameter(item.name)
        return self._sum(item.name)

    def rounding(self, item: Item) -> float:
        """Return how far rounding in the trace's precision can move a number of the item.

        It is measured on the reference.

        If terms cancel, the error is large compared to the result. It is measured in float32 and
        scaled to the precision. Terms that cancel exactly in float32 show no error there, so the
        last bits of gradients are changed too. Those of values are not changed, because that could
        select another piece of an op with kinks.
        """
        expected = self.expected(item)
        single = LocalReference(self.graph, self.case, self.trace, np.float32).expected(item)
        shaken = LocalReference(self.graph, self.case, self.trace, shakes=True).expected(item)
        ratio = np.finfo(self.trace[item].dtype).eps / np.finfo(np.float32).eps
        return ROUNDINGS * max(
            float(ratio) * distance(expected, single).gap, distance(expected, shaken).gap
        )

    # -- forward

    def _seen(self, value: str) -> Array:
        """Return a value as in the trace, or the expected value if the trace does not have it."""
        if value in self.graph.inputs:
            return self._cast(self.case.inputs[value])
        found = self.trace.get(Item("value", value))
        return self._cast(found) if found is not None else self._run(value)[1]

    def _cast(self, array: Array) -> Array:
        """Return a copy in the type to compute in; integers stay integers."""
        return array.astype(self.dtype) if array.dtype.kind == "f" else array.copy()

    def _run(self, name: str) -> tuple[Evaluation, Array]:
        if name not in self._runs:
            node = self.graph.by_name[name]
            needed = {
                full: self._cast(self.case.parameters[full]) for full in node.parameters.values()
            }
            self._runs[name] = self._evaluate(node, needed)
        return self._runs[name]

    def _evaluate(self, node: Node, parameters: dict[str, Array]) -> tuple[Evaluation, Array]:
        own = {name: parameters[full] for name, full in node.parameters.items()}
        masks = self.case.masks
        if node.name in masks:
            masks = {node.name: self._cast(masks[node.name])}
        run = Evaluation(node, self.case.training, own, masks)
        return run, node.op.forward(run, *map(self._seen, node.inputs))

    def _buffer(self, name: str) -> Array:
        """Return a buffer after the pass: the nodes that hold it update it in turn."""
        parameters = {full: self._cast(array) for full, array in self.case.parameters.items()}
        for node in holders(self.graph, name):
            self._evaluate(node, parameters)
        return parameters[name]

    def _objective(self) -> tuple[float, dict[str, Array]]:
        outputs = {}
        for name, value in self.graph.outputs.items():
            found = self.trace.get(Item("output", name))
            outputs[name] = self._seen(value) if found is None else self._cast(found)
        return self.case.objective.reference(outputs)

    # -- backward

    def _contributions(self, name: str) -> tuple[Array, ...]:
        if name not in self._backward:
            node = self.graph.by_name[name]
            run = self._run(name)[0]
            x = [self._seen(value) for value in node.inputs]
            self._backward[name] = node.op.backward(run, self._gradient(name), *x)
        return self._backward[name]

    def _gradient(self, value: str) -> Array:
        """Return the gradient of a value as in the trace, or the expected one if it is not there."""
        found = self.trace.get(Item("gradient", value))
        return self._arriving(found) if found is not None else self._sum(value)

    def _arriving(self, gradient: Array) -> Array:
        """Convert a gradient of the trace for computation."""
        return self._cast(shaken(gradient) if self.shakes else gradient)

    def _sum(self, value: str) -> Array:
        """Sum what the outputs and the readers of a value contribute to its gradient."""
        parts = [
            self._arriving(self.trace.get(Item("loss gradient", name), np.zeros(1)))
            for name, output in self.graph.outputs.items()
            if output == value
        ]
        for reader, i in self._readers.get(value, ()):
            found = self.trace.get(Item("contribution", reader, i))
            if found is None:
                parts.append(self._contributions(reader)[i])
            else:
                parts.append(self._arriving(found))
        total: Array = sum(parts[1:], parts[0])
        return total

    def _parameter(self, name: str) -> Array:
        total: Array = np.zeros(1, self.dtype)
        for node in holders(self.graph, name):
            self._contributions(node.name)
            run = self._run(node.name)[0]
            for own, full in node.parameters.items():
                if full == name:
                    total = total + run.gradients[own]
        return total


def shaken(array: Array) -> Array:
    """Return floats as float64, each with its last bit (of its own type) changed up or down."""
    signs = np.random.default_rng(0).choice((-1.0, 1.0), array.shape)
    changed: Array = array.astype(np.float64) * (1 + np.finfo(array.dtype).eps * signs)
    return changed
