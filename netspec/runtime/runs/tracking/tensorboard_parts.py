"""What TensorBoard shows beside curves: the graph of a net, histograms of its weights, pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph

_BINS = 40


def graph_def(graph: Graph) -> bytes:
    """Return a net as TensorBoard's GraphDef: a node for each layer, those of a block together."""
    from tensorboard.compat.proto.graph_pb2 import GraphDef
    from tensorboard.compat.proto.versions_pb2 import VersionDef

    found = GraphDef(versions=VersionDef(producer=22))
    for name in graph.inputs:
        found.node.add(name=_path(name), op="input")
    for node in graph.nodes:
        made = found.node.add(
            name=_path(node.name), op=node.op.name, input=[_path(value) for value in node.inputs]
        )
        shape = made.attr["_output_shapes"].list.shape.add()
        shape.dim.add(size=-1)  # the batch
        for extent in node.shape:
            shape.dim.add(size=extent if isinstance(extent, int) else -1)
    return bytes(found.SerializeToString())


def _path(value: str) -> str:
    """Return a value's name as TensorBoard nests them: `layer1.0.conv1` is in `layer1`, and in `0`."""
    return value.replace(".", "/")


def histogram(array: NDArray[Any]) -> Any:
    """Return TensorBoard's histogram of the finite numbers of an array."""
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    numbers = np.asarray(array, np.float64).ravel()
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return HistogramProto()
    counts, edges = np.histogram(numbers, _BINS)
    return HistogramProto(
        min=numbers.min(), max=numbers.max(), num=numbers.size, sum=numbers.sum(),
        sum_squares=float(np.square(numbers).sum()), bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )  # fmt: skip


def histograms(tensors: Mapping[str, NDArray[Any]]) -> Any:
    """Return a summary with a histogram of each tensor."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=f"{_path(n)}", histo=histogram(t)) for n, t in tensors.items()]
    return Summary(value=values)


def picture(tag: str, png: bytes, height: int, width: int, text: str) -> Any:
    """Return a summary with one picture, and one with a text on it below the same tag."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb

    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png)
    found = Summary(value=[Summary.Value(tag=tag, image=image)])
    found.MergeFrom(text_pb(tag=f"{tag}/list", data=text))
    return found
