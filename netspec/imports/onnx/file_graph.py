"""The graph of an ONNX file: values and operators in the order they run, functions put in place."""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec.compiler.ir.onnx_read import ARRANGING, FileAttributes, FileOperator, FileValue
from netspec.diagnostics import plural
from netspec.imports.onnx.modern import Aligned, Modern, fits_schema, modern, plain
from netspec.imports.onnx.proto_file import Array, shown_name, stored_array, wrong

if TYPE_CHECKING:
    import onnx

MOST_OPERATORS = 100_000
_MOST_INSIDE = 50  # functions in functions
_PICTURE = 3  # the last axis of a picture

# What PyTorch's exporter writes of a module's parameters and buffers, and a line of it:
# `b_mean: BUFFER target='mean' persistent=True`.
_SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"
_SIGNED = re.compile(r": (PARAMETER|BUFFER) target='([^'\n]*)'")

NETSPEC = "netspec"
LAYER = "netspec.layer"


@dataclass(frozen=True)
class Given:
    """An input: its value and its sizes behind the batch's; None for one that is not known. The size of
    the batch, if it is a number, and else its name, if it has one. Why no net takes it, if none does.
    """

    value: FileValue
    sizes: tuple[int | str | None, ...]
    batch: int | None
    batch_name: str = ""
    refusal: str = ""


@dataclass(eq=False)
class FileGraph:
    """What a file computes.

    Attributes:
        name: the graph's name.
        doc: what it says of itself.
        producer: the program that wrote it.
        inputs: by name.
        outputs: the value of each output, by name.
        operators: in an order in which they can run.
        stored: the numbers that the file has.
        metadata: what the file says of the model.
        kinds: `parameter` or `buffer` for stored numbers of which the file says which, by name.
    """

    name: str
    doc: str
    producer: str
    inputs: dict[str, Given] = field(default_factory=dict)
    outputs: dict[str, FileValue] = field(default_factory=dict)
    operators: list[FileOperator] = field(default_factory=list)
    stored: dict[FileValue, Array] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)


def source_of(value: FileValue) -> FileValue | None:
    """Return the value of the file that has the numbers of another one, if in another arrangement or some
    of them; None if these are computed.
    """
    while value.maker is not None:
        x = value.maker.given(0)
        if x is None or value.maker.operator not in ARRANGING:
            return None
        value = x
    return value


def file_graph(model: onnx.ModelProto, folder: Path) -> FileGraph:
    """Return the graph of a model whose outside numbers lie in a folder.

    Raises:
        NetspecError: `onnx/file`.
    """
    return _Reading(model, folder).graph()


