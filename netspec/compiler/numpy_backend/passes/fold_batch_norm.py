"""Fold a batch norm with constant statistics into the layer before it.

In evaluation a batch norm is y = x*scale + shift, where scale and shift depend only on its
parameters. If x is the result of a convolution or a linear layer and has no other reader, scaling
the weight of that layer has the same effect, and a weight is smaller than the outputs. The weight
is scaled again in every forward pass, so a program never runs with outdated parameters.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import cast

from netspec.compiler.ir.expression import Var
from netspec.compiler.ir.plan import (
    Argument,
    Buffer,
    ElementwiseStep,
    KernelStep,
    Operand,
    Plan,
    Step,
)

# The kernel that computes scale and shift from the parameters alone.
CONSTANT = "batch_norm.running_scale_shift"
FOLD = "batch_norm.fold_into"

Shape = tuple[int, ...]


def _conv_weight(layer: KernelStep, x: Buffer, out: Buffer) -> Shape:
    assert layer.scratch is not None
    kernel = cast(Shape, layer.scratch.options["kernel"])
    return (out.shape[-1], x.shape[-1] // cast(int, layer.options["groups"]), *kernel)


def _linear_weight(layer: KernelStep, x: Buffer, out: Buffer) -> Shape:
    return (out.shape[-1], x.shape[-1])


# Kernels with the arguments (x, weight, bias, out, ...), and the shape of the weight, outputs
# first.
FOLDABLE: Mapping[str, Callable[[KernelStep, Buffer, Buffer], Shape]] = {
    "conv.forward": _conv_weight,
    "linear.forward": _linear_weight,
}


def fold_batch_norm(plan: Plan) -> Plan:
    """Return the plan with each batch norm in evaluation folded into the layer directly before it."""
    replaced: dict[int, list[Step]] = {}  # by the id of a step, what takes its place
    readers = Counter(operand for step in plan.steps for operand in step.reads)
    fixed = set(plan.external())
    maker = {w: step for step in plan.forward for w in step.writes}
    for norm in plan.forward:
        found = _pattern(norm, maker)
        if found is None:
            continue
        layer, vectors = found
        value = layer.arguments[3]
        if readers[cast(Buffer, value)] == 1 and value not in fixed:
            replaced[id(layer)] = _folded(cast(ElementwiseStep, norm), layer, vectors)
            replaced[id(vectors)] = replaced[id(norm)] = []
    forward = [new for step in plan.forward for new in replaced.get(id(step), [step])]
    return dataclasses.replace(plan, forward=tuple(forward))


def _pattern(step: Step, maker: dict[Operand, Step]) -> tuple[KernelStep, KernelStep] | None:
    """Return the layer before a batch norm, and the step that computes the norm's vectors."""
    if not isinstance(step, ElementwiseStep) or set(step.operands) != {"x", "scale", "shift"}:
        return None
    if step.formula != Var("x") * Var("scale") + Var("shift"):
        return None
    layer, vectors = (maker.get(step.operands[name]) for name in ("x", "scale"))
    if not isinstance(layer, KernelStep) or not isinstance(vectors, KernelStep):
        return None
    if layer.kernel not in FOLDABLE or vectors.kernel != CONSTANT:
        return None
    return layer, vectors


def _folded(norm: ElementwiseStep, layer: KernelStep, vectors: KernelStep) -> list[Step]:
    """Return the steps that take the place of the layer: the vectors, the fold and the layer with
    the folded weight.
    """
    x, weight, bias, out, *rest = layer.arguments
    scale, shift = norm.operands["scale"], norm.operands["shift"]
    shape = FOLDABLE[layer.kernel](layer, cast(Buffer, x), cast(Buffer, out))
    folded_weight = Buffer(f"{layer.node}.folded_weight", shape, batched=False)
    folded_bias = Buffer(f"{layer.node}.folded_bias", shape[:1], batched=False)
    arguments: tuple[Argument, ...] = (weight, bias, scale, shift, folded_weight, folded_bias)
    fold = KernelStep(FOLD, arguments, (folded_weight, folded_bias), {}, None, norm.nodes[0])
    folded = dataclasses.replace(
        layer,
        arguments=(x, folded_weight, folded_bias, norm.output, *rest),
        writes=(norm.output,),
    )
    return [vectors, fold, folded]


def folds(plan: Plan) -> Iterator[KernelStep]:
    """Yield the steps of a plan that fold a batch norm."""
    return (s for s in plan.forward if isinstance(s, KernelStep) and s.kernel == FOLD)
