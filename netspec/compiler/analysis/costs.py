"""What a net costs: numbers that it stores, multiply-adds and the memory of its values, layer by layer.

MACs are the multiply-adds of convolutions, linear layers and matrix products. FLOPs are two for
each MAC, and one for each number that a layer without MACs computes; those of a scan block are its
steps'.

Memory counts float32 values, each value in an array of its own, as in the graph. In training all of
them are kept, including the net's inputs, because backward reads them. In inference a value is
dropped after its last reader, and the peak is reported. Parameters, gradients and the state of an
optimizer come on top; a real program needs less for its values, because it fuses layers and works
in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, cast

from netspec.compiler.analysis.block_calls import BlockCall, calls_of
from netspec.compiler.ir.graph import Graph, Node, Shape, show_shape
from netspec.compiler.ir.layout import Storage
from netspec.compiler.ir.receptive_field import Field, extend, field_of_input
from netspec.compiler.ir.sizes import total
from netspec.compiler.syntax.tree import NumberType
from netspec.records import record
from netspec.text.printable import printable_lines

FLOAT32_BYTES = 4


@record(slots=True)
class LayerSummary:
    """The costs of one node of a net, or of several that `folded` added up.

    A layer that is called again has its parameters counted at its first call. `field` is the receptive
    field of one number of the value, axis by axis, as height and width of a picture, or None where no
    input has such axes. `stride` is the effective stride, the distance between the fields of
    neighbouring numbers, or None where the value has no such axes. `calls` are the calls of blocks that
    it is part of, and `written` is its text in the file, or the beginning of a long one. `shares` is
    the layer whose parameters it has, where another one has them first, and `body` is what it does in
    each step, where a file says that: the costs of one step. `constants` are the numbers of its
    `constant`s.
    """

    name: str
    op: str
    attributes: Mapping[str, Any]
    call: str
    inputs: tuple[str, ...]
    shape: Shape
    parameters: int
    buffers: int
    macs: int
    flops: int = 0
    field: tuple[int, ...] | None = None
    stride: tuple[float, ...] | None = None
    layers: int = 1
    calls: tuple[BlockCall, ...] = ()
    written: str = ""
    shares: str | None = None
    body: Summary | None = None
    constants: int = 0


@record(slots=True, repr=False)
class Summary:
    """A net's layers and totals. Shapes and MACs are those of one image, bytes those of a batch.

    `columns` are those of its table; None for the usual ones.
    """

    net: str
    inputs: Mapping[str, Shape]
    layers: tuple[LayerSummary, ...]
    outputs: Mapping[str, str]
    parameters: int
    buffers: int
    macs: int
    flops: int
    batch: int
    training_bytes: int
    inference_bytes: int
    doc: str = ""
    input_types: Mapping[str, NumberType] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    constants: int = 0

    @property
    def numbers(self) -> int:
        """All numbers that the net stores, trained or not: in weights files and in its text."""
        return self.parameters + self.buffers + self.constants

    def show_input(self, name: str) -> str | None:
        """Return what an input holds and its shape, as `int[N, T]`; None if there is none."""
        if name not in self.inputs:
            return None
        return show_shape(self.inputs[name], self.input_types.get(name, "real"))

    def folded(self, depth: int) -> Summary:
        """Return the summary with layers added up whose labels share their first `depth` parts.

        A block of one layer stays as it is. The totals are those of the whole net.
        """
        return self._in_groups(lambda layer: _first_parts(layer.name, depth), _many)

    def by_blocks(self) -> Summary:
        """Return the summary with one row for each call of a block in the net.

        Calls inside blocks are parts of these. The totals are those of the whole net.
        """
        return self._in_groups(
            lambda layer: layer.calls[0].path if layer.calls else layer.name, _called
        )

    def _in_groups(
        self,
        key: Callable[[LayerSummary], str],
        call: Callable[[Sequence[LayerSummary]], str | None],
    ) -> Summary:
        """Add up the layers with the same key, where `call` has a text for them together."""
        groups: dict[str, list[LayerSummary]] = {}
        for layer in self.layers:
            groups.setdefault(key(layer), []).append(layer)
        calls = {name: call(group) for name, group in groups.items()}
        names = {
            layer.name: name if calls[name] is not None else layer.name
            for name, group in groups.items()
            for layer in group
        }
        layers = tuple(_folded(name, group, names, calls[name]) for name, group in groups.items())
        outputs = {name: names.get(value, value) for name, value in self.outputs.items()}
        return replace(self, layers=layers, outputs=outputs)

    def __str__(self) -> str:
        from netspec.compiler.analysis.costs_text import as_table

        return printable_lines(as_table(self))

    def __repr__(self) -> str:
        return f"<netspec.Summary of {self.net}: {len(self.layers)} layers>"

    def _repr_html_(self) -> str:
        from netspec.compiler.analysis.costs_text import as_html

        return as_html(self)


def summarize(graph: Graph, batch: int = 1) -> Summary:
    """Return the summary of a net. Memory is counted for `batch` images."""
    layers = []
    counted: set[str] = set()
    owners: dict[str, str] = {}
    inputs = {name: field_of_input(shape) for name, shape in graph.inputs.items()}
    fields = extend(inputs, graph.shapes, graph.nodes)
    signals = any(node.op.storage is Storage.CHANNELS_LAST for node in graph.nodes)
    for node in graph.nodes:
        own = [graph.parameters[name] for name in node.parameters.values() if name not in counted]
        counted.update(node.parameters.values())
        owner = {owners.setdefault(full, node.name) for full in node.parameters.values()}
        body = node.op.steps()
        macs = node.op.macs(*graph.shapes_into(node))
        step = None if body is None else summarize(body.graph)
        layers.append(
            LayerSummary(
                node.name,
                node.op.name,
                node.op.per_axis(*graph.shapes_into(node)),
                str(node.op),
                node.inputs,
                node.shape,
                sum(p.size for p in own if p.trainable),
                sum(p.size for p in own if p.is_saved and not p.trainable),
                macs,
                _flops(node, macs, step),
                *_looks_at(node, fields[node.name], signals=signals),
                calls=calls_of(node),
                written=node.origin.call.span.words,
                shares=next(iter(sorted(owner - {node.name})), None),
                body=step,
                constants=sum(p.size for p in own if not p.is_saved),
            )
        )
    everything = [*graph.inputs.values(), *(node.shape for node in graph.nodes)]
    return Summary(
        graph.name,
        graph.inputs,
        tuple(layers),
        graph.outputs,
        sum(layer.parameters for layer in layers),
        sum(layer.buffers for layer in layers),
        sum(layer.macs for layer in layers),
        sum(layer.flops for layer in layers),
        batch,
        batch * _bytes(everything),
        batch * _peak_bytes(graph),
        graph.doc,
        graph.input_types,
        constants=sum(layer.constants for layer in layers),
    )


def _flops(node: Node, macs: int, step: Summary | None) -> int:
    """Return the FLOPs of a layer, `step` being what it does for each item of a sequence."""
    if step is not None:
        return node.shape[0] * step.flops
    return 2 * macs if macs != 0 else math.prod(node.shape)


def _looks_at(
    node: Node, field: Field, *, signals: bool
) -> tuple[tuple[int, ...] | None, tuple[float, ...] | None]:
    """Return the receptive field and effective stride of a value, or None where they have no
    meaning. Of values with one axis behind the first, only `signals` have a field.
    """
    if all(size == 1 for size in field.picture) or (len(field.picture) < 2 and not signals):
        return None, None
    return field.size, field.step if len(node.shape) > 1 else None


def _first_parts(name: str, depth: int) -> str:
    return ".".join(name.split(".")[:depth])


def _many(group: Sequence[LayerSummary]) -> str | None:
    return f"{len(group)} layers" if len(group) > 1 else None


def _called(group: Sequence[LayerSummary]) -> str | None:
    return group[0].calls[0].call if group[0].calls else None


def _folded(
    name: str, group: Sequence[LayerSummary], names: Mapping[str, str], call: str | None
) -> LayerSummary:
    last = group[-1]
    inputs = tuple(names.get(value, value) for layer in group for value in layer.inputs)
    if call is None:
        return replace(last, inputs=inputs)
    return replace(
        last,
        name=name,
        op="block",
        attributes={},
        call=call,
        inputs=tuple(value for value in dict.fromkeys(inputs) if value != name),
        parameters=sum(layer.parameters for layer in group),
        buffers=sum(layer.buffers for layer in group),
        constants=sum(layer.constants for layer in group),
        macs=sum(layer.macs for layer in group),
        flops=sum(layer.flops for layer in group),
        layers=len(group),
        written="",
        shares=None,
        body=None,
    )


def _bytes(shapes: Iterable[Shape]) -> int:
    return cast(int, FLOAT32_BYTES * total(math.prod(shape) for shape in shapes))


def _peak_bytes(graph: Graph) -> int:
    """Return the most bytes alive at once for one image, when the nodes run in their order."""
    last_reader = {value: i for i, node in enumerate(graph.nodes) for value in node.inputs}
    kept = set(graph.outputs.values())
    sizes = {name: _bytes([shape]) for name, shape in graph.inputs.items()}
    alive = peak = cast(int, total(sizes.values()))
    for i, node in enumerate(graph.nodes):
        sizes[node.name] = _bytes([node.shape])
        alive += sizes[node.name]
        peak = max(peak, alive)
        for value in {*node.inputs, node.name}:
            if value not in kept and last_reader.get(value, i) == i:
                alive -= sizes[value]
    return peak
