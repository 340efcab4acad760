"""Filters that whiten the pictures: the initial values of a first layer, computed from the data."""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Node
from netspec.diagnostics import suggest
from netspec.runtime.data.choices import require
from netspec.runtime.data.input_normalization import InputNormalization
from netspec.runtime.data.samples import by_input
from netspec.runtime.models.inputs import input_name
from netspec.runtime.models.protocols import Job
from netspec.runtime.training.transfer import HasState

# How many of the training images are looked at, and how many at a time.
IMAGES, _AT_A_TIME = 5_000, 250
# What is added to the variance of a direction, so that noise is not made as large as the rest.
LEAST_VARIANCE = 5e-4


@runtime_checkable
class StartsWhitened(HasState, Protocol):
    """A model of either backend."""

    @property
    def graph(self) -> Graph:
        """The net."""
        ...


def start_whitened(model: object, job: Job, layer: str) -> None:
    """Give a convolution that reads the pictures the filters of `filters_of` their patches.

    Filters beyond these keep their initial values.

    Args:
        model: a model of either backend; its state is changed.
        job: the run, whose first training images are looked at.
        layer: the name of the layer.

    Raises:
        NetspecError: `train/bad-option` if it is no layer whose filters read the pictures alone.
    """
    assert isinstance(model, StartsWhitened)
    graph = model.graph
    node = _reader(graph, layer)
    name = node.parameters["weight"]
    state = model.state_dict()
    weight = state[name]
    fields = {input_name(graph, field): field for field in by_input(job.data.x_train[:1])}
    moment = second_moment(job, fields[node.inputs[0]], weight.shape[2:])
    found = filters_of(moment).reshape(-1, *weight.shape[1:])[: len(weight)]
    weight[: len(found)] = found
    model.load_state_dict(state)


def second_moment(job: Job, field: str, kernel: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the mean of p p^T over all patches p (C kh kw,) of normalized training images."""
    images = job.data.x_train[:IMAGES]
    total, count = np.zeros(()), 0
    for start in range(0, len(images), _AT_A_TIME):
        x = _picture(job.normalization, images[start : start + _AT_A_TIME], field)
        seen = np.lib.stride_tricks.sliding_window_view(x, kernel, axis=(2, 3))
        rows = seen.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * math.prod(kernel))
        total = total + rows.T @ rows
        count += len(rows)
    moment: NDArray[np.float64] = total / count
    return moment


def filters_of(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (2 D, D) filters whose answers have no correlation and equal variance.

    They are the eigenvectors v of the second moment (D, D) over sqrt(variance + LEAST_VARIANCE), those
    of the largest variance first, then the same with the opposite sign, as an activation cuts one off.

    Source: Page, How to Train Your ResNet 8 (2019); Jordan, 94% on CIFAR-10 in 3.29 Seconds (2024).
    """
    variances, vectors = np.linalg.eigh(moment)
    found = (vectors / np.sqrt(variances.clip(0) + LEAST_VARIANCE)).T[::-1]
    # An eigenvector has no sign of its own: its largest number is made positive.
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    found = found * np.sign(largest)
    both: NDArray[np.float64] = np.concatenate([found, -found])
    return both


def _picture(
    normalization: InputNormalization, images: NDArray[Any], field: str
) -> NDArray[np.floating]:
    found = normalization.apply(images, np.dtype(np.float64))
    return found[field] if isinstance(found, dict) else found


def _reader(graph: Graph, layer: str) -> Node:
    """Return the layer, after checking that its filters read pictures of the data."""
    named = {
        node.parameters["weight"].removesuffix(".weight"): node
        for node in graph.nodes
        if "weight" in node.parameters
    }
    meant = suggest(layer, named)
    require(
        layer in named,
        f"{graph.name} has no layer `{layer}` to whiten",
        f"did you mean `{meant}`?" if meant else "`netspec summarize` lists the layers",
    )
    node = named[layer]
    shape = graph.inputs.get(node.inputs[0], ())
    weight = graph.parameters[node.parameters["weight"]].shape
    require(
        len(shape) == 3
        and len(weight) == 4
        and weight[1] == shape[0]
        and node.inputs[0] in graph.inputs,
        f"`{layer}` does not whiten pictures: its filters {list(weight)} do not read those of the data",
        "whiten a convolution of the input, without groups",
    )
    return node
