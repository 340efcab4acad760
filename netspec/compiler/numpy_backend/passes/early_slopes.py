"""Computes a costly slope in the forward pass, where half of it is computed anyway.

GELU is x P(x), and its slope P(x) + x P'(x): both need P(x), an error function, which takes NumPy two
dozen passes. Instead of keeping x, from which the backward pass would compute it once more, the forward
pass computes P(x) once, the value and the slope from it, and keeps the slope. P(x) takes memory of its
own for a moment.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from netspec.compiler.ir.expression import (
    FUNCTIONS,
    Apply,
    Expression,
    Var,
    replaced,
    substitute,
    variables,
    walk,
)
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Operand, Plan, Step

# What follows the name of a value in those of its slope, and of what both are computed from.
SLOPE, SHARED = "slope", "shared"


class _Slope(NamedTuple):
    """A slope in the formula of a step of the backward pass.

    Attributes:
        there: the slope, as it is written there.
        formula: the same with the names of the step of the forward pass.
        shared: the part of it that the value is computed from, too.
    """

    there: Expression
    formula: Expression
    shared: Expression


def early_slopes(plan: Plan) -> Plan:
    """Return the plan in which costly slopes are computed along with the values.

    A slope takes the place of what it is computed from: it must be the only thing in the backward pass
    that needs that.
    """
    makers = {
        at: step
        for at, step in enumerate(plan.forward)
        if isinstance(step, ElementwiseStep) and _is_costly(step.formula)
    }
    if not makers:
        return plan
    readers = Counter(operand for step in plan.backward for operand in step.reads)
    fixed = set(plan.external())
    forward: list[tuple[Step, ...]] = [(step,) for step in plan.forward]
    backward = list(plan.backward)
    for at, step in enumerate(plan.backward):
        if not isinstance(step, ElementwiseStep) or not _is_costly(step.formula):
            continue
        for place, maker in makers.items():
            slope = _slope_in(step, maker)
            if slope is None:
                continue
            *made, kept = _made(maker, slope)
            after = _with_slope(step, slope, kept)
            freed = {operand for operand in step.reads if operand not in after.reads}
            if freed and all(readers[o] == 1 and o not in fixed for o in freed):
                forward[place], backward[at] = (*made, kept), after
                del makers[place]
                break
    steps = tuple(step for group in forward for step in group)
    return dataclasses.replace(plan, forward=steps, backward=tuple(backward))


def _is_costly(formula: Expression) -> bool:
    """Whether a formula has a function that NumPy lacks."""
    functions = (FUNCTIONS[e.function] for e in walk(formula) if isinstance(e, Apply))
    return any(function.kernel_module is not None for function in functions)


def _slope_in(step: ElementwiseStep, maker: ElementwiseStep) -> _Slope | None:
    """Return the largest part of a step's formula that shares something costly with a value."""
    if _kind(step) is None or _kind(step) != _kind(maker):
        return None
    names = {operand: Var(name) for name, operand in maker.operands.items()}
    known = {name: names[o] for name, o in step.operands.items() if o in names}
    of_value = set(walk(maker.formula))
    for part in walk(step.formula):
        if not isinstance(part, Apply) or not known.keys() >= set(variables(part)):
            continue
        formula = substitute(part, known)
        for shared in walk(formula):
            if isinstance(shared, Apply) and shared in of_value and _is_costly(shared):
                return _Slope(part, formula, shared)
    return None


def _kind(step: ElementwiseStep) -> tuple[int, ...] | None:
    """Return the shape of a step's value, if it has one for each sample."""
    output = step.output
    return output.shape if isinstance(output, Buffer) and output.batched else None


def _made(maker: ElementwiseStep, slope: _Slope) -> Iterator[ElementwiseStep]:
    """Yield steps that compute what value and slope share, the value, and the slope."""
    shared = _beside(maker, SHARED, slope.shared, maker.operands)
    yield shared
    name = _free(SHARED, maker)
    operands = {**maker.operands, name: shared.output}
    value = replaced(maker.formula, slope.shared, Var(name))
    yield dataclasses.replace(maker, formula=value, operands=_used(value, operands))
    yield _beside(maker, SLOPE, replaced(slope.formula, slope.shared, Var(name)), operands)


def _beside(
    maker: ElementwiseStep, suffix: str, formula: Expression, operands: Mapping[str, Operand]
) -> ElementwiseStep:
    """Return a step of the same nodes that computes another value of the same shape."""
    assert isinstance(maker.output, Buffer)
    return dataclasses.replace(
        maker,
        output=dataclasses.replace(maker.output, name=f"{maker.output.name}.{suffix}"),
        formula=formula,
        operands=_used(formula, operands),
        parts=(*maker.parts, suffix),
    )


def _with_slope(step: ElementwiseStep, slope: _Slope, kept: ElementwiseStep) -> ElementwiseStep:
    """Return a step of the backward pass that reads a slope."""
    name = _free(SLOPE, step)
    formula = replaced(step.formula, slope.there, Var(name))
    operands = _used(formula, {**step.operands, name: kept.output})
    return dataclasses.replace(step, formula=formula, operands=operands)


def _free(name: str, step: ElementwiseStep) -> str:
    """Return a name that is none of a step's operands."""
    while name in step.operands:
        name += "_"
    return name


def _used(formula: Expression, operands: Mapping[str, Operand]) -> dict[str, Operand]:
    return {name: operands[name] for name in variables(formula)}


def slopes(plan: Plan) -> Iterator[ElementwiseStep]:
    """Yield the steps of a plan that compute a slope early."""
    for step in plan.forward:
        if isinstance(step, ElementwiseStep) and step.parts[-1:] == (SLOPE,):
            yield step
