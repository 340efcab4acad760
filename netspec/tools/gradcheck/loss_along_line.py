"""The loss of the compiled program near a point, and the smooth piece that each point is on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.numpy_backend.lower import lower
from netspec.runtime.engine.program import Program, run_passes
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.numpy_trace import first_channels, step
from netspec.tools.gradcheck.probes import Direction, Target

Array = NDArray[Any]

# How rounding is measured: steps, relative to what is moved, and how many of parameters and inputs.
TINY = 1e-12
SAMPLES = 4


class Landscape:
    """The forward pass, which keeps the values that its kinks depend on.

    Args:
        graph: the net.
        case: the point, and everything that is held fixed, including dropout masks.
    """

    def __init__(self, graph: Graph, case: Trial) -> None:
        self.case = case
        self._graph = graph
        self._kinked = [
            (node, node.inputs)
            for node in graph.nodes
            # Whether an op has kinks does not depend on the numbers.
            if node.op.pattern(*(np.zeros((1, *shape)) for shape in graph.shapes_into(node)))
            is not None
        ]
        plan = lower(graph, training=case.training, backward=False)
        kept = {plan.activations[value] for _, inputs in self._kinked for value in inputs}
        plan = run_passes(dataclasses.replace(plan, kept=frozenset(kept)))
        self._program = Program(graph, plan, np.dtype(np.float64))
        self._parameters = {name: array.copy() for name, array in case.parameters.items()}
        self._inputs = {name: array.copy() for name, array in case.inputs.items()}
        self._moving = dataclasses.replace(case, inputs=self._inputs)
        self.loss, self._pattern = self._run()
        self.rounding = max(self._measure_rounding(), case.objective.resolution(self._outputs))

    def along(self, direction: Direction) -> Callable[[float], float | None]:
        """Return the loss by the distance along a direction; it is None on another smooth piece."""

        def f(t: float) -> float | None:
            loss, pattern = self._moved(direction, t)
            same = all(map(np.array_equal, pattern, self._pattern))
            return loss if same else None

        return f

    def kinks_at(self, direction: Direction, t: float) -> list[tuple[Node, bool]]:
        """Return the nodes on whose kinks the point lies, as found by a step of t either way.

        For each, also whether it is a tie: one of several equal numbers was selected.
        """
        found = []
        ends = [self._moved(direction, s)[1] for s in (t, -t)]
        for i, (node, _) in enumerate(self._kinked):
            if any(not np.array_equal(end[i], self._pattern[i]) for end in ends):
                found.append((node, self._pattern[i].dtype.kind in "iu"))
        return found

    def _moved(self, direction: Direction, t: float) -> tuple[float, list[Array]]:
        for part in direction.parts:
            self._array(part.kind, part.name)[...] += t * part.array
        try:
            return self._run()
        finally:
            for part in direction.parts:
                home = self.case.parameters if part.kind == "parameter" else self.case.inputs
                self._array(part.kind, part.name)[...] = home[part.name]

    def _measure_rounding(self) -> float:
        """Return the rounding error of a difference of two losses.

        This is L(t) - 2 L(0) + L(-t), for steps t so tiny that only rounding is left. Over the nets
        of networks/ it is about one unit in the loss's last place, but a batch norm that normalizes
        the four numbers of a batch of 1x1 pictures can make it hundreds.
        """
        rng = np.random.default_rng(9)
        trained = [p.name for p in self._graph.trainable()]
        target = Target(
            "parameter", tuple(trained), tuple(self.case.parameters[name] for name in trained)
        )
        real = self._graph.real_inputs
        inputs = Target("input", real, tuple(self.case.inputs[name] for name in real))
        largest = 0.0
        for each in (target, inputs):
            for direction in each.directions(SAMPLES if each.names else 0, rng):
                t = TINY * direction.scale
                above, below = (self._moved(direction, s)[0] for s in (t, -t))
                largest = max(largest, abs(above - 2 * self.loss + below))
        return largest

    def _array(self, kind: str, name: str) -> Array:
        return self._parameters[name] if kind == "parameter" else self._inputs[name]

    def _run(self) -> tuple[float, list[Array]]:
        loss, gradients, b = step(self._program, self._moving, self._parameters, {})
        plan = self._program.plan
        activations: Mapping[str, Any] = plan.activations
        self._outputs = {name: b[buffer.name] for name, buffer in plan.outputs.items()}
        pattern = []
        for node, inputs in self._kinked:
            x = [
                first_channels(b[activations[value].name], plan.layouts[value]) for value in inputs
            ]
            found = node.op.pattern(*x)
            assert found is not None
            pattern.append(found)
        # A training pass updates the running statistics, but each pass must start from the same
        # ones.
        for name, parameter in self._graph.parameters.items():
            if not parameter.trainable:
                self._parameters[name][...] = self.case.parameters[name]
        return loss, pattern + self.case.objective.pattern(gradients)
