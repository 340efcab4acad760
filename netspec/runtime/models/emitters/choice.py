"""Chooses the emitters of a model, and remembers its choices."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from netspec.compiler.ir.expression import FUNCTIONS, Apply, Var, substitute, variables, walk
from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Plan, Step
from netspec.files.cache_folder import cache_folder
from netspec.kernels import parallel
from netspec.runtime.models.emitters.table import EmitterTable, Question, as_emitter
from netspec.runtime.models.emitters.timing import time_emitters

# Steps with fewer numbers than LEAST are looked up as if they had as many, and so are those with
# more than MOST: beyond these limits the comparison does not change.
LEAST, MOST = 1 << 8, 1 << 17


def user_folder() -> Path:
    """Return the folder with this user's rows."""
    return cache_folder() / "emitters"


THIS_MACHINE = EmitterTable(user_folder, time_emitters)


class Emitters:
    """Chooses the emitter of each elementwise step, and remembers its choices.

    If NETSPEC_EMITTERS is `numpy`, NumPy is always used. Threads may share it.

    Args:
        kept: earlier choices, in the form of `kept`. They are used even if another one would be
            faster on this machine.
        table: decides everything else; None for this machine's table.
    """

    def __init__(self, kept: Mapping[str, str] = {}, table: EmitterTable | None = None) -> None:
        self._kept = {str(key): as_emitter(value) for key, value in kept.items()}
        self._table = table or THIS_MACHINE

    def __reduce__(self) -> tuple[Any, ...]:
        return Emitters, (self.kept,)

    @property
    def kept(self) -> dict[str, str]:
        """The choices made so far, as plain data."""
        return dict(self._kept)

    def choose(self, plan: Plan, batch: int, dtype: np.dtype[Any]) -> Plan:
        """Return the plan with an emitter for each elementwise step."""
        if os.environ.get("NETSPEC_EMITTERS") == "numpy":
            return plan
        return dataclasses.replace(
            plan,
            forward=tuple(self._chosen(step, batch, dtype.name) for step in plan.forward),
            backward=tuple(self._chosen(step, batch, dtype.name) for step in plan.backward),
        )

    def _chosen(self, step: Step, batch: int, dtype: str) -> Step:
        wanted = question(step, batch, dtype)
        if wanted is None:
            return step
        assert isinstance(step, ElementwiseStep)
        emitter = self._kept.get(wanted.key)
        if emitter is None:
            emitter = self._kept.setdefault(wanted.key, self._table.emitter(wanted))
        return dataclasses.replace(step, emitter=emitter)


def question(step: Step, batch: int, dtype: str) -> Question | None:
    """Return what to look up in the table for a step; None if the answer is known to be NumPy.

    numexpr lacks some functions, is slow with broadcast operands, and NumPy's vector instructions
    compute functions such as exp up to forty times as fast. Arithmetic over more numbers than fit
    the cache is limited by memory, of which NumPy uses less (`benchmarks/EMITTERS.md`).
    """
    if not isinstance(step, ElementwiseStep) or not isinstance(step.output, Buffer):
        return None
    functions = [FUNCTIONS[e.function] for e in walk(step.formula) if isinstance(e, Apply)]
    if not functions or step.vectors or not all(f.in_numexpr for f in functions):
        return None
    size = step.output.elements(batch)
    slow = [f.numpy for f in functions if f.transcendental]
    if all(has_vectors(name, dtype) for name in slow) if slow else size > MOST:
        return None
    size = min(max(size, LEAST), MOST)
    names = {name: Var(f"x{i}") for i, name in enumerate(variables(step.formula))}
    formula = substitute(step.formula, names)
    return Question(formula, dtype, 1 << (size - 1).bit_length(), parallel.threads())


@functools.cache
def has_vectors(function: str, dtype: str) -> bool:
    """Return True if NumPy computes a function with vector instructions on this processor."""
    try:
        from numpy.lib.introspect import opt_func_info
    except ImportError:  # NumPy before 2.2 does not tell
        return True
    info = opt_func_info(func_name=f"^{function}$", signature=dtype)
    targets = [found["current"] for kinds in info.values() for found in kinds.values()]
    return any(target and not target.startswith("baseline") for target in targets)
