"""Puts the ONNX forms of a net's ops together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.ir.onnx_form import (
    ONNX_TYPES,
    Number,
    OnnxBody,
    OnnxForm,
    OnnxNode,
    OnnxValue,
    TooManyOperatorsError,
)
from netspec.compiler.ir.op import NoOnnxFormError
from netspec.compiler.ir.places import holds_only_whole
from netspec.compiler.onnx_backend.normalized_inputs import normalized_inputs
from netspec.compiler.onnx_backend.open_sizes import OpenSizes
from netspec.compiler.onnx_backend.program import Array, OnnxProgram, used
from netspec.compiler.passes.layer_limit import most_operators, require_few_operators
from netspec.diagnostics import Diagnostic, NetspecError


def lower(
    graph: Graph,
    parameters: Mapping[str, Array],
    opset: int,
    *,
    softmax: bool = False,
    scales: Mapping[str, InputScale] | None = None,
) -> OnnxProgram:
    """Return a net as ONNX's operators.

    Args:
        graph: the net.
        parameters: the values of its parameters and buffers, by name.
        opset: the version of ONNX's operators.
        softmax: whether outputs become probabilities, where they are not.
        scales: how inputs are normalised, if the model is to do it.

    Raises:
        NetspecError: `compile/no-onnx`, with an error for each layer that has no ONNX form;
            `limit/layers` for very many operators.
    """
    inputs = {name: OnnxValue() for name in graph.inputs}
    held = {name: (OnnxValue(), array) for name, array in parameters.items()}
    sizes = OpenSizes(graph, inputs)
    nodes, normal = normalized_inputs(inputs, graph.inputs, scales or {})
    lowering = _Lowering(graph, opset, sizes, normal, {n: v for n, (v, _) in held.items()})
    missing: list[Diagnostic] = []
    for node in graph.nodes:
        try:
            nodes += lowering.add(node)
        except NoOnnxFormError as error:
            missing.append(_no_form(node, error))
        require_few_operators(len(nodes), node)
    if missing:
        raise NetspecError(missing)
    outputs = {name: lowering.values[value] for name, value in graph.outputs.items()}
    if softmax:
        for name, value in graph.outputs.items():
            real = lowering.numbers[value] == "float32"
            if real and (value in graph.inputs or not graph.by_name[value].op.is_distribution):
                made = OnnxValue()
                nodes.append(OnnxNode("Softmax", (outputs[name],), (made,), {"axis": 1}))
                outputs[name] = made
    values = {**lowering.values, **inputs}
    program = OnnxProgram(
        graph, (*sizes.nodes, *nodes), inputs, outputs, held, values, lowering.numbers
    )
    return program.without_unused()


class _Lowering:
    """Lowers one node after the other, and keeps their values."""

    def __init__(
        self,
        graph: Graph,
        opset: int,
        sizes: OpenSizes,
        inputs: Mapping[str, OnnxValue],
        parameters: Mapping[str, OnnxValue],
    ) -> None:
        self._graph = graph
        self._opset = opset
        self._sizes = sizes
        self._parameters = parameters
        self.values: dict[str, OnnxValue] = dict(inputs)
        self.numbers = {name: _number(graph, name) for name in inputs}

    def add(self, node: Node) -> Sequence[OnnxNode]:
        """Return the operators of a node.

        Raises:
            NoOnnxFormError: if there are none. Its value is then anything.
            NetspecError: `limit/layers`.
        """
        most = most_operators()
        self.values[node.name] = OnnxValue()
        given = [self.values[name] for name in node.inputs]
        numbers = [self.numbers[name] for name in node.inputs]
        moves = node.op.only_moves and len(set(numbers)) == 1
        self.numbers[node.name] = numbers[0] if moves else "float32"
        real = [moves or number == "float32" for number in numbers]
        form = OnnxForm(
            node=node,
            x=tuple(v if r else OnnxValue() for r, v in zip(real, given, strict=True)),
            x_shapes=self._graph.shapes_into(node),
            opset=self._opset,
            parameters={own: self._parameters[full] for own, full in node.parameters.items()},
            size_of=self._sizes,
            typed_input=lambda i, number: given[i] if numbers[i] == number else None,
            inner=self._body,
            most=most,
        )
        for is_real, x, value in zip(real, form.x, given, strict=True):
            if not is_real:  # dropped later where only whole numbers are read
                to = ONNX_TYPES["float32"]
                form.nodes.append(OnnxNode("Cast", (value,), (x,), {"to": to}, node))
        try:
            made = node.op.onnx(form)
        except TooManyOperatorsError:
            require_few_operators(most + 1, node)
            raise
        if not any(made in each.outputs for each in form.nodes):
            made = form("Identity", made)
        self.values[node.name] = made
        return form.nodes

    def _body(
        self,
        graph: Graph,
        parameters: Mapping[str, OnnxValue],
        given: Mapping[str, OnnxValue],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> OnnxBody:
        """Lower a graph within an op; see `InnerForm`."""
        values = {name: given.get(name, OnnxValue()) for name in graph.inputs}
        sizes = OpenSizes(graph, values)
        lowering = _Lowering(graph, self._opset, sizes, values, parameters)
        nodes = [each for node in graph.nodes for each in lowering.add(node)]
        made = {value for each in nodes for value in each.outputs}
        results: list[OnnxValue] = []
        about = {values[n]: (lowering.numbers[n], graph.inputs[n]) for n in inputs}
        for name in outputs:
            source = graph.outputs[name]
            value = lowering.values[source]
            if value not in made or value in results:
                copy = OnnxValue()
                nodes.append(OnnxNode("Identity", (value,), (copy,), {}, graph.by_name.get(source)))
                value = copy
            results.append(value)
            about[value] = lowering.numbers[source], graph.shape_of(source)
        kept, _ = used([*sizes.nodes, *nodes], results)
        return OnnxBody(
            tuple(values[name] for name in inputs),
            tuple(results),
            about,
            kept,
            lowering.values,
            graph,
        )


def _number(graph: Graph, name: str) -> Number:
    """Return the type of an input: what the file declares, or whole numbers where these are read."""
    if graph.input_types.get(name) == "bool":
        return "bool"
    return "int64" if holds_only_whole(graph, name) else "float32"


def _no_form(node: Node, error: NoOnnxFormError) -> Diagnostic:
    origin = node.origin
    return Diagnostic(
        codes.COMPILE_NO_ONNX, f"{error}, which `{node.name}` needs", span=origin.span,
        trace=origin.trace,
    )  # fmt: skip
