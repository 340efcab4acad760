"""The first layers of a net whose weights are large, which are computed for a few images at a time.

A part of a batch would have so many images that the large weights, which are read again for each
part, take little of the time; what is between the layers before these would not stay in a cache. So
threads share the images up to there, and then the outputs of the layers with these weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.ir.plan import Buffer, Operand, ParameterRef, Plan, Step, with_loops
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory
from netspec.records import record

# The bytes of a processor's larger cache that the values between layers may take, and the part of it for
# weights that stay there. Threads may wait for each other where a part would have `MANY` times the
# images.
CACHE = 1 << 18
OF_WEIGHTS, MANY = CACHE // 4, 8


@record
class FirstLayers:
    """The first steps of a forward pass.

    Attributes:
        steps: how many they are.
        images: of how many images at a time.
        between: where the buffers that no other step reads lie, in memory of `size` numbers.
    """

    steps: int
    images: int
    between: Mapping[Buffer, int]
    size: int


def first_layers(
    plan: Plan, constants: Constants, itemsize: int, part: int, alignment: int
) -> FirstLayers | None:
    """Return the layers whose weights are known and stay in a cache; None if that does not pay.

    Args:
        plan: a plan of which images do not depend on each other.
        constants: the operands whose numbers do not change.
        itemsize: the bytes of a number.
        part: how many images a part of a batch has at most.
        alignment: places are multiples of so many numbers.
    """
    seen = 0

    def fits(step: Step) -> bool:
        nonlocal seen
        read = _read_by([*with_loops([step])])
        seen += sum(constants[each].size * itemsize for each in read if each in constants)
        known = all(each in constants for each in read if isinstance(each, ParameterRef))
        return known and seen <= OF_WEIGHTS

    steps = [*takewhile(fits, plan.forward)]
    outside = _read_by([*with_loops(plan.forward[len(steps) :])])
    own = [each for step in steps for each in step.writes if isinstance(each, Buffer)]
    kept = {each.name: each for each in own if each in outside} | dict(plan.outputs)
    planned = plan_memory(replace(plan, forward=tuple(steps), outputs=kept))
    images = max(1, CACHE // max(1, planned.layout(1, alignment)[1] * itemsize))
    if len(planned.storages) < 2 or len(steps) == len(plan.forward) or part < MANY * images:
        return None
    between, size = planned.layout(images, alignment)
    return FirstLayers(len(steps), images, between, size)


def _read_by(steps: Sequence[Step]) -> set[Operand]:
    """Return the operands that steps read."""
    return {each for step in steps for each in step.reads}
