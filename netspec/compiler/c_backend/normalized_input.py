"""A step before all others that normalises the input, for callers that have pixels."""

from __future__ import annotations

import dataclasses

from netspec import codes
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.open_sizes import SET_HINT
from netspec.compiler.ir.expression import Var
from netspec.compiler.ir.input_scale import InputScale
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, KernelStep, Plan, Step, ViewStep
from netspec.compiler.ir.sizes import Size
from netspec.diagnostics import NetspecError


def with_normalized_input(plan: Plan, constants: Constants, by: InputScale) -> Plan:
    """Return the plan of a net with one input that is given as it was before normalisation.

    Raises:
        NetspecError: `compile/no-c` if the numbers are for one size and the net is for several.
    """
    ((name, given),) = plan.inputs.items()
    for values in (by.mean, by.scale):
        for many, size in zip(values.shape, given.shape, strict=True):
            if many != 1 and isinstance(size, Size):
                message = "the weights normalise each place of an image, which has one size"
                raise NetspecError.simple(codes.COMPILE_NO_C, message, SET_HINT)
    normal = Buffer(f"{name}.normalized", given.shape)
    operands = {"x": given}
    for what, values in (("mean", by.mean), ("scale", by.scale)):
        operands[what] = Buffer(f"{name}.{what}", values.shape, batched=False)
        constants[operands[what]] = values.astype(float)
    formula = (Var("x") - Var("mean")) / Var("scale")
    first = ElementwiseStep(normal, formula, operands, (name,), ("normalized",))
    steps = (first, *(reading(step, given, normal) for step in plan.forward))
    return dataclasses.replace(plan, forward=steps)


def reading(step: Step, old: Buffer, new: Buffer) -> Step:
    """Return a step that reads one buffer in place of another."""
    if isinstance(step, ViewStep):
        return dataclasses.replace(step, source=new) if step.source == old else step
    if isinstance(step, KernelStep):
        given = tuple(new if argument == old else argument for argument in step.arguments)
        return dataclasses.replace(step, arguments=given)
    operands = {name: new if each == old else each for name, each in step.operands.items()}
    return dataclasses.replace(step, operands=operands)
