"""The steps of a forward pass that depend on parameters alone, taken out of it."""

from __future__ import annotations

import dataclasses

from netspec.compiler.ir.plan import SCRATCH, Buffer, KernelStep, ParameterRef, Plan, Step


def split_constant(plan: Plan) -> tuple[Plan, Plan, tuple[Buffer, ...]]:
    """The plan without those steps, a plan of those steps, and the buffers that they fill.

    Where parameters no longer change, as in a file for inference, these need to run only once.
    """
    constant: list[Step] = []
    rest: list[Step] = []
    made: dict[Buffer, None] = {}
    for step in plan.forward:
        if isinstance(step, KernelStep) and _is_constant(step, made):
            constant.append(step)
            made |= dict.fromkeys(w for w in step.writes if isinstance(w, Buffer))
        else:
            rest.append(step)
    nothing: dict[str, Buffer] = {}
    once = dataclasses.replace(
        plan, inputs=nothing, outputs=nothing, sample=(), forward=tuple(constant), backward=()
    )
    return dataclasses.replace(plan, forward=tuple(rest)), once, tuple(made)


def _is_constant(step: KernelStep, made: dict[Buffer, None]) -> bool:
    """Whether a step reads parameters alone, or what was made of them, and fills vectors."""
    if SCRATCH in step.arguments:
        return False
    known = all(isinstance(o, ParameterRef) or o in made for o in step.reads)
    return known and all(isinstance(w, Buffer) and not w.batched for w in step.writes)
