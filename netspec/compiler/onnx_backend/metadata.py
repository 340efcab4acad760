"""What a model says of where it comes from: of each operator its layer, of the whole its source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from netspec.compiler.ir.graph import Graph, Node
from netspec.diagnostics import Source


def layer_metadata(graph: Graph, node: Node) -> dict[str, str]:
    """Return the metadata of the operators of a layer.

    `namespace` and those that begin with `pkg.torch.onnx` have the form that PyTorch's exporter
    gives them: the path from the net through its blocks to the layer, and the class of each.
    """
    scopes = [("", graph.name)]
    scopes += [(frame.path, frame.block) for frame in node.origin.trace if frame.block]
    scopes.append((node.name, node.op.name))
    span = node.origin.span
    return {
        "namespace": "/".join(f"{path}: {kind}" for path, kind in scopes),
        "netspec.layer": str(node.op),
        "netspec.location": f"{span.source.file_name}:{span.line}",
        "pkg.torch.onnx.class_hierarchy": repr([kind for _, kind in scopes]),
        "pkg.torch.onnx.name_scopes": repr([path for path, _ in scopes]),
    }


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
