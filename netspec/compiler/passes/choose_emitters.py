"""Which code computes each elementwise step: blocked NumPy, or numexpr."""

from __future__ import annotations

import dataclasses

from netspec.compiler.expression import FUNCTIONS, Apply, walk
from netspec.compiler.plan import ElementwiseStep, Plan, Step


def choose_emitters(plan: Plan) -> Plan:
    """The plan with an emitter for each elementwise step, by a cost model.

    Cheap arithmetic is bound by memory, where NumPy's in-place ufuncs over tiles in cache win, and
    broadcast operands are numexpr's weak side. Transcendental functions are bound by arithmetic:
    numexpr computes them in its threads, where it has all functions of the formula.
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
    costly = any(function.transcendental for function in functions)
    if costly and all(function.in_numexpr for function in functions) and not step.vectors:
        return dataclasses.replace(step, emitter="numexpr")
    return step
