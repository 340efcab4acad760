"""Joins what is done with each number of a result to the kernel that makes it, while it is in registers.

The kernel gets one argument more, what is added, and the options `lowest` and `highest`, within which the
sums are then kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from netspec.compiler.ir.expression import Apply, Const, Expression, Var
from netspec.compiler.ir.plan import (
    Buffer,
    ElementwiseStep,
    KernelStep,
    Operand,
    Plan,
    Step,
    ViewStep,
    with_loops,
)
from netspec.records import record


@record
class _End:
    """The last steps of a formula: the variables whose sum is kept within two numbers."""

    summed: tuple[str, ...]
    lowest: float = -math.inf
    highest: float = math.inf


def with_ends(plan: Plan, *, takes: Callable[[KernelStep, bool], bool]) -> Plan:
    """Return a plan in which kernels of the forward pass do what follows them, where that is possible.

    Args:
        plan: the plan.
        takes: whether a kernel can do so, and add another array if the second argument says so.
    """
    alone = _read_once(plan)
    steps: list[Step] = []
    made: dict[Operand, int] = {}
    for step in plan.forward:
        joined = None
        if isinstance(step, ElementwiseStep):
            joined = _joined(step, steps, made, takes)
        if joined is not None:
            at, step = joined
            del steps[at]
            made = {each: i - (i > at) for each, i in made.items() if i != at}
        elif isinstance(step, KernelStep) and len(step.writes) == 1 and step.writes[0] in alone:
            made[step.writes[0]] = len(steps)
        steps.append(step)
    return replace(plan, forward=tuple(steps))


def _read_once(plan: Plan) -> frozenset[Operand]:
    """Return the buffers that one step writes and one reads, and nobody else."""
    steps = [*with_loops(plan.steps)]
    written = Counter(each for step in steps for each in step.writes)
    read = Counter(each for step in steps for each in step.reads)
    viewed = {step.source for step in steps if isinstance(step, ViewStep)}
    viewed |= {step.output for step in steps if isinstance(step, ViewStep)}
    outside = viewed | {*plan.external()}
    return frozenset(b for b, n in read.items() if n == written[b] == 1 and b not in outside)


def _joined(
    step: ElementwiseStep,
    steps: Sequence[Step],
    made: Mapping[Operand, int],
    takes: Callable[[KernelStep, bool], bool],
) -> tuple[int, KernelStep] | None:
    """Return the place of the kernel that can do a step too, the last one, and the two as one."""
    end = _end(step.formula)
    if end is None or not isinstance(step.output, Buffer):
        return None
    operands = [step.operands[name] for name in end.summed]
    found = [made[each] for each in operands if each in made]
    if not found or len({*operands}) < len(operands):
        return None
    at = max(found)
    kernel = steps[at]
    assert isinstance(kernel, KernelStep)
    (result,) = kernel.writes
    others = [each for each in operands if each != result]
    same = {(b.shape, b.batched) for b in (result, step.output, *others) if isinstance(b, Buffer)}
    if len(same) != 1 or not all(isinstance(each, Buffer) for each in others):
        return None
    if not takes(kernel, bool(others)):
        return None
    arguments = tuple(step.output if each == result else each for each in kernel.arguments)
    options = {**kernel.options, "lowest": end.lowest, "highest": end.highest}
    added = others[0] if others else None
    return at, replace(
        kernel, arguments=(*arguments, added), writes=(step.output,), options=options
    )


def _end(formula: Expression) -> _End | None:
    """Return a sum that may be kept within two numbers; None for another formula."""
    highest = _limit(formula, "minimum")
    if highest is not None:
        formula, most = highest
        lowest = _limit(formula, "maximum")
        least = -math.inf
        if lowest is not None:
            formula, least = lowest
        return None if least > most else _sum(formula, least, most)
    lowest = _limit(formula, "maximum")
    if lowest is not None:
        formula, least = lowest
        return _sum(formula, least, math.inf)
    return _sum(formula, -math.inf, math.inf)


def _limit(formula: Expression, function: str) -> tuple[Expression, float] | None:
    if not isinstance(formula, Apply) or formula.function != function:
        return None
    inner, limit = formula.arguments
    return (inner, limit.value) if isinstance(limit, Const) else None


def _sum(formula: Expression, lowest: float, highest: float) -> _End | None:
    terms: tuple[Expression, ...] = (formula,)
    if isinstance(formula, Apply) and formula.function == "add":
        terms = formula.arguments
    names = tuple(each.name for each in terms if isinstance(each, Var))
    return _End(names, lowest, highest) if len(names) == len(terms) else None
