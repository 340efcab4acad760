"""Writes a program with the package onnx."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.ir.onnx_form import ONNX_TYPES, OnnxBody, OnnxNode, OnnxTensor, OnnxValue
from netspec.compiler.onnx_backend.functions import DOMAIN, OnnxFunction
from netspec.compiler.onnx_backend.metadata import in_order, layer_metadata
from netspec.compiler.onnx_backend.program import Array, OnnxProgram
from netspec.compiler.passes.bind_sizes import open_sizes
from netspec.diagnostics import NetspecError
from netspec.records import record

if TYPE_CHECKING:
    import onnx

# The version of the file's format for each opset. Who asks for an opset below 20 has an old runtime,
# which reads an old format alone; 10 is the first with metadata of operators.
_FORMATS = {17: 8, 18: 8, 19: 8, 20: 10, 21: 10, 22: 10, 23: 10}
_WITH_METADATA = 10

# Weights beside a model begin at multiples of this, so that runtimes can map them into memory.
_ALIGNMENT = 4096


@record(eq=False)
class OnnxModel:
    """A model as it is written.

    Attributes:
        proto: the model. If its weights are too large for it, they are in a file beside it.
        beside: the weights that are in that file, by name.
    """

    proto: onnx.ModelProto
    beside: Mapping[str, Array] = field(default_factory=dict)

    def content(self, data_file: str = "") -> bytes:
        """Return the bytes of the file.

        Args:
            data_file: the name of the file beside it, if there is one.
        """
        for held in self.proto.graph.initializer:
            for entry in held.external_data:
                if entry.key == "location":
                    entry.value = data_file
        content: bytes = self.proto.SerializeToString(deterministic=True)
        return content

    def data(self) -> bytes:
        """Return the bytes of the file beside it."""
        parts = []
        for array in self.beside.values():
            raw = _little(array).tobytes()
            parts += [raw, bytes(-len(raw) % _ALIGNMENT)]
        return b"".join(parts)


def require_onnx() -> ModuleType:
    """Import and return the package onnx.

    Raises:
        NetspecError: `library/onnx`.
    """
    try:
        import onnx
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_ONNX,
            "ONNX files are written with the package onnx, which is not installed",
            "pip install 'netspec-dsl[onnx]'",
        ) from None
    return onnx


def written(
    program: OnnxProgram,
    functions: Sequence[OnnxFunction],
    opset: int,
    metadata: Mapping[str, str],
    most_inside: int,
) -> OnnxModel:
    """Return the model of a program whose values and operators have names.

    If its weights have more bytes than `most_inside`, they are for a file beside it.
    """
    model = _Writer(program, opset).model(functions, metadata)
    held = {name: array for name, (_, array) in program.parameters.items()}
    beside = held if sum(array.nbytes for array in held.values()) > most_inside else {}
    offset = 0
    for name, array in held.items():
        made = _external(name, array, offset) if beside else tensor(name, array)
        model.graph.initializer.append(made)
        offset += array.nbytes + -array.nbytes % _ALIGNMENT
    return OnnxModel(model, beside)


class _Writer:
    """Writes one program."""

    def __init__(self, program: OnnxProgram, opset: int) -> None:
        self._program = program
        self._graph: Graph = program.graph
        self._opset = opset
        self._format = _FORMATS[opset]
        self._batch = "batch" if "N" in open_sizes(program.graph) else "N"

    def model(
        self, functions: Sequence[OnnxFunction], metadata: Mapping[str, str]
    ) -> onnx.ModelProto:
        """Return the model."""
        from onnx import helper

        graph = helper.make_graph(
            [self._node(node) for node in self._program.nodes],
            self._graph.name,
            [self._value(name, name) for name in self._graph.inputs],
            [],
            doc_string=self._graph.doc,
        )
        held = self._program.parameters
        known = dict(self._known_values())
        for value in self._program.outputs.values():
            graph.output.append(known[value.name])
        model = helper.make_model(
            graph,
            ir_version=self._format,
            opset_imports=self._opsets(functions),
            producer_name="netspec",
            functions=[self._function(each) for each in functions],
        )
        infer_between(model, {n: array for n, (_, array) in held.items()}, known)
        for key, text in in_order(metadata):
            model.metadata_props.add(key=key, value=text)
        return model

    def _opsets(self, functions: Sequence[OnnxFunction]) -> list[onnx.OperatorSetIdProto]:
        from onnx import helper

        own = [helper.make_opsetid(DOMAIN, 1)] if functions else []
        return [helper.make_opsetid("", self._opset), *own]

    def _function(self, function: OnnxFunction) -> onnx.FunctionProto:
        from onnx import helper

        nodes = [self._node(node) for node in function.nodes]
        return helper.make_function(
            DOMAIN, function.name, function.inputs, function.outputs, nodes,
            self._opsets([function]),
        )  # fmt: skip

    def _body(self, body: OnnxBody) -> onnx.GraphProto:
        from onnx import helper

        def values(of: Sequence[OnnxValue]) -> list[onnx.ValueInfoProto]:
            found = ((value.name, *body.about[value]) for value in of)
            return [
                helper.make_tensor_value_info(name, ONNX_TYPES[number], self._dims(shape))
                for name, number, shape in found
            ]

        nodes = [self._node(node, body.graph) for node in body.nodes]
        return helper.make_graph(nodes, body.graph.name, values(body.inputs), values(body.outputs))

    def _node(self, node: OnnxNode, graph: Graph | None = None) -> onnx.NodeProto:
        """Return an operator of the net, or of the graph in it that is given."""
        from onnx import helper

        made = helper.make_node(
            node.operator,
            ["" if value is None else value.name for value in node.inputs],
            [value.name for value in node.outputs],
            name=node.name,
            domain=node.domain or None,
        )
        for name, value in sorted(node.attributes.items()):
            given: object = constant(value) if isinstance(value, OnnxTensor) else value
            if isinstance(value, OnnxBody):
                given = self._body(value)
            made.attribute.append(helper.make_attribute(name, given))
        if self._format >= _WITH_METADATA:
            about = node.metadata
            if node.source is not None:
                about = layer_metadata(graph or self._graph, node.source)
            for key, text in in_order(about):
                made.metadata_props.add(key=key, value=text)
        return made

    def _value(self, name: str, of: str) -> onnx.ValueInfoProto:
        """Return a value under a name, with the type and the shape of a value of the net."""
        from onnx import helper

        number = ONNX_TYPES[self._program.numbers[of]]
        return helper.make_tensor_value_info(name, number, self._dims(self._graph.shape_of(of)))

    def _dims(self, shape: Shape) -> list[int | str]:
        return [self._batch, *(d if isinstance(d, int) else str(d) for d in shape)]

    def _known_values(self) -> Iterable[tuple[str, onnx.ValueInfoProto]]:
        """Yield the net's values by their names."""
        for name, value in self._program.values.items():
            yield value.name, self._value(value.name, name)
        for name, value in self._program.outputs.items():
            yield value.name, self._value(value.name, self._graph.outputs[name])


