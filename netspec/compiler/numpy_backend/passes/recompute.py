"""Recomputes some values for the backward pass instead of keeping them.

A value that an elementwise step computes in the forward pass, and that the backward pass reads, is
kept in between, when the arena is at its fullest. If its operands are kept anyway (such as the
value that a batch norm normalised), the same formula can recompute it just before it is needed
(Chen et al. 2016). That costs one pass over the value, so only as many values are recomputed as
make the arena smaller by `SHARE`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from netspec.compiler.ir.expression import FUNCTIONS, Apply, walk
from netspec.compiler.ir.plan import (
    Buffer,
    ElementwiseStep,
    KernelStep,
    Operand,
    Plan,
    Step,
    ViewStep,
)
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory

# By which share the arena should become smaller.
SHARE = 0.05

# The suffix in the name of a recomputed value.
SUFFIX = "again"


def recompute(plan: Plan, share: float = SHARE) -> Plan:
    """Return the plan in which cheap values are recomputed, until its arena is smaller by `share`."""
    if not plan.backward:
        return plan
    most = plan_memory(plan).lower_bound(1)
    wanted, kept = share * most, set[Operand]()
    chosen: dict[Buffer, ElementwiseStep] = {}
    for step in sorted(_candidates(plan), key=lambda s: -_size(s)):
        operands = set(step.operands.values())
        if wanted <= 0:
            break
        # The operands of recomputed values must be kept.
        if step.output in kept or operands & set(chosen):
            continue
        assert isinstance(step.output, Buffer)
        chosen[step.output] = step
        kept |= operands
        wanted -= _size(step)
    if not chosen:
        return plan
    after = dataclasses.replace(plan, backward=tuple(_backward(plan, chosen)))
    return after if plan_memory(after).lower_bound(1) < most else plan


def _candidates(plan: Plan) -> Iterator[ElementwiseStep]:
    """Yield the steps whose value the backward pass reads, and can recompute from what it reads
    later.
    """
    last = _last_reads(plan.backward)
    fixed = set(plan.external())
    views: set[Operand] = {step.source for step in plan.steps if isinstance(step, ViewStep)}
    views |= {step.output for step in plan.steps if isinstance(step, ViewStep)}
    for step in plan.forward:
        if not isinstance(step, ElementwiseStep) or not isinstance(step.output, Buffer):
            continue
        value = step.output
        if value not in last or value in fixed or value in views or not _cheap(step):
            continue
        if all(
            last.get(operand, -1) >= last[value] or _is_small(operand)
            for operand in step.operands.values()
        ):
            yield step


def _cheap(step: ElementwiseStep) -> bool:
    """Whether the time of a step is limited by memory, not by arithmetic."""
    functions = (FUNCTIONS[e.function] for e in walk(step.formula) if isinstance(e, Apply))
    return not any(function.transcendental for function in functions)


def _is_small(operand: Operand) -> bool:
    """Whether keeping an operand longer costs almost nothing, because it has only one number per
    channel.
    """
    return isinstance(operand, Buffer) and not operand.batched


def _size(step: ElementwiseStep) -> int:
    assert isinstance(step.output, Buffer)
    return step.output.elements(1)


def _last_reads(steps: tuple[Step, ...]) -> dict[Operand, int]:
    return {operand: at for at, step in enumerate(steps) for operand in step.reads}


def _backward(plan: Plan, chosen: Mapping[Buffer, ElementwiseStep]) -> Iterator[Step]:
    """Yield the backward pass, with each chosen value recomputed before its first reader there."""
    made: dict[Operand, Operand] = {}
    for step in plan.backward:
        for operand in step.reads:
            if operand in chosen and operand not in made:
                assert isinstance(operand, Buffer)
                copy = Buffer(f"{operand.name}.{SUFFIX}", operand.shape, operand.batched)
                made[operand] = copy
                yield dataclasses.replace(chosen[operand], output=copy)
        yield _renamed(step, made)


def _renamed(step: Step, names: Mapping[Operand, Operand]) -> Step:
    """Return a step that reads other operands in place of some buffers."""
    if isinstance(step, ElementwiseStep):
        operands = {name: names.get(o, o) for name, o in step.operands.items()}
        return dataclasses.replace(step, operands=operands)
    if isinstance(step, KernelStep):
        arguments = tuple(names.get(a, a) if isinstance(a, Buffer) else a for a in step.arguments)
        return dataclasses.replace(step, arguments=arguments)
    return step


def made_again(plan: Plan) -> Iterator[ElementwiseStep]:
    """Yield the steps of a plan that recompute a value."""
    for step in plan.backward:
        if isinstance(step, ElementwiseStep) and step.output.name.endswith(f".{SUFFIX}"):
            yield step
