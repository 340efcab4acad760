"""Which code computes each elementwise step of a program that runs: blocked NumPy, or numexpr.

No pass of the pipeline, for it looks at the machine: what `compile` prints is NumPy everywhere.
"""

from __future__ import annotations

import dataclasses
import functools

from netspec.compiler.ir.expression import FUNCTIONS, Apply, walk
from netspec.compiler.ir.plan import ElementwiseStep, Plan, Step


def choose_emitters(plan: Plan) -> Plan:
    """The plan with an emitter for each elementwise step, by what this NumPy can do here.

    Arithmetic is bound by memory, where NumPy's in-place ufuncs over tiles in cache win, and
    broadcast operands are numexpr's weak side. So does NumPy where it computes tanh and its like
    with vector instructions, ten to forty times as fast as numexpr's, one number at a time
    (`benchmarks/EMITTERS.md`). Where it has no such code for a processor, numexpr's one pass over
    the operands is the faster one.
    """
    return dataclasses.replace(
        plan,
        forward=tuple(_choose(step) for step in plan.forward),
        backward=tuple(_choose(step) for step in plan.backward),
    )


def _choose(step: Step) -> Step:
    if not isinstance(step, ElementwiseStep):
        return step
    functions = [FUNCTIONS[e.function] for e in walk(step.formula) if isinstance(e, Apply)]
    slow = any(f.transcendental and not has_vectors(f.numpy) for f in functions)
    if slow and all(function.in_numexpr for function in functions) and not step.vectors:
        return dataclasses.replace(step, emitter="numexpr")
    return step


@functools.cache
def has_vectors(function: str) -> bool:
    """Whether NumPy computes a function of float32 with vector instructions, on this processor."""
    try:
        from numpy.lib.introspect import opt_func_info
    except ImportError:  # NumPy before 2.2 does not say
        return True
    info = opt_func_info(func_name=f"^{function}$", signature="float32")
    targets = [found["current"] for kinds in info.values() for found in kinds.values()]
    return any(target and not target.startswith("baseline") for target in targets)
