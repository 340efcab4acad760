"""Lowers a graph to a plan: each op lowers itself forward, then, in reverse order, backward."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

from netspec.compiler.ir.expression import Var
from netspec.compiler.ir.expression import total as sum_of
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.layout import Layout
from netspec.compiler.ir.plan import (
    Buffer,
    ElementwiseStep,
    GradientRef,
    KernelStep,
    Lowering,
    Operand,
    Option,
    Plan,
    Step,
    ViewStep,
)
from netspec.compiler.numpy_backend.layouts import assign_layouts

Inner = Callable[..., Plan]
"""What `lower` is, with other steps behind it."""


def lower(
    graph: Graph,
    *,
    training: bool,
    backward: bool = True,
    input_gradients: bool = False,
    keep_activations: bool = False,
    frozen: frozenset[str] = frozenset(),
    inner: Inner | None = None,
) -> Plan:
    """Return the plan of a graph, with one or more steps for each node, before any pass.

    Args:
        graph: a checked graph without dead nodes.
        training: whether to use batch statistics and dropout masks, or running statistics and no
            masks.
        backward: whether any gradients are computed.
        input_gradients: whether the gradients of the net's inputs are computed too.
        keep_activations: keep every activation, its gradient, and the terms of which that is the
            sum, for a checker.
        frozen: parameters that are not trained. They get no gradient. A layer without any other
            parameters to train runs as in evaluation.
        inner: makes the plan of a graph within an op, for the same options; by default this function.
    """
    inner = functools.partial(inner or lower, backward=backward, frozen=frozen)
    lowerer = _Lowerer(graph, training, input_gradients, keep_activations, frozen, inner)
    return lowerer.plan(backward)


class _Lowerer:
    def __init__(
        self,
        graph: Graph,
        training: bool,
        input_gradients: bool,
        keep: bool,
        frozen: frozenset[str],
        inner: Inner,
    ) -> None:
        self.graph = graph
        self.frozen = frozen
        self.inner = inner
        self.training = training
        self.keep = keep
        self.sample: list[Step] = []
        self.forward: list[Step] = []
        self.backward: list[Step] = []
        self.values: dict[str, Buffer] = {}
        self.layouts = assign_layouts(graph)
        self.moved: dict[tuple[str, Layout], Buffer] = {}
        self.lowered: dict[str, Lowering] = {}
        # The gradient of a value is the sum of the contributions of its readers.
        self.contributions: dict[str, list[Buffer]] = {}
        self.filled: set[str] = set()
        self.needs_gradient = self._find_needed(input_gradients)
        self.activation_gradients: dict[str, Buffer] = {}
        self.edges: dict[tuple[str, int], Buffer] = {}

    def _find_needed(self, input_gradients: bool) -> set[str]:
        """Return the values through which a wanted gradient flows."""
        needed = set(self.graph.real_inputs) if input_gradients else set()
        for node in self.graph.nodes:
            parameters = [p for p in node.parameters.values() if p not in self.frozen]
            trained = any(self.graph.parameters[p].trainable for p in parameters)
            if trained or any(value in needed for value in node.inputs):
                needed.add(node.name)
        return needed

    def plan(self, backward: bool) -> Plan:
        inputs = {name: self._input(name) for name in self.graph.inputs}
        for node in self.graph.nodes:
            self._forward(node)
        outputs = {name: self._output(name, value) for name, value in self.graph.outputs.items()}
        output_gradients: dict[str, Buffer] = {}
        input_gradients: dict[str, Buffer] = {}
        if backward:
            for name, value in self.graph.outputs.items():
                output_gradients[name] = self._output_gradient(name, value)
            for node in reversed(self.graph.nodes):
                self._backward(node)
            for name in self.graph.inputs:
                if name in self.needs_gradient and name in self.contributions:
                    input_gradients[name] = self._input_gradient(name)
        kept: set[Buffer] = set()
        if self.keep:
            kept = {*self.values.values(), *self.activation_gradients.values()}
            kept |= set(self.edges.values())
        return Plan(
            training=self.training,
            inputs=inputs,
            outputs=outputs,
            output_gradients=output_gradients,
            input_gradients=input_gradients,
            sample=tuple(self.sample),
            forward=tuple(self.forward),
            backward=tuple(self.backward),
            activations=dict(self.values),
            activation_gradients=dict(self.activation_gradients),
            contributions=dict(self.edges),
            kept=frozenset(kept),
            nodes=self.graph.by_name,
            layouts=self.layouts,
        )

    # -- the borders, where values are in row-major order

    def _input(self, name: str) -> Buffer:
        shape, layout = self.graph.inputs[name], self.layouts[name]
        value = Buffer(name, layout.stored(shape))
        self.values[name] = value
        if layout.is_row_major:
            return value
        given = Buffer(f"{name}.nchw", shape)
        self._reorder(self.forward, "copies.to_channels_last", given, value, name)
        return given

    def _output(self, name: str, value: str) -> Buffer:
        shape = self.graph.shape_of(value)
        if self.layouts[value].is_row_major:
            return self.values[value]
        out = Buffer(f"output.{name}.nchw", shape)
        self._reorder(self.forward, "copies.to_channels_first", self.values[value], out, value)
        return out

    def _output_gradient(self, name: str, value: str) -> Buffer:
        shape, layout = self.graph.shape_of(value), self.layouts[value]
        dy = Buffer(f"output.{name}.dy", layout.stored(shape))
        self.contributions.setdefault(value, []).append(dy)
        if layout.is_row_major:
            return dy
        given = Buffer(f"output.{name}.dy.nchw", shape)
        self._reorder(self.backward, "copies.to_channels_last", given, dy, value)
        return given

    def _input_gradient(self, name: str) -> Buffer:
        shape = self.graph.inputs[name]
        dx = self._gradient_of(name)
        if self.layouts[name].is_row_major:
            return dx
        out = Buffer(f"{name}.dx.nchw", shape)
        self._reorder(self.backward, "copies.to_channels_first", dx, out, name)
        return out

    def _reorder(
        self, steps: list[Step], kernel: str, source: Buffer, out: Buffer, value: str
    ) -> None:
        if self.layouts[value].keeps_order(self.graph.shape_of(value)):
            steps.append(ViewStep(out, source, value))
        else:
            steps.append(KernelStep(kernel, (source, out), (out,), {}, None, value))

    # -- nodes

    def _forward(self, node: Node) -> None:
        given, layout = self._layouts_into(node), self.layouts[node.name]
        out = Buffer(node.name, layout.stored(node.shape))
        self.values[node.name] = out
        is_training = self.training and not is_frozen(self.graph, node, self.frozen)
        to = Lowering(
            node,
            [self._stored(value, each) for value, each in zip(node.inputs, given, strict=True)],
            self.graph.shapes_into(node),
            out,
            given,
            layout,
            training=is_training,
            emit=self.forward.append,
            sample=self.sample.append,
            inner=functools.partial(self.inner, training=is_training, input_gradients=True),
        )
        node.op.lower(to)
        self.lowered[node.name] = to

    def _backward(self, node: Node) -> None:
        if node.name not in self.needs_gradient or node.name not in self.contributions:
            return
        to = self.lowered[node.name]
        dy = self._gradient_of(node.name)
        self.activation_gradients[node.name] = dy
        wanted = tuple(value in self.needs_gradient for value in node.inputs)
        sums: list[Step] = []
        to.begin_backward(dy, wanted, self.backward.append, self._parameter_gradient(node, sums))
        node.op.lower_backward(to)
        self.backward.extend(sums)
        for i, given in to.input_gradients.items():
            buffer = self._stored_back(node, i, given)
            self.contributions.setdefault(node.inputs[i], []).append(buffer)
            self.edges[node.name, i] = buffer

    def _layouts_into(self, node: Node) -> tuple[Layout, ...]:
        """Return the layouts in which an op wants its inputs."""
        given = [self.layouts[value] for value in node.inputs]
        return node.op.storage.wanted(given, len(node.shape))[0]

    def _stored(self, value: str, layout: Layout) -> Buffer:
        """Return a value in a layout: a copy, made once, if it is stored in another."""
        if layout == self.layouts[value]:
            return self.values[value]
        if (value, layout) not in self.moved:
            order = "_".join(map(str, layout.order))
            out = Buffer(f"{value}.as_{order}", layout.stored(self.graph.shape_of(value)))
            layouts = (self.layouts[value], layout)
            self.forward.append(self._move(self.values[value], out, layouts, value, value))
            self.moved[value, layout] = out
        return self.moved[value, layout]

    def _stored_back(self, node: Node, index: int, gradient: Buffer) -> Buffer:
        """Return a node's gradient of an input in the layout of that value."""
        value, layout = node.inputs[index], self._layouts_into(node)[index]
        if layout == self.layouts[value]:
            return gradient
        shape = self.layouts[value].stored(self.graph.shape_of(value))
        out = Buffer(f"{node.name}.dx{index}.back", shape)
        layouts = (layout, self.layouts[value])
        self.backward.append(self._move(gradient, out, layouts, value, node.name))
        return out

    def _move(
        self, source: Buffer, out: Buffer, layouts: tuple[Layout, Layout], value: str, node: str
    ) -> Step:
        """Return the step that copies a value, or its gradient, from the first layout to the second."""
        old, new = layouts
        if old.keeps_order(self.graph.shape_of(value), new):
            return ViewStep(out, source, node)
        axes = tuple(old.position(axis) - 1 for axis in new.order)
        options: dict[str, Option] = {"split": source.shape, "axes": axes}
        return KernelStep("copies.transpose", (source, out), (out,), options, None, node)

    def _gradient_of(self, value: str) -> Buffer:
        """Return a buffer with the sum of a value's contributions."""
        parts = self.contributions[value]
        if len(parts) == 1:
            return parts[0]
        total = Buffer(f"{value}.dy", parts[0].shape)
        names = [f"dy{i}" for i in range(len(parts))]
        formula = sum_of([Var(name) for name in names])
        operands = dict(zip(names, parts, strict=True))
        self.backward.append(ElementwiseStep(total, formula, operands, (value,), ("add",)))
        self.contributions[value] = [total]
        return total

    def _parameter_gradient(
        self, node: Node, sums: list[Step]
    ) -> Callable[[str], Buffer | GradientRef]:
        """Return the function that gives the array for a parameter's gradient.

        The gradients of a shared parameter are added up, by steps that are appended to `sums`.
        """

        def where(name: str) -> Buffer | GradientRef:
            if name in self.frozen:  # its kernel writes a gradient all the same
                shape = self.graph.parameters[name].shape
                return Buffer(f"{node.name}.d({name})", shape, batched=False)
            gradient = GradientRef(name)
            if name not in self.filled:
                self.filled.add(name)
                return gradient
            part = Buffer(
                f"{node.name}.d({name})", self.graph.parameters[name].shape, batched=False
            )
            operands: dict[str, Operand] = {"sum": gradient, "part": part}
            formula = Var("sum") + Var("part")
            sums.append(ElementwiseStep(gradient, formula, operands, (node.name,), ("add",)))
            return part

        return where


def is_frozen(graph: Graph, node: Node, frozen: Collection[str]) -> bool:
    """Whether no parameter or buffer of a layer changes in training.

    This is so if all of its trainable parameters are frozen. If it has none, like a batch norm
    without weight and bias, all of its buffers must be.
    """
    names = list(node.parameters.values())
    trained = [name for name in names if graph.parameters[name].trainable]
    return bool(names) and all(name in frozen for name in trained or names)
