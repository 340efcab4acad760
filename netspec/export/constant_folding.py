"""Separates the steps of a forward pass that depend only on parameters."""

from __future__ import annotations

import dataclasses

from netspec.compiler.ir.plan import SCRATCH, Buffer, KernelStep, ParameterRef, Plan, Step


def split_constant(plan: Plan) -> tuple[Plan, Plan, tuple[Buffer, ...]]:
    """Return the plan without these steps, a plan of these steps, and the buffers that they fill.

    If parameters do not change any more, as in a file for inference, these steps need to run only
    once.
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
    """Return True if a step reads only parameters or values computed from them, and fills vectors."""
    if SCRATCH in step.arguments:
        return False
    known = all(isinstance(o, ParameterRef) or o in made for o in step.reads)
    return known and all(isinstance(w, Buffer) and not w.batched for w in step.writes)
