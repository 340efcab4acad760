"""Requirements of training on a net: one input of a fixed shape, and one output with scores."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node, Shape
from netspec.compiler.passes.bind_sizes import open_sizes
from netspec.diagnostics import Hint, NetspecError
from netspec.runtime.data.choices import require
from netspec.runtime.data.dataset import SCORES_OF_A_PICTURE, Dataset
from netspec.runtime.data.views import views
from netspec.runtime.optim.targets import OF_CLASSES, Targets


def image_shape(graph: Graph) -> Shape:
    """Return the shape of one image, (C, H, W) or (F,), for a net with one input.

    Raises:
        NetspecError: `model/inputs` if there are several inputs, `model/open-size` for open sizes.
    """
    shapes = list(graph.inputs.values())
    if len(shapes) != 1:
        raise NetspecError.simple(
            codes.MODEL_INPUTS, f"{graph.name} has {len(shapes)} inputs; this needs one"
        )
    require_sizes(graph)
    return shapes[0]


def only_input_shape(graph: Graph) -> Shape | None:
    """Return the shape of one sample of a net with one input; None if it has several.

    Raises:
        NetspecError: `model/open-size` for open sizes.
    """
    require_sizes(graph)
    return image_shape(graph) if len(graph.inputs) == 1 else None


def scores_shape(graph: Graph, output: str | None = None) -> Shape:
    """Return the shape of an output for one image; by default of the one that the loss reads.

    Raises:
        NetspecError: `model/outputs`.
    """
    return graph.shape_of(graph.outputs[output or scores_output(graph)])


def label_count(graph: Graph) -> int:
    """Return the number of classes that each place of the output that the loss reads has scores for.

    Raises:
        NetspecError: `model/outputs`.
    """
    return OF_CLASSES.classes(scores_shape(graph))


def require_views(kinds: Sequence[str], data: Dataset, graph: Graph) -> None:
    """Check that scores can be averaged over views of a picture.

    Raises:
        NetspecError: `train/bad-option` for an unknown kind, and if there is no picture, or scores for
            each place in it.
    """
    views(kinds)
    require(
        not kinds or (data.picture_input is not None and len(scores_shape(graph)) == 1),
        "tta averages the scores of whole pictures (C, H, W), which the net has not",
    )


def require_targets(graph: Graph, data: Dataset, kind: Targets, output: str | None = None) -> None:
    """Check that a data set has the targets that a loss needs for an output.

    Raises:
        NetspecError: `data/shape` for targets of another shape or more classes, `model/outputs`,
            `model/scores`.
    """
    shape = scores_shape(graph, output)
    which = "the output" if output is None else f"the output `{output}`"
    data.check_targets(kind.shape(shape), f"{which} [N, {', '.join(map(str, shape))}]")
    data.check_classes(kind.classes(shape), kind.first)


def class_count(graph: Graph, output: str | None = None) -> int:
    """Return how many scores an image has in an output; by default the one that the loss reads.

    Raises:
        NetspecError: `model/outputs`, `model/scores`.
    """
    shape = scores_shape(graph, output)
    if len(shape) != 1:
        which = "the output" if output is None else f"the output `{output}`"
        raise NetspecError.simple(
            codes.MODEL_SCORES,
            f"{which} of {graph.name} is [N, {', '.join(map(str, shape))}];"
            " this needs scores [N, classes]",
            SCORES_OF_A_PICTURE if len(shape) == 3 else None,
        )
    return shape[0]


def scores_output(graph: Graph) -> str:
    """Return the name of the output that the loss reads.

    Raises:
        NetspecError: `model/outputs` if a net has several outputs and none of them is unnamed.
    """
    names = list(graph.outputs)
    if len(names) > 1 and "output" not in names:
        raise NetspecError.simple(
            codes.MODEL_OUTPUTS,
            f"{graph.name} has the outputs {', '.join(names)}; a loss needs one",
            "write the output to be trained without a name, as in `output x` in place of"
            f" `output {names[0]} = x`; `--also {names[-1]}=0.3` trains another beside it",
        )
    return "output" if "output" in names else names[0]


def gives_probabilities(graph: Graph) -> bool:
    """Return True if the output that the loss reads is already a softmax."""
    node = _last(graph)
    return node is not None and node.op.is_distribution


def has_probabilities(graph: Graph) -> bool:
    """Whether the net has one output that a loss could read, and it is a softmax."""
    return (len(graph.outputs) == 1 or "output" in graph.outputs) and gives_probabilities(graph)


def doubts_about_scores(graph: Graph, classes: int) -> Iterator[str]:
    """Return what makes an output unfit for a loss over scores, one text each.

    Args:
        graph: The net.
        classes: The number of classes in the data.
    """
    node, outputs = _last(graph), label_count(graph)
    if node is not None:
        least, largest = node.op.value_range
        if node.op.is_distribution:
            yield (
                f"the scores come from `{node.name}` ({node.op.name}) as probabilities; the loss applies"
                " a softmax itself: remove this one"
            )
        elif (least, largest) != (-math.inf, math.inf):
            limits = (
                f"below {least:g}" if largest == math.inf else f"outside [{least:g}, {largest:g}]"
            )
            yield (
                f"the scores come from `{node.name}` ({node.op.name}), which gives"
                f" nothing {limits}: end the net with the linear layer"
            )
    if outputs > classes:
        more = f"the network has {outputs} outputs and the data {classes} classes"
        ends_in_layer = node is None or bool(node.parameters)
        yield more if ends_in_layer else f"{more}: end it with `-> linear({classes})`"


def _last(graph: Graph) -> Node | None:
    """Return the node that computes the scores; None if an input is the output."""
    name = graph.outputs[scores_output(graph)]
    return next((node for node in graph.nodes if node.name == name), None)


def require_sizes(graph: Graph) -> None:
    """Refuse a graph with open sizes.

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
                "one value per channel has no variance",
            )


def require_training_batches(graph: Graph, parts: Sequence[slice]) -> None:
    """Refuse batches if one is too small to train on, such as the last of an uneven division.

    Raises:
        NetspecError: `model/batch`.
    """
    sizes = [part.stop - part.start for part in parts]
    if sizes[-1] == sizes[0]:
        require_training_batch(graph, sizes[0])
        return
    try:
        require_training_batch(graph, min(sizes))
    except NetspecError as error:
        (found,) = error.diagnostics
        count = parts[-1].stop
        note = f"{count} images in batches of {sizes[0]} leave a last batch of {sizes[-1]}"
        hint = Hint(f"take batches of {sizes[0] + 1}, or one image less")
        raise NetspecError([replace(found, notes=(note,), hints=(hint,))]) from None
