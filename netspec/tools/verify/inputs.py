"""What all evaluators are given: weights, a batch, dropout masks, and something to differentiate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Parameter
from netspec.runtime.models.numpy_model import draw_parameter
from netspec.runtime.optim.losses import SoftmaxCrossEntropy
from netspec.tools.verify.quantities import LOSS, Trace

Array = NDArray[Any]

# Rounding errors grow with the largest gradient: what is zero in exact arithmetic must stay small.
MAX_PEAK = 2.0**10


@dataclass(frozen=True)
class Case:
    """One batch with everything that is random about it. All floats are float64 that a float32 holds.

    So the float32 programs get exactly the numbers of the float64 ones, and one run of the reference
    serves both.

    Attributes:
        inputs: by name, (N, C, H, W) or (N, F).
        parameters: every parameter and buffer by full name.
        objective: what is differentiated.
        training: batch statistics and dropout masks, or the running statistics and none.
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


def make_case(graph: Graph, *, batch: int, seed: int, training: bool) -> Case:
    """The case of a seed, without masks yet."""
    rng = np.random.default_rng([seed, 2])
    inputs = {
        name: _in_single(rng.standard_normal((batch, *shape)))
        for name, shape in graph.inputs.items()
    }
    parameters = {
        name: _in_single(_moved(draw_parameter(parameter, seed), parameter, rng))
        for name, parameter in graph.parameters.items()
    }
    shapes = {name: graph.shape_of(value) for name, value in graph.outputs.items()}
    terms = {name: _term(shape, batch, rng) for name, shape in shapes.items()}
    return Case(inputs, parameters, Objective(terms), training)


def _moved(values: Array, parameter: Parameter, rng: np.random.Generator) -> Array:
    """Initial values, moved where all are the same: mistakes hide in zeros and ones."""
    if parameter.role == "counter" or values.size == 0 or np.ptp(values) > 0:
        return values
    if values.flat[0] == 0:
        return rng.normal(0, 0.1, values.shape)
    return values * rng.uniform(0.5, 1.5, values.shape)


def _in_single(values: Array) -> Array:
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    return values.astype(np.float32).astype(np.float64)


def _term(shape: tuple[int, ...], batch: int, rng: np.random.Generator) -> Array:
    if len(shape) == 1 and shape[0] > 1:
        return rng.integers(0, shape[0], batch)
    return _in_single(rng.standard_normal((batch, *shape)))


def magnify(case: Case, trace: Trace) -> tuple[Case, Trace]:
    """A larger loss, where gradients are so small that a difference would not show.

    Agreement is measured against 1 where all numbers are smaller. The loss is multiplied by a power
    of two that brings the smallest of the values' gradients to 1, or the largest to `MAX_PEAK`, and
    so is the trace.
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


@dataclass(frozen=True)
class Objective:
    """The loss: a sum over the outputs.

    Scores (N, K), K > 1, add their softmax cross-entropy with labels (N,); any other output y adds
    sum(w y) / N with weights w of its shape. `terms` holds labels (integers) or weights by output.
    The sum is multiplied by `scale`, a power of two, which is exact.
    """

    terms: Mapping[str, Array]
    scale: float = 1.0

    def program(self, outputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """The loss and its gradients as training computes them, in the type of the outputs."""
        loss, gradients = 0.0, {}
        for name, term in self.terms.items():
            y = outputs[name]
            if term.dtype.kind == "i":
                gradients[name] = np.empty_like(y)
                loss += SoftmaxCrossEntropy().value_and_gradient(y, term, gradients[name])
            else:
                weights = term.astype(y.dtype)
                loss += float(np.sum(weights * y, dtype=np.float64)) / len(y)
                gradients[name] = weights / len(y)
            gradients[name] *= self.scale
        return self.scale * loss, gradients

    def reference(self, outputs: Mapping[str, Array]) -> tuple[float, dict[str, Array]]:
        """The same by the formulas."""
        loss, gradients = 0.0, {}
        for name, term in self.terms.items():
            y = outputs[name]
            if term.dtype.kind == "i":
                shares = np.exp(y - y.max(axis=1, keepdims=True))
                shares /= shares.sum(axis=1, keepdims=True)
                chosen = np.eye(y.shape[1])[term]
                loss -= float(np.log(shares[np.arange(len(y)), term]).mean())
                gradients[name] = (shares - chosen) / len(y)
            else:
                loss += float((term * y).sum()) / len(y)
                gradients[name] = term / len(y)
            gradients[name] *= self.scale
        return self.scale * loss, gradients