class _Reading:
    """Reads one model."""

    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self._model = model
        self._folder = folder
        self._opsets = {each.domain or "": each.version for each in model.opset_import}
        self._functions = {(f.domain, f.name): f for f in model.functions}
        proto = model.graph
        self._graph = FileGraph(proto.name, proto.doc_string, model.producer_name)
        self._count = 0

    def graph(self) -> FileGraph:
        """Return the graph."""
        graph, proto = self._graph, self._model.graph
        graph.metadata.update({each.key: each.value for each in self._model.metadata_props})
        graph.kinds.update(_kinds(proto))
        known: dict[str, FileValue] = {}
        for tensor in proto.initializer:
            value = self._defined(known, tensor.name)
            graph.stored[value] = stored_array(tensor, self._folder)
        if proto.sparse_initializer:
            raise wrong("the file has sparse tensors, which are not read")
        for info in proto.input:
            if info.name not in known:
                graph.inputs[info.name] = self._given(self._defined(known, info.name), info)
        self._run(proto.node, known, ())
        graph.operators = _in_order(graph.operators)
        for info in proto.output:
            if info.name not in known:
                raise wrong(f"nothing computes the output `{shown_name(info.name)}`")
            graph.outputs[info.name] = known[info.name]
        return graph

    def _defined(self, known: dict[str, FileValue], name: str) -> FileValue:
        if name in known:
            raise wrong(f"two values are called `{shown_name(name)}`")
        known[name] = FileValue(name)
        return known[name]

    def _given(self, value: FileValue, info: onnx.ValueInfoProto) -> Given:
        from onnx import TensorProto

        kind = info.type.tensor_type
        shown = f"the input `{shown_name(info.name)}`"
        if info.type.WhichOneof("value") != "tensor_type":
            return Given(value, (), None, refusal=f"{shown} is no tensor")
        whole = TensorProto.INT64, TensorProto.INT32
        real = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE
        if kind.elem_type not in (*whole, *real, TensorProto.BOOL):
            type_name = TensorProto.DataType.Name(kind.elem_type) if kind.elem_type else "nothing"
            why = f"{shown} holds {type_name.lower()}, which nets do not take"
            return Given(value, (), None, refusal=why)
        value.is_whole = kind.elem_type in whole
        value.is_bool = kind.elem_type == TensorProto.BOOL
        dims = [_size(dim) for dim in kind.shape.dim]
        if not dims:
            return Given(value, (), None, refusal=f"{shown} has no axis for a batch")
        first, *rest = dims
        name = first if isinstance(first, str) else ""
        return Given(value, tuple(rest), first if isinstance(first, int) else None, name)

    def _run(
        self,
        nodes: Sequence[onnx.NodeProto],
        known: dict[str, FileValue],
        scopes: tuple[tuple[str, str], ...],
    ) -> None:
        """Add operators, which may stand in any order."""
        for node in nodes:
            _require_texts(node)
        defined = {name for node in nodes for name in node.output if name}
        made: dict[str, FileValue] = {}
        for node in nodes:
            for name in node.output:
                if name and (name in known or name in made):
                    raise wrong(f"two values are called `{shown_name(name)}`")
                if name:
                    made[name] = FileValue(name)
        lookup = {**known, **made}
        for node in nodes:
            for name in node.input:
                if name and name not in lookup and name not in defined:
                    reader = shown_name(node.name or node.op_type)
                    raise wrong(f"nothing computes `{shown_name(name)}`, which `{reader}` reads")
            self._add(node, lookup, scopes)
        known.update({name: lookup[name] for name in made})

    def _add(
        self, node: onnx.NodeProto, known: dict[str, FileValue], scopes: tuple[tuple[str, str], ...]
    ) -> None:
        self._count += 1
        if self._count > MOST_OPERATORS:
            raise wrong(f"the file has more than {MOST_OPERATORS:,} operators")
        function = self._functions.get((node.domain, node.op_type))
        if function is not None:
            self._call(node, function, known, scopes)
            return
        outputs = tuple(known[n] if n else FileValue("") for n in node.output)
        attributes = {a.name: self._attribute(a) for a in node.attribute}
        domain = "" if node.domain == "ai.onnx" else node.domain
        operator = f"{domain}.{node.op_type}" if domain else node.op_type
        if operator == "Constant" and len(outputs) == 1:
            outputs[0].is_constant = True
            self._graph.stored[outputs[0]] = _constant(attributes, shown_name(node.name))
            return
        inputs: list[Any] = [known[n] if n else None for n in node.input]
        try:
            read = modern(operator, inputs, attributes, self._opsets.get(domain, 1))
        except (TypeError, ValueError, OverflowError):
            raise wrong(
                f"`{_text(node.name) or operator}` has attributes of another kind"
            ) from None
        if not domain and not fits_schema(read):
            raise wrong(f"`{_text(node.name) or operator}` is no `{operator}`: it has other inputs")
        parts = attributes.get("num_outputs", len(outputs))
        if operator == "Split" and parts != len(outputs):
            # onnxruntime and the package onnx would go over as many parts as the file says.
            raise wrong(
                f"`{shown_name(node.name) or operator}` has {plural(len(outputs), 'output')}, and"
                f" says that it has {shown_name(str(parts))}"
            )
        metadata = {each.key: each.value for each in node.metadata_props}
        name = ".".join((*(call for call, _ in scopes), node.name)) if scopes else node.name
        if read.operator == "HardSigmoid" and not math.isclose(
            read.attributes["alpha"], 1 / 6, rel_tol=1e-4
        ):
            self._add_line(read, outputs[0], node.name)
            return
        made = FileOperator(
            read.operator, tuple(self._input(each) for each in read.inputs), outputs,
            FileAttributes(read.attributes), name, metadata, self._layer(name), scopes,
        )  # fmt: skip
        for value in outputs:
            value.maker = made
        self._graph.operators.append(made)

    def _add_line(self, read: Modern, output: FileValue, name: str) -> None:
        """Add a line between 0 and 1, whose slope is not that of a layer, as its formula."""
        (value,) = read.inputs
        alpha, beta = read.attributes["alpha"], read.attributes["beta"]
        steps: list[tuple[str, tuple[float, ...]]] = [
            ("Mul", (alpha,)), ("Add", (beta,)), ("Clip", (0.0, 1.0)),
        ]  # fmt: skip
        for operator, numbers in steps:
            held = [FileValue("") for _ in numbers]
            for each, number in zip(held, numbers, strict=True):
                self._graph.stored[each] = np.array(number, np.float32)
            made = output if operator == "Clip" else FileValue("")
            step = FileOperator(operator, (value, *held), (made,), FileAttributes({}), name)
            made.maker = step
            self._graph.operators.append(step)
            value = made

    def _layer(self, name: str) -> str:
        """Return the layer of an operator that netspec wrote, of which it makes the name."""
        return name.partition("/")[0] if self._model.producer_name == NETSPEC else ""

    def _input(self, given: Any) -> FileValue | None:
        """Return an input: a value, or numbers that were an attribute."""
        if isinstance(given, Aligned):
            return self._aligned(given)
        if given is None or isinstance(given, FileValue):
            return given
        value = FileValue("")
        self._graph.stored[value] = given
        return value

    def _aligned(self, given: Aligned) -> FileValue:
        """Return stored numbers with axes behind their own; they are read by pictures alone."""
        array = self._graph.stored.get(given.value)
        value = FileValue(given.value.name)
        if array is None or not 0 <= given.axis <= _PICTURE:
            raise wrong(f"`{shown_name(value.name)}` is added along an axis, as opset 6 did")
        behind = max(_PICTURE + 1 - given.axis - array.ndim, 0)
        self._graph.stored[value] = array.reshape(*array.shape, *(1,) * behind)
        return value

    def _attribute(self, attribute: onnx.AttributeProto) -> Any:
        from onnx import AttributeProto, helper

        if attribute.type == AttributeProto.TENSOR:
            return stored_array(attribute.t, self._folder)
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            return None
        try:
            return plain(helper.get_attribute_value(attribute))
        except ValueError:
            raise wrong(f"attribute `{shown_name(attribute.name)}` has no value") from None

    def _call(
        self,
        node: onnx.NodeProto,
        function: onnx.FunctionProto,
        known: dict[str, FileValue],
        scopes: tuple[tuple[str, str], ...],
    ) -> None:
        """Add the operators of a function in place of a call of it."""
        if len(scopes) >= _MOST_INSIDE:
            raise wrong(f"function `{shown_name(function.name)}` is called inside itself")
        given = [known[name] for name in node.input if name]
        if len(given) != len(function.input) or len(node.output) > len(function.output):
            raise wrong(f"`{shown_name(node.name)}` calls a function with other inputs or outputs")
        inside = dict(zip(function.input, given, strict=True))
        passed = {a.name: a for a in node.attribute}
        body = [_bound(each, passed) for each in function.node]
        call = node.name or f"{function.name}{self._count}"
        self._run(body, inside, (*scopes, (call, function.name)))
        for name, own in zip(node.output, function.output, strict=False):
            if name and own not in inside:
                raise wrong(f"nothing computes `{shown_name(own)}` in `{function.name}`")
            if name:
                outer, value = known[name], inside[own]
                alias = FileOperator("Identity", (value,), (outer,), FileAttributes({}), node.name)
                outer.maker = alias
                self._graph.operators.append(alias)


