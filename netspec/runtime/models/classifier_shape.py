"""What training asks of a net: one input of a fixed shape, and one output with a score a class."""

from __future__ import annotations

from netspec import codes
from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.passes.bind_sizes import open_sizes
from netspec.diagnostics import NetspecError


def image_shape(graph: Graph) -> Shape:
    """The shape of one image, (C, H, W) or (F,), for a net with one input.

    Raises:
        NetspecError: `model/inputs` for several inputs, `model/open-size` for sizes left open.
    """
    shapes = list(graph.inputs.values())
    if len(shapes) != 1:
        raise NetspecError.simple(
            codes.MODEL_INPUTS, f"{graph.name} has {len(shapes)} inputs; this needs one"
        )
    require_sizes(graph)
    return shapes[0]


def class_count(graph: Graph) -> int:
    """How many scores the loss reads for an image.

    Raises:
        NetspecError: `model/outputs`, `model/scores`.
    """
    shape = graph.shape_of(graph.outputs[scores_output(graph)])
    if len(shape) != 1:
        raise NetspecError.simple(
            codes.MODEL_SCORES,
            f"the output of {graph.name} is [N, {', '.join(map(str, shape))}];"
            " a loss over classes needs [N, classes]",
        )
    return shape[0]


def scores_output(graph: Graph) -> str:
    """The name of the output that the loss reads.

    Raises:
        NetspecError: `model/outputs` where a net has several and none is the one without a name.
    """
    names = list(graph.outputs)
    if len(names) > 1 and "output" not in names:
        raise NetspecError.simple(
            codes.MODEL_OUTPUTS,
            f"{graph.name} has the outputs {', '.join(names)}; a loss needs one",
            "leave the name of the output that is trained away",
        )
    return "output" if "output" in names else names[0]


def require_sizes(graph: Graph) -> None:
    """Refuse a graph that leaves sizes open.

    Raises:
        NetspecError: `model/open-size`.
    """
    names = sorted(open_sizes(graph))
    if names:
        raise NetspecError.simple(
            codes.MODEL_OPEN_SIZE,
            f"{graph.name} leaves the size of its input open",
            "give it: " + " ".join(f"--set {name}=..." for name in names),
        )


def require_training_batch(graph: Graph, batch: int) -> None:
    """Refuse a batch that is too small to train on.

    Raises:
        NetspecError: `model/batch`.
    """
    for node in graph.nodes:
        least = node.op.least_training_batch(*graph.shapes_into(node))
        if batch < least:
            raise NetspecError.simple(
                codes.MODEL_BATCH,
                f"`{node.name}` ({node.op.name}) needs a batch of at least {least} to train on",
                "one value a channel has no variance",
            )
