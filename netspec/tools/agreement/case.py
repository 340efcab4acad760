"""The input of all evaluators: weights, a batch, dropout masks, and what is differentiated."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Parameter
from netspec.runtime.models.inputs import draw_whole, holds_whole
from netspec.runtime.models.numpy_model import draw_parameter
from netspec.tools.agreement.input_range import in_range
from netspec.tools.agreement.objective import Objective, has_scores
from netspec.tools.agreement.quantities import LOSS, Trace

Array = NDArray[Any]

# Rounding errors grow with the largest gradient, and numbers that are zero in exact arithmetic must
# stay small.
MAX_PEAK = 2.0**10

# Initial values that are all as small as this hide what they scale, as those of a LayerScale do.
SMALL = 0.01


class HasGraph(Protocol):
    """A checked net, or a model of one."""

    @property
    def graph(self) -> Graph:
        """The graph."""
        ...


@dataclass(frozen=True)
class Trial:
    """One batch, with everything random about it. All floats are float64 that a float32 holds.

    So the float32 programs get exactly the same numbers as the float64 ones, and one run of the
    reference serves both.

    Attributes:
        inputs: by name, (N, C, H, W) or (N, F).
        parameters: every parameter and buffer by full name.
        objective: what is differentiated.
        training: True for batch statistics and dropout masks, False for running statistics without
            masks.
        masks: the random mask of each node that has one, N, C, H, W.
    """

    inputs: Mapping[str, Array]
    parameters: Mapping[str, Array]
    objective: Objective
    training: bool
    masks: Mapping[str, Array] = dataclasses.field(default_factory=dict)

    @property
    def batch(self) -> int:
        """The number of images."""
        return len(next(iter(self.inputs.values())))


def make_case(
    graph: Graph,
    *,
    batch: int,
    seed: int,
    training: bool,
    state: Mapping[str, Array] | None = None,
) -> Trial:
    """Draw the case of a seed, without masks, with inputs in the range that the net is for.

    Args:
        graph: the net.
        batch: the number of images.
        seed: of all that is drawn.
        training: whether the case is one of training.
        state: parameters and buffers that are not drawn.
    """
    rng = np.random.default_rng([seed, 2])
    drawn = draw_inputs(graph, batch, rng)
    parameters = {
        name: in_single(draw_moved(parameter, seed, rng))
        for name, parameter in graph.parameters.items()
    }
    parameters |= {name: in_single(array) for name, array in (state or {}).items()}
    inputs = {name: in_single(x) for name, x in in_range(graph, drawn, parameters).items()}
    terms = {name: _term(graph, name, batch, rng) for name in graph.outputs}
    return Trial(inputs, parameters, Objective(terms), training)


def draw_inputs(graph: Graph, batch: int, rng: np.random.Generator) -> dict[str, Array]:
    """Standard normal numbers for every input; positive or whole ones where a layer that reads it needs
    them. `in_range` brings them to where a net with given parameters wants them.
    """
    drawn: dict[str, Array] = {}
    for name, shape in graph.inputs.items():
        if holds_whole(graph, name):
            drawn[name] = draw_whole(graph, name, (batch, *shape), rng).astype(np.float64)
            continue
        x = rng.standard_normal((batch, *shape))
        readers = graph.consumers.get(name, ())
        drawn[name] = 0.5 + np.abs(x) if any(r.op.needs_positive for r in readers) else x
    return drawn


def draw_moved(parameter: Parameter, seed: int, rng: np.random.Generator) -> Array:
    """Draw initial values in float64, perturbed if they are all equal, and enlarged if they are tiny.

    An integer counter is unchanged.

    Zeros and ones hide mistakes: a gradient that is multiplied by a scale of 1 once too often is
    still right. So do scales of one in a million, behind which no gradient is large enough to be
    compared.
    """
    values: Array = draw_parameter(parameter, seed)
    if parameter.role == "counter":
        return values.astype(np.int64)
    if not parameter.is_saved:
        return values  # a constant has no other values
    if values.size == 0:
        return values
    if np.ptp(values) == 0:
        if values.flat[0] == 0:
            return rng.normal(0, 0.1, values.shape)
        values = values * rng.uniform(0.5, 1.5, values.shape)
    return _enlarged(values) if parameter.trainable else values


def _enlarged(values: Array) -> Array:
    """Return values whose root mean square, if all are tiny, is one over the root of the fan-in."""
    if not 0 < float(np.abs(values).max()) < SMALL:
        return values
    wanted = math.prod(values.shape[1:]) ** -0.5
    larger: Array = values * max(1.0, wanted / float(np.sqrt(np.mean(np.square(values)))))
    return larger


def in_single(values: Array) -> Array:
    """Return numbers in float64 that a float32 holds; whole ones as int64."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    return values.astype(np.float32).astype(np.float64)


def _term(graph: Graph, output: str, batch: int, rng: np.random.Generator) -> Array:
    shape = graph.shape_of(graph.outputs[output])
    if has_scores(graph, output):
        return rng.integers(0, shape[0], batch)
    return in_single(rng.standard_normal((batch, *shape)))


def magnify(case: Trial, trace: Trace) -> tuple[Trial, Trace]:
    """Scale up the loss if its gradients are so small that a difference would not show.

    Agreement is measured relative to 1 if all numbers are smaller than 1. So the loss and the trace
    are multiplied by a power of two that brings the smallest of the values' gradients to 1, or the
    largest to `MAX_PEAK`.
    """
    found = (np.abs(g).max(initial=0.0) for item, g in trace.items() if item.kind == "gradient")
    peaks = [float(peak) for peak in found if 0 < peak < np.inf] or [1.0]
    wanted = min(1 / min(peaks), MAX_PEAK / max(peaks))
    scale = 2.0 ** max(0, math.ceil(math.log2(wanted)))
    objective = dataclasses.replace(case.objective, scale=scale)
    larger = {
        item: array * scale if item.is_backward or item == LOSS else array
        for item, array in trace.items()
    }
    return dataclasses.replace(case, objective=objective), larger


def another(case: Trial) -> Trial:
    """Return another batch, to run through a program first.

    If the next step then forgets to write a number, that number is wrong instead of right by luck.
    """
    inputs = {name: 1.25 * array[::-1] + 0.5 for name, array in case.inputs.items()}
    return dataclasses.replace(case, inputs=inputs)