def _kinds(graph: onnx.GraphProto) -> dict[str, str]:
    """Return which stored numbers PyTorch's exporter says to be learned, and which not."""
    said = (each.value for each in graph.metadata_props if each.key == _SIGNATURE)
    text = next((each for each in said if isinstance(each, str)), "")
    return {name: kind.lower() for kind, name in _SIGNED.findall(text)}


def _text(name: str) -> str:
    return shown_name(name)


def _require_texts(node: onnx.NodeProto) -> None:
    """Refuse names that are no texts: protobuf gives bytes for them."""
    texts = (node.name, node.op_type, node.domain, *(a.name for a in node.attribute))
    notes = (text for each in node.metadata_props for text in (each.key, each.value))
    if not all(isinstance(text, str) for text in (*texts, *notes)):
        raise wrong("a name in the file is no text")


def _bound(node: onnx.NodeProto, passed: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    """Return an operator of a function with the attributes of a call."""
    if not any(a.ref_attr_name for a in node.attribute):
        return node
    made = type(node)()
    made.CopyFrom(node)
    del made.attribute[:]
    for attribute in node.attribute:
        source = passed.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if source is not None:
            added = made.attribute.add()
            added.CopyFrom(source)
            added.name = attribute.name
    return made


def _constant(attributes: Mapping[str, Any], name: str) -> Array:
    (value,) = attributes.values() if len(attributes) == 1 else (None,)
    if value is None:
        raise wrong(f"constant `{name}` has no numbers")
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, str) or (
        isinstance(value, tuple) and any(isinstance(v, str) for v in value)
    ):
        return np.array(value, np.object_)  # texts, as `stored_array` has them
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.dim_param:
        return dim.dim_param
    return dim.dim_value if dim.dim_value > 0 else None


def _in_order(operators: Iterable[FileOperator]) -> list[FileOperator]:
    """Return operators such that each comes behind those that it reads, otherwise as they are.

    Raises:
        NetspecError: `onnx/file` for a circle.
    """
    given = list(operators)
    makers = [
        {id(v.maker) for v in op.inputs if v is not None and v.maker is not None} for op in given
    ]
    waiting = [len(each) for each in makers]
    readers: dict[int, list[int]] = {}
    for i, each in enumerate(makers):
        for maker in each:
            readers.setdefault(maker, []).append(i)
    if all(count == 0 for count in waiting):
        return given
    ready = [i for i, count in enumerate(waiting) if not count]
    found: list[FileOperator] = []
    while ready:
        i = heapq.heappop(ready)
        found.append(given[i])
        for reader in readers.get(id(given[i]), ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(found) < len(given):
        done = set(map(id, found))
        stuck = next(op for op in given if id(op) not in done)
        raise wrong(f"operator `{shown_name(stuck.name or stuck.operator)}` reads what it computes")
    return found
