"""Compares an imported net with its model in training: in float64, with random parameters.

The parameters are drawn, because those of a model may hide what differs: a last layer of zeros, or
scales of one in a million. What drops numbers at random has the rate 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError
from netspec.imports.proof import closed, random_inputs, with_infinite
from netspec.tools.agreement.case import Trial, make_case
from netspec.tools.agreement.difference import distances
from netspec.tools.agreement.numpy_trace import plan_as_run, trace_program
from netspec.tools.agreement.quantities import Item

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

TOLERANCE = 1e-7
"""How far float64 numbers may be apart, as a part of the largest. PyTorch rounds the slope of
`hardsigmoid` to float32."""

_BATCH = 3
# Gradients of a tensor are compared with its largest one, and with this part of the largest of all:
# below are the rounding errors of sums that are zero in exact arithmetic.
_NOTHING = 1e-6
# A tensor whose gradients are below this part of the largest of all on both sides has the gradient 0,
# but for rounding: that of a bias in front of a batch norm is a sum of thousands of numbers that cancel,
# which PyTorch itself gets differently if the batch is turned round.
_CANCELLED = 1e-12

Step = Callable[[Trial, bool], "tuple[Arrays, Arrays]"]
"""Runs the model in training on a trial: its outputs by the net's names, and if that is wanted the
gradients of its parameters."""


@dataclass(frozen=True, slots=True)
class TrainingDifference:
    """The largest differences in training, as parts of the largest number; no gradients: None."""

    outputs: float
    gradients: float | None


def training_difference(graph: Graph, model: Step, *, gradients: bool) -> TrainingDifference | None:
    """Compare a net with its model in training; None for a net that draws numbers in any case.

    Raises:
        NetspecError: `import/differs`.
    """
    still = _at_rate_zero(closed(graph))
    if any(node.op.draws() for node in still.nodes):
        return None
    case = _case(still)
    ours = trace_program(still, plan_as_run(still, True, backward=gradients), case, "float64")
    outputs, slopes = model(case, gradients)
    found = {name: ours[Item("output", name)] for name in outputs}
    apart = _largest(found, outputs, "the outputs in training")
    if not gradients:
        return TrainingDifference(apart, None)
    found = {name: ours[Item("parameter", name)] for name in slopes}
    return TrainingDifference(apart, _largest(found, slopes, "the gradients"))


def _at_rate_zero(graph: Graph) -> Graph:
    nodes = []
    for node in graph.nodes:
        op = node.op
        if op.rate:
            op = dataclasses.replace(op, **{op.rate: 0.0})  # type: ignore[type-var]  # as ops are
        nodes.append(dataclasses.replace(node, op=op))
    return dataclasses.replace(graph, nodes=tuple(nodes))


def _case(graph: Graph) -> Trial:
    """Return a batch and parameters, none of which are all equal or all tiny."""
    case = make_case(graph, batch=_BATCH, seed=0, training=True)
    inputs = {
        name: array.astype(np.float64) if array.dtype.kind == "f" else array
        for name, array in random_inputs(graph, _BATCH, np.random.default_rng(0)).items()
    }
    return dataclasses.replace(case, inputs=inputs)


def _largest(ours: Arrays, theirs: Arrays, what: str) -> float:
    """Return the largest difference, as a part of the largest number of each array.

    Raises:
        NetspecError: if it is above `TOLERANCE`.
    """
    found = {name: distances(a, with_infinite(ours[name], a)) for name, a in theirs.items()}
    largest = max((peak for _, peak in found.values()), default=0.0)
    least = largest * _NOTHING
    worst, place = 0.0, ""
    for name, (gaps, peak) in found.items():
        if peak + float(gaps.max(initial=0)) < largest * _CANCELLED:
            continue
        share = float(gaps.max(initial=0)) / (max(peak, least) or 1.0)
        if share > worst:
            worst, place = share, name
    if worst > TOLERANCE:
        message = f"{what} differ: `{place}` by {worst:.1e} of the largest, with random parameters"
        raise NetspecError.simple(codes.IMPORT_DIFFERS, message, "nothing was written")
    return worst
