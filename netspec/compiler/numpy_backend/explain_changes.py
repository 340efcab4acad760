"""Describes what a pass did, by comparing the plans before and after it.

Memory traffic is counted for one image in float32: a value that is stored is written once and read
at least once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from netspec.compiler.analysis.costs_text import bytes_text
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Operand, Plan
from netspec.compiler.ir.sizes import typical
from netspec.compiler.numpy_backend.passes.early_slopes import slopes
from netspec.compiler.numpy_backend.passes.fold_batch_norm import folds
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.compiler.numpy_backend.passes.recompute import made_again

FLOAT32 = 4


def turned_round(before: Graph, after: Graph) -> Iterator[str]:
    """Describe the changes of `pool_first`."""
    # An activation has the name of the last pool that it went behind, and its own in its origin.
    moved = [node for node in after.nodes if node.origin.layer and node.name in before.by_name]
    written = [before.by_name[node.origin.layer] for node in moved]
    for node, was in zip(moved, written, strict=True):
        pools = [was]
        while pools[-1].name != node.name:
            pools.append(before.consumers[pools[-1].name][0])
        names = [pool.name for pool in pools[1:]]
        first = f"{names[0]} comes" if len(names) == 1 else f"{' and '.join(names)} come"
        yield f"{' + '.join([was.name, *names])}: {first} first"
    if moved:
        small = sum(typical(math.prod(node.shape)) for node in moved)
        large = sum(typical(math.prod(node.shape)) for node in written)
        yield f"computed for {small:,} numbers an image in place of {large:,}"


def folded(before: Plan, after: Plan) -> Iterator[str]:
    """Describe the changes of `fold_batch_norm`."""
    steps = list(folds(after))
    for step in steps:
        yield f"{step.node}: folded into the weight of {_name(step.writes[0]).partition('.folded')[0]}"
    if steps:
        yield _saved(before, after)


def fused(before: Plan, after: Plan) -> Iterator[str]:
    """Describe the changes of `fuse`."""
    for step in after.steps:
        if isinstance(step, ElementwiseStep) and len(step.nodes) > 1:
            yield f"{' + '.join(step.nodes)}: one step, {step.formula}"
    removed = len(before.steps) - len(after.steps)
    if removed:
        yield f"{len(before.steps)} steps became {len(after.steps)}"
        yield _saved(before, after)


def computed_early(before: Plan, after: Plan) -> Iterator[str]:
    """Describe the changes of `early_slopes`."""
    for step in slopes(after):
        yield f"{' + '.join(step.nodes)}: the slope is kept as {_name(step.output)}"


def recomputed(before: Plan, after: Plan) -> Iterator[str]:
    """Describe the changes of `recompute`."""
    known = {step.output for step in made_again(before)}
    again = [step for step in made_again(after) if step.output not in known]
    for step in again:
        yield f"{' + '.join(step.nodes)}: made again as {_name(step.output)}"
    if again:
        old, new = (FLOAT32 * plan_memory(plan).lower_bound(1) for plan in (before, after))
        cost = sum(FLOAT32 * _elements(operand) for s in again for operand in (*s.reads, *s.writes))
        yield (
            f"the largest set alive at once: {bytes_text(old)} an image before,"
            f" {bytes_text(new)} after, for {bytes_text(cost)} more memory traffic"
        )


def _saved(before: Plan, after: Plan) -> str:
    gone = _stored(before) - _stored(after)
    values = sorted(gone, key=lambda buffer: buffer.name)
    count = sum(_elements(buffer) for buffer in values)
    names = ", ".join(buffer.name for buffer in values[:6]) + (", ..." if len(values) > 6 else "")
    return (
        f"{len(values)} values less are stored ({names}): {bytes_text(2 * FLOAT32 * count)} of memory"
        " traffic an image"
    )


def _name(operand: Operand) -> str:
    return operand.name


def _stored(plan: Plan) -> set[Buffer]:
    return {w for step in plan.steps for w in step.writes if isinstance(w, Buffer) and w.batched}


def _elements(operand: object) -> int:
    return operand.elements(1) if isinstance(operand, Buffer) and operand.batched else 0
