"""The op of scan blocks: a step of one's own, over the items of a sequence."""

import dataclasses
import math
from collections.abc import Mapping
from typing import NamedTuple

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.scan_body import RESULT, ScanBody
from netspec.compiler.ops.families.scan_lowering import ScanLowering
from netspec.records import record

# The values of a step, by name.
_Values = dict[str, Array]


class _Step(NamedTuple):
    """What a step computed, and what its nodes saved for backward."""

    values: _Values
    runs: dict[str, Evaluation]


@record
class Scan(Op):
    """A recurrence: with a step f, `(y[t], h[t]) = f(x[t], h[t - 1], w)`, and y[t] are stacked.

    x (T, ...) is gone over along its first axis, w are values that every step is given whole, and h
    the states, which begin with numbers or with some of w. The parameters are those of f. Going back,
    each step gets the gradient of y[t] and that of h[t] from the step behind it; the gradients of w
    and of parameters are summed over the steps.
    """

    body: ScanBody

    name = "scan"
    arity = None
    storage = Storage.ROW_MAJOR

    @classmethod
    def attributes(cls) -> Mapping[str, dataclasses.Field[object]]:
        """None: a file gives it a block."""
        return {}

    def __str__(self) -> str:
        """The call of the block."""
        body = self.body
        return f"{body.block}({body.arguments})" if body.arguments else body.block

    # -- checking

    def _step(self, inputs: tuple[Shape, ...]) -> Graph:
        return self.body.at(inputs[0][1:], *inputs[1:])

    def takes(self, index: int) -> tuple[NumberType, ...]:
        """What the block's body takes."""
        graph = self.body.graph
        return (graph.holds(list(graph.inputs)[index]),)

    def whole_numbers(self, index: int) -> int | None:
        """What the block's body takes."""
        graph = self.body.graph
        return graph.whole_inputs.get(list(graph.inputs)[index])

    def places(self, index: int, *inputs: Shape) -> tuple[tuple[int, Array | None], ...]:
        """Those of the block's body, in each item of the sequence."""
        from netspec.compiler.ir.places import places_read  # NumPy, which checking does without

        graph = self._step(inputs)
        read = places_read(graph).get(list(graph.inputs)[index], ())
        known = [at for _, _, at in read if at is not None]
        if index or not known:
            return tuple((limit, at) for limit, _, at in read)
        starts = math.prod(inputs[0][1:]) * np.arange(inputs[0][0])[:, None]
        return tuple(
            (limit, None if at is None else (starts + at).reshape(-1)) for limit, _, at in read
        )

    def shape(self, *inputs: Shape) -> Shape:
        """The steps, and the shape of what each returns."""
        graph = self._step(inputs)
        return (inputs[0][0], *graph.shape_of(graph.outputs[RESULT]))

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """Those of the step, under their names in the block; those that are tied under both."""
        graph, local = self.body.graph, self.body.local
        names = [*((name, name) for name in graph.parameters), *graph.ties.items()]
        held = ((own, graph.parameters[full]) for own, full in names)
        return tuple(ParameterSpec(local(own), p.shape, p.initializer, p.role) for own, p in held)

    def untrained_row(self, parameter: str) -> int | None:
        """Those of the step."""
        return self.body.graph.untrained_rows.get(f"{self.body.path}.{parameter}")

    def macs(self, *inputs: Shape) -> int:
        """Those of the step, for each item."""
        graph = self._step(inputs)
        return inputs[0][0] * sum(n.op.macs(*graph.shapes_into(n)) for n in graph.nodes)

    def sees(self, *inputs: Shape) -> tuple[tuple[int, float], ...] | None:
        """None: a step depends on all before it."""
        return None

    def inner_layers(self) -> int:
        """Those of the step."""
        return sum(1 + node.op.inner_layers() for node in self.body.graph.nodes)

    def steps(self) -> ScanBody | None:
        """The body of the block."""
        return self.body

    # -- position by position

    def advance(self, to: StepForm) -> str:
        """The layers of one step, from the states that the one before left.

        Raises:
            NotCausalError: if a state begins with a value, or steps are given all positions.
        """
        body, graph = self.body, self.body.graph
        if any(isinstance(state.start, str) for state in body.states):
            raise to.refused("begins with a state that is computed")
        if to.over[0] != 1 or any(to.over[1:]):
            raise to.refused("does not go over the positions alone")
        to.singly()
        step = self._step(to.x_shapes)
        values = dict(zip(body.given, (to("squeeze", to.x[0], axes=(1,)), *to.x[1:]), strict=True))
        for state in body.states:
            shape = step.inputs[state.name]
            values[state.name] = to.hold(state.name, shape, float(state.start), None)
        before = {state.name: values[state.name] for state in body.states}
        for node in graph.nodes:
            own = node.parameters.items()
            parameters = {name: to.node.parameters[body.local(full)] for name, full in own}
            inputs = tuple(values[value] for value in node.inputs)
            values[node.name] = to.add(node.op, inputs, parameters)
        for name, held in before.items():
            to.leave(held, values[graph.outputs[name]])
        return to("unsqueeze", values[graph.outputs[RESULT]], axis=1)

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """One step after the other."""
        return np.stack([step.values[self._result] for step in self._all(run, x)], axis=1)

    @property
    def _result(self) -> str:
        return self.body.graph.outputs[RESULT]

    def _run(self, run: Evaluation, node: Node) -> Evaluation:
        own = {n: run.parameters[self.body.local(full)] for n, full in node.parameters.items()}
        return Evaluation(node, run.training, own)

    def _all(self, run: Evaluation, x: tuple[Array, ...]) -> list[_Step]:
        """Return what each step computed."""
        graph, given = self.body.graph, self.body.given
        whole = dict(zip(given[1:], x[1:], strict=True))
        states: _Values = {}
        for state in self.body.states:
            if isinstance(state.start, str):
                states[state.name] = whole[state.start]
            else:
                shape = self._step(tuple(a.shape[1:] for a in x)).inputs[state.name]
                states[state.name] = np.full((len(x[0]), *shape), state.start, x[0].dtype)
        steps = []
        for t in range(x[0].shape[1]):
            values = {given[0]: x[0][:, t], **whole, **states}
            runs = {node.name: self._run(run, node) for node in graph.nodes}
            for node in graph.nodes:
                inputs = [values[value] for value in node.inputs]
                values[node.name] = node.op.forward(runs[node.name], *inputs)
            steps.append(_Step(values, runs))
            states = {s.name: values[graph.outputs[s.name]] for s in self.body.states}
        return steps

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """The same steps backward."""
        kept = {name: np.array(array) for name, array in run.parameters.items()}
        again = dataclasses.replace(run, parameters=kept)  # statistics are not updated twice
        steps, given = self._all(again, x), self.body.given
        dx = [np.zeros(a.shape, dy.dtype) for a in x]
        dstates = {s.name: np.zeros_like(steps[0].values[s.name]) for s in self.body.states}
        for t in reversed(range(len(steps))):
            found = self._back(run, steps[t], dy[:, t], dstates)
            dx[0][:, t] = found.get(given[0], 0)
            for i, name in enumerate(given[1:], 1):
                dx[i] += found.get(name, 0)
            dstates = {s: found.get(s, np.zeros_like(d)) for s, d in dstates.items()}
        for state in self.body.states:
            if isinstance(state.start, str):
                dx[given.index(state.start)] += dstates[state.name]
        return tuple(dx)

    def _back(self, run: Evaluation, step: _Step, dy: Array, dstates: _Values) -> _Values:
        """Return the gradients of the values of a step; those of parameters are added up."""
        graph, found = self.body.graph, dict[str, Array]()
        for name, gradient in ((RESULT, dy), *dstates.items()):
            value = graph.outputs[name]
            found[value] = found.get(value, 0) + gradient
        for node in reversed(graph.nodes):
            if node.name not in found:
                continue
            inner, inputs = step.runs[node.name], [step.values[value] for value in node.inputs]
            parts = node.op.backward(inner, found[node.name], *inputs)
            for value, part in zip(node.inputs, parts, strict=True):
                found[value] = found.get(value, 0) + part
            for own, gradient in inner.gradients.items():
                name = self.body.local(node.parameters[own])
                run.gradients[name] = run.gradients.get(name, 0) + gradient
        return found

    # -- lowering

    def lower(self, to: Lowering) -> None:
        """A kernel that calls the compiled step for each item."""
        ScanLowering(to, self.body, self._step(to.x_shapes)).forward()

    def lower_backward(self, to: Lowering) -> None:
        """A kernel that calls the step's backward for each item, from the last to the first."""
        ScanLowering(to, self.body, self._step(to.x_shapes)).backward()

    # -- PyTorch

    def torch(self, *inputs: Shape) -> Torch:
        """A class of the net's own, whose `forward` is a loop over the steps."""
        body = dataclasses.replace(self.body, graph=self._step(inputs))
        values = tuple(map(X, range(len(inputs))))
        return Torch(body.class_name, inputs=values, defines=body)

    # -- ONNX

    def onnx(self, to: OnnxForm) -> OnnxValue:
        """`Scan`, whose body reads parameters and what every step is given whole from around it."""
        body, graph = self.body, self._step(to.x_shapes)
        values = [self._onnx_input(to, i) for i in range(len(to.x))]
        whole = dict(zip(body.given[1:], values[1:], strict=True))
        starts = []
        for state in body.states:
            if isinstance(state.start, str):
                starts.append(whole[state.start])
            else:
                sizes = to.sizes((BATCH, *graph.inputs[state.name]))
                starts.append(to("Expand", to.float(state.start), sizes))
        parameters = {full: to.parameters[body.local(full)] for full in graph.parameters}
        names = [state.name for state in body.states]
        step = to.inner(graph, parameters, whole, (*names, body.given[0]), (*names, RESULT))
        *_, stacked = to.operators(
            "Scan", *starts, values[0], outputs=len(names) + 1, body=step, num_scan_inputs=1,
            scan_input_axes=(1,), scan_output_axes=(1,),
        )  # fmt: skip
        return stacked

    def _onnx_input(self, to: OnnxForm, index: int) -> OnnxValue:
        """Return an input as the step takes it."""
        holds = self.takes(index)[0]
        if holds == "int" or self.whole_numbers(index) is not None:
            return to.whole(index)
        return to.booleans(index) if holds == "bool" else to.x[index]
