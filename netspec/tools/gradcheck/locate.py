"""Finds the layer at which a gradient is first wrong, going backward from the loss.

Two things can be wrong. A program can compute something else than the reference: then the two are
compared value by value and gradient by gradient, fused and unfused, as `verify` does. Or the
formula itself is wrong, and every program agrees on it: then each layer's backward pass is compared
with differences of that layer alone, using the gradient that really arrives there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node
from netspec.compiler.ir.op import Evaluation
from netspec.diagnostics import Diagnostic
from netspec.tools.agreement.case import Trial, another, magnify
from netspec.tools.agreement.compare import Agreement, Side, compare
from netspec.tools.agreement.describe import describe_parting
from netspec.tools.agreement.evaluators import (
    AS_RUN,
    FUSED,
    Sides,
    compare_sides,
    trace_sides,
    witnesses,
)
from netspec.tools.agreement.fused_steps import program_order
from netspec.tools.agreement.limits import EXACT, Limits
from netspec.tools.agreement.numpy_trace import plan_as_run, trace_reference
from netspec.tools.agreement.quantities import Item, Trace
from netspec.tools.agreement.step_trace import trace_by_steps
from netspec.tools.gradcheck.differences import ROUNDING, SMALLEST, Slope, find_slope
from netspec.tools.gradcheck.probes import STEP, Target
from netspec.tools.gradcheck.verdict import judge

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[Any]

_OF_GRADCHECK = {
    codes.VERIFY_VALUE: codes.GRADCHECK_VALUE,
    codes.VERIFY_GRADIENT: codes.GRADCHECK_GRADIENT,
}

# Correct programs agree in float64 to this tolerance.
CLOSE = 1e-10
# The number of directions in which a layer's own backward pass is tested.
TRIES = 3


def locate(
    graph: Graph, case: Trial, tolerance: float, *, module: nn.Module | None = None
) -> Diagnostic | None:
    """Return the diagnostic of the first fault, if it can be located.

    Args:
        graph: the net.
        case: the point at which a gradient was found wrong.
        tolerance: of the gradients.
        module: the PyTorch module, if it is the one whose gradient is wrong.
    """
    case, reference = magnify(case, trace_reference(graph, case))
    where = "float64, " + ("training" if case.training else "evaluation")
    sides = trace_sides(
        graph, case, "float64", reference, module, backward=True, before=another(case)
    )
    for comparison in compare_sides(graph, case, sides, CLOSE):
        if comparison.right == AS_RUN and comparison.parting is not None:
            limits = Limits(graph, case, reference, CLOSE)
            comparison = _closer(graph, case, sides, limits) or comparison
        if comparison.parting is not None:
            found = describe_parting(graph, comparison.parting, where, witnesses(sides))
            return dataclasses.replace(found, code=_OF_GRADCHECK[found.code])
    wrong = wrong_formula(graph, case, reference, tolerance)
    return None if wrong is None else wrong.diagnostic


def _closer(graph: Graph, case: Trial, sides: Sides, limits: Limits) -> Agreement | None:
    """Return where the program as it runs diverges from the fused one, step by step; None if nowhere."""
    plan = plan_as_run(graph, case.training, backward=True)
    left = dataclasses.replace(sides[FUSED], local=None)
    right = Side(AS_RUN, trace_by_steps(graph, plan, case))
    comparison = compare(graph, left, right, program_order(graph, plan, (left, right)), limits)
    return None if comparison.parting is None else comparison


# ------------------------------------------------------------------------------ one layer by itself


@dataclasses.dataclass(frozen=True)
class WrongFormula:
    """A layer whose backward pass is not the slope of its forward pass."""

    node: Node
    diagnostic: Diagnostic


def wrong_formula(
    graph: Graph, case: Trial, reference: Trace, tolerance: float
) -> WrongFormula | None:
    """Return the last layer whose backward pass is not the slope of its forward pass, if there is one.

    Args:
        graph: the net.
        case: the point.
        reference: what the reference computes there.
        tolerance: of the gradients.
    """
    for node in reversed(graph.nodes):
        dy = reference.get(Item("gradient", node.name))
        largest = 0.0 if dy is None else float(np.abs(dy).max(initial=0))
        if dy is None or not 0 < largest < np.inf:
            continue
        dy = dy / largest  # however small it is, what follows is measured alike
        for what, analytic, slope in _own_slopes(graph, case, reference, node, dy):
            if judge(analytic, slope, max(abs(analytic), abs(slope.value)), tolerance) == "wrong":
                found = Diagnostic(
                    codes.GRADCHECK_GRADIENT,
                    f"the gradient of {what} is not the slope of `{node.name}` ({node.op.name})",
                    span=node.origin.span,
                    label=f"{analytic:.6g} by its backward, {slope.value:.6g} by differences",
                    notes=(
                        "along a random direction, with the gradient that arrives at it, scaled to 1",
                        "the reference and the programs agree: the layer's formula is wrong",
                    ),
                    trace=node.origin.trace,
                )
                return WrongFormula(node, found)
    return None


def _own_slopes(
    graph: Graph, case: Trial, reference: Trace, node: Node, dy: Array
) -> Iterator[tuple[str, float, Slope]]:
    """Yield the slopes by backward pass and by differences, for each input and parameter of a layer."""
    x = [
        case.inputs[value] if value in graph.inputs else reference[Item("value", value)]
        for value in node.inputs
    ]
    own = {name: np.array(case.parameters[full]) for name, full in node.parameters.items()}
    run = Evaluation(node, case.training, {n: a.copy() for n, a in own.items()}, case.masks)
    node.op.forward(run, *x)
    gradients = dict(enumerate(node.op.backward(run, dy, *x)))
    rng = np.random.default_rng(11)
    for i, value in enumerate(node.inputs):
        if graph.holds(value) != "real":
            continue

        def moved_input(u: Array, t: float, i: int = i) -> tuple[list[Array], dict[str, Array]]:
            return [a + t * u if j == i else a for j, a in enumerate(x)], own

        target = Target("input", (value,), (x[i],))
        found = _slopes(node, case, dy, target, gradients[i], moved_input, rng)
        yield from ((f"its input `{value}`", *pair) for pair in found)
    for name, gradient in run.gradients.items():

        def moved_own(u: Array, t: float, name: str = name) -> tuple[list[Array], dict[str, Array]]:
            return x, own | {name: own[name] + t * u}

        full = node.parameters[name]
        target = Target("parameter", (full,), (own[name],), graph.untrained_rows)
        found = _slopes(node, case, dy, target, gradient, moved_own, rng)
        yield from ((f"`{node.parameters[name]}`", *pair) for pair in found)


def _slopes(
    node: Node,
    case: Trial,
    dy: Array,
    target: Target,
    gradient: Array,
    moved: Callable[[Array, float], tuple[list[Array], Mapping[str, Array]]],
    rng: np.random.Generator,
) -> Iterator[tuple[float, Slope]]:
    arrives = dy != 0  # elsewhere, values may be infinite

    def at(u: Array, t: float) -> tuple[Array, Array | None]:
        x, own = moved(u, t)
        fresh = {name: array.copy() for name, array in own.items()}
        y = node.op.forward(Evaluation(node, case.training, fresh, case.masks), *x)
        return dy[arrives] * y[arrives], node.op.pattern(*x)

    for direction in target.directions(TRIES, rng):
        u = direction.parts[0].array
        terms, base = at(u, 0.0)

        def f(t: float, u: Array = u, base: Array | None = base) -> float | None:
            value, pattern = at(u, t)
            same = base is None or (pattern is not None and np.array_equal(base, pattern))
            return float(value.sum()) if same else None

        slope = find_slope(
            f,
            STEP * direction.scale,
            smallest=SMALLEST * direction.scale,
            rounding=ROUNDING * EXACT * float(np.abs(terms).sum()),
        )
        if slope is not None:
            yield float(np.vdot(gradient, u)), slope