def infer_between(
    model: onnx.ModelProto, held: Mapping[str, Array], known: Mapping[str, onnx.ValueInfoProto]
) -> None:
    """Add the shape of every value to a model without weights.

    Those of layers are known; those inside of a layer's form are inferred by the package onnx, for
    which parameters are inputs.
    """
    from onnx import helper, shape_inference

    made = {name for node in model.graph.node for name in node.output}
    made -= {value.name for value in model.graph.output}
    whole = type(model)()
    whole.CopyFrom(model)
    for name, info in known.items():
        if name in made:
            whole.graph.value_info.append(info)
            model.graph.value_info.append(info)
    for name, array in held.items():
        number = helper.np_dtype_to_tensor_dtype(array.dtype)
        whole.graph.input.append(helper.make_tensor_value_info(name, number, array.shape))
    inferred = shape_inference.infer_shapes(whole, data_prop=True)
    for info in inferred.graph.value_info:
        if info.name not in made or info.name in known:
            continue
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.Clear()
        model.graph.value_info.append(info)


def tensor(name: str, array: Array) -> onnx.TensorProto:
    """Return an array as an initializer."""
    from onnx import helper

    number = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, number, array.shape, _little(array).tobytes(), raw=True)


def _external(name: str, array: Array, offset: int) -> onnx.TensorProto:
    """Return an initializer whose numbers are at a place in the file beside the model."""
    import onnx

    made = onnx.TensorProto(
        name=name,
        data_type=onnx.helper.np_dtype_to_tensor_dtype(array.dtype),
        dims=array.shape,
        data_location=onnx.TensorProto.EXTERNAL,
    )
    for key, text in (("location", ""), ("offset", offset), ("length", array.nbytes)):
        made.external_data.add(key=key, value=str(text))
    return made


def _little(array: Array) -> Array:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def constant(value: OnnxTensor) -> onnx.TensorProto:
    """Return numbers as the value of a `Constant`."""
    return tensor("", np.array(value.numbers, value.number).reshape(value.shape))
