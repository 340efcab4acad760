"""What a model says of where it comes from: of each operator its layer, of the whole its source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.ir.graph import Graph, Node
from netspec.diagnostics import Frame, Source, Span
from netspec.text.printable import as_utf8

LOCATION = "netspec.location"


def layer_metadata(graph: Graph, node: Node) -> dict[str, str]:
    """Return the metadata of the operators of a layer.

    `namespace` and those that begin with `pkg.torch.onnx` have the form that PyTorch's exporter
    gives them: the path from the net through its blocks to the layer, and the class of each.
    """
    scopes = [*_scopes(graph, node.origin.trace), (node.name, node.op.name)]
    span = node.origin.span
    return {**_placed(scopes, span), "netspec.layer": str(node.op)}


def block_metadata(graph: Graph, frames: Sequence[Frame]) -> dict[str, str]:
    """Return the metadata of a call of a block, the last of the frames that lead to it."""
    return _placed(_scopes(graph, frames), frames[-1].call)


def _scopes(graph: Graph, frames: Iterable[Frame]) -> list[tuple[str, str]]:
    return [("", graph.name), *((frame.path, frame.block) for frame in frames if frame.block)]


def _placed(scopes: Sequence[tuple[str, str]], span: Span | None) -> dict[str, str]:
    found = {
        "namespace": "/".join(f"{path}: {kind}" for path, kind in scopes),
        "pkg.torch.onnx.class_hierarchy": repr([kind for _, kind in scopes]),
        "pkg.torch.onnx.name_scopes": repr([path for path, _ in scopes]),
    }
    return found if span is None else {**found, **place_metadata(span)}


def place_metadata(span: Span) -> dict[str, str]:
    """Return where something is written."""
    return {LOCATION: as_utf8(f"{span.source.file_name}:{span.line}")}


def source_hash(graph: Graph) -> str:
    """Return the SHA-256 of the texts that a net was built from, in hexadecimal digits.

    They are the net's own file and those of the blocks in it, in the order of their first use.
    """
    digest = hashlib.sha256()
    for source in _sources(graph):
        text = source.text.replace("\r\n", "\n").encode()
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def _sources(graph: Graph) -> Iterable[Source]:
    spans = [] if graph.span is None else [graph.span]
    spans += [node.origin.span for node in graph.nodes]
    return dict.fromkeys(span.source for span in spans)


def in_order(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return metadata in the order of its keys, so that equal ones are written as equal bytes."""
    return sorted(metadata.items())
