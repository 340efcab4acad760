"""Fuses elementwise steps: a value that only another elementwise step reads is never stored."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from netspec.compiler.ir.expression import Apply, Expression, Var, substitute, walk
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Operand, Plan, Step

# A formula with more functions than this needs more registers than fit into the cache.
MAX_FUNCTIONS = 24


def fuse(plan: Plan) -> Plan:
    """Return the plan with each chain of elementwise steps fused into one step.

    A step is fused into its reader if that is its only reader, is elementwise too, has the same
    shape, and is in the same phase.
    """
    readers = Counter(operand for step in plan.steps for operand in step.reads)
    fixed = set(plan.external())
    return dataclasses.replace(
        plan,
        forward=_fuse_phase(plan.forward, readers, fixed),
        backward=_fuse_phase(plan.backward, readers, fixed),
    )


def _fuse_phase(
    steps: Sequence[Step], readers: Counter[Operand], fixed: set[Buffer]
) -> tuple[Step, ...]:
    pending: dict[Operand, ElementwiseStep] = {}
    result: list[Step | None] = []
    place: dict[Operand, int] = {}
    for step in steps:
        if isinstance(step, ElementwiseStep):
            for operand in dict.fromkeys(step.reads):
                earlier = pending.get(operand)
                if earlier is not None and _can_fuse(earlier, step):
                    step = _inlined(earlier, step)
                    result[place[operand]] = None
            out = step.output
            if isinstance(out, Buffer) and out not in fixed and readers[out] == 1:
                pending[out] = step
                place[out] = len(result)
        result.append(step)
    return tuple(step for step in result if step is not None)


def _can_fuse(earlier: ElementwiseStep, later: ElementwiseStep) -> bool:
    a, b = earlier.output, later.output
    if not (isinstance(a, Buffer) and isinstance(b, Buffer)):
        return False
    uses = sum(later.operands.get(name) == a for name in _variable_uses(later.formula))
    functions = _functions(earlier.formula) + _functions(later.formula)
    return (a.shape, a.batched) == (b.shape, b.batched) and uses == 1 and functions <= MAX_FUNCTIONS


def _variable_uses(formula: Expression) -> list[str]:
    return [node.name for node in walk(formula) if isinstance(node, Var)]


def _functions(formula: Expression) -> int:
    return sum(isinstance(node, Apply) for node in walk(formula))


def _inlined(earlier: ElementwiseStep, later: ElementwiseStep) -> ElementwiseStep:
    """Return `later` with the formula of `earlier` substituted.

    Operands that are the same array share a variable.
    """
    operands: dict[str, Operand] = {}
    names: dict[Operand, str] = {}

    def rename(step: ElementwiseStep, skip: Operand | None) -> dict[str, Expression]:
        renamed: dict[str, Expression] = {}
        for name, operand in step.operands.items():
            if operand == skip:
                continue
            if operand not in names:
                fresh, number = name, 2
                while fresh in operands:
                    fresh, number = f"{name}_{number}", number + 1
                names[operand] = fresh
                operands[fresh] = operand
            renamed[name] = Var(names[operand])
        return renamed

    inner = substitute(earlier.formula, rename(earlier, None))
    outer = rename(later, earlier.output)
    outer |= {name: inner for name, operand in later.operands.items() if operand == earlier.output}
    nodes = tuple(dict.fromkeys(earlier.nodes + later.nodes))
    parts = tuple(dict.fromkeys(earlier.parts + later.parts))
    return ElementwiseStep(later.output, substitute(later.formula, outer), operands, nodes, parts)
