"""Makes each block of a net a function of ONNX, and its uses calls."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace

from netspec.compiler.ir.onnx_form import OnnxBody, OnnxNode, OnnxValue
from netspec.compiler.onnx_backend.metadata import LOCATION, block_metadata, place_metadata
from netspec.compiler.onnx_backend.names import Names
from netspec.compiler.onnx_backend.program import OnnxProgram
from netspec.diagnostics import Frame
from netspec.records import record

DOMAIN = "netspec"


@record(eq=False)
class OnnxFunction:
    """A function: its operators read its inputs and each other's values, by names of its own."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[OnnxNode, ...]


def with_functions(program: OnnxProgram) -> tuple[OnnxProgram, tuple[OnnxFunction, ...]]:
    """Return a program with names whose blocks are calls, and the functions that they call.

    Uses of a block with equal operators and attributes share a function.
    """
    made = _Functions(program)
    nodes = made.grouped(program.nodes, 0)
    return program.with_nodes(nodes), tuple(made.functions.values())


class _Functions:
    """Makes the functions of one program, the inner ones first."""

    def __init__(self, program: OnnxProgram) -> None:
        self._graph = program.graph
        # An output of the net has another name than its layer.
        self._layers = {value: name for name, value in program.values.items()}
        self._uses = program.uses()
        self._names = Names(())
        self.functions: dict[object, OnnxFunction] = {}

    def grouped(self, nodes: Sequence[OnnxNode], depth: int) -> list[OnnxNode]:
        """Return operators with calls in place of the blocks at a depth."""
        found: list[OnnxNode] = []
        for path, group in itertools.groupby(nodes, lambda node: _path(node, depth)):
            run = list(group)
            found += run if path is None else [self._call(run, depth)]
        return found

    def _call(self, run: Sequence[OnnxNode], depth: int) -> OnnxNode:
        """Return the call of a block, which has these operators."""
        body, first = self.grouped(run, depth + 1), run[0]
        inside = Counter(value for node in run for value in node.reads)
        frames = _blocks(first)[: depth + 1]
        made = list(dict.fromkeys(v for node in body for v in node.outputs))
        used = dict.fromkeys(v for node in body for v in node.reads)
        inputs = tuple(value for value in used if value not in made)
        outputs = tuple(value for value in made if self._uses[value] > inside[value])
        within = [v for node in body for inner in node.bodies for v in inner.made]
        named = {v: self._layers.get(v, v.name) for v in (*inputs, *made, *within)}
        own = _Local(frames[-1].path, named, {*made, *within})
        nodes = tuple(own.node(node) for node in body)
        key = frames[-1].block, own.names(inputs), own.names(outputs), tuple(map(_key, nodes))
        if key not in self.functions:
            name = self._names.give(frames[-1].block)
            self.functions[key] = OnnxFunction(name, own.names(inputs), own.names(outputs), nodes)
        return OnnxNode(
            self.functions[key].name, inputs, outputs, {}, name=frames[-1].path, domain=DOMAIN,
            metadata=block_metadata(self._graph, frames),
        )  # fmt: skip


class _Local:
    """The names of a function's values: what is in the block without its path, other inputs `x`."""

    def __init__(
        self, path: str, named: Mapping[OnnxValue, str], made: Container[OnnxValue]
    ) -> None:
        self._prefix, names = f"{path}.", Names(())
        self._values: dict[OnnxValue, OnnxValue] = {}
        for value, name in named.items():
            other = "y" if value in made else "x"
            inside = name.startswith(self._prefix)
            short = name.removeprefix(self._prefix) if inside else other
            self._values[value] = OnnxValue(names.give(short))

    def names(self, values: Iterable[OnnxValue]) -> tuple[str, ...]:
        """Return the names of values."""
        return tuple(self._values[value].name for value in values)

    def node(self, node: OnnxNode) -> OnnxNode:
        """Return an operator with these names.

        Of its metadata the place stays: the rest is of one call among several.
        """
        about = node.metadata if node.source is None else place_metadata(node.source.origin.span)
        return replace(
            node,
            inputs=tuple(None if v is None else self._values[v] for v in node.inputs),
            outputs=tuple(self._values[v] for v in node.outputs),
            attributes={
                name: self._body(value) if isinstance(value, OnnxBody) else value
                for name, value in node.attributes.items()
            },
            name=node.name.removeprefix(self._prefix),
            source=None,
            metadata={key: text for key, text in about.items() if key == LOCATION},
        )

    def _body(self, body: OnnxBody) -> OnnxBody:
        return replace(
            body,
            inputs=tuple(self._values[v] for v in body.inputs),
            outputs=tuple(self._values[v] for v in body.outputs),
            about={self._values[v]: about for v, about in body.about.items()},
            nodes=tuple(self.node(node) for node in body.nodes),
            values={name: self._values.get(v, v) for name, v in body.values.items()},
        )


def _key(node: OnnxNode) -> object:
    """Return what makes operators of a function equal."""
    values = tuple("" if v is None else v.name for v in (*node.inputs, None, *node.outputs))
    attributes = tuple((n, repr(v)) for n, v in sorted(node.attributes.items()))
    return node.operator, node.domain, values, attributes


def _blocks(node: OnnxNode) -> Sequence[Frame]:
    """Return the blocks that an operator is in, the outermost first."""
    if node.source is None:
        return ()
    return [frame for frame in node.source.origin.trace if frame.block]


def _path(node: OnnxNode, depth: int) -> str | None:
    blocks = _blocks(node)
    return blocks[depth].path if len(blocks) > depth else None
