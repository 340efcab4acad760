"""The source of a planned program, executed."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any
from weakref import finalize

import numpy as np

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import ElementwiseStep, Plan
from netspec.compiler.numpy_backend.emit import emit_program
from netspec.compiler.numpy_backend.memory_use import scratch_elements
from netspec.compiler.numpy_backend.passes.plan_memory import plan_memory


class Code:
    """What runs for a plan, with an emitter for each of its elementwise steps, at any batch size.

    Args:
        graph: the net.
        plan: its plan.
        steps: the steps that are run, where they are not all of the plan's.

    Attributes:
        plan: the plan.
        places: where its buffers live.
        text: the source.
        functions: what that defines, by name: `forward`, and `sample` and `backward` if planned.
    """

    def __init__(self, graph: Graph, plan: Plan, steps: Plan | None = None) -> None:
        self.plan = plan
        self.places = plan_memory(plan)
        self._source = emit_program(plan if steps is None else steps, graph)
        self.text = self._source.text
        functions, filename = _execute(self.text, graph.name)
        finalize(self, linecache.cache.pop, filename, None)
        self.functions: Mapping[str, Callable[..., None]] = functions

    def scratch_elements(self, batch: int) -> int:
        """The elements of scratch that suffice for every step."""
        return scratch_elements(self._source, batch)


# The plan with an emitter for each elementwise step, for a batch size and a type of number.
Choose = Callable[[Plan, int, "np.dtype[Any]"], Plan]


def as_planned(plan: Plan, batch: int, dtype: np.dtype[Any]) -> Plan:
    """NumPy for every elementwise step, as in what `compile` prints."""
    return plan


class Codes:
    """The codes of a plan, each made when a batch size first wants its emitters.

    Args:
        graph, plan, steps: see `Code`.
        dtype: of every array.
        choose: takes the emitters; it gives equal answers to equal questions.
        make: makes a code of graph, plan and steps.
    """

    def __init__(
        self,
        graph: Graph,
        plan: Plan,
        steps: Plan | None,
        dtype: np.dtype[Any],
        choose: Choose,
        make: Callable[[Graph, Plan, Plan | None], Code] = Code,
    ) -> None:
        self._graph, self._plan, self._steps = graph, plan, steps
        self._dtype, self._choose, self._make = dtype, choose, make
        self._made: dict[tuple[str, ...], Code] = {}

    def get(self, batch: int) -> Code:
        """What runs for a batch size. Sizes with the same emitters share it."""
        plan = self._choose(self._plan, batch, self._dtype)
        emitters = tuple(s.emitter for s in plan.steps if isinstance(s, ElementwiseStep))
        if emitters not in self._made:
            steps = self._steps and self._choose(self._steps, batch, self._dtype)
            # Two threads may make it: both get the one that is kept.
            self._made.setdefault(emitters, self._make(self._graph, plan, steps))
        return self._made[emitters]


_numbers = count()


def _execute(text: str, name: str) -> tuple[dict[str, Any], str]:
    """Run generated source: what it defines, and the name of its file.

    It is registered with `linecache` under that, so that a debugger can step into it.

    The source is made by netspec from a checked graph: names in it are checked labels in quotes.
    """
    filename = f"<netspec {name} {next(_numbers)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": filename}
    exec(compile(text, filename, "exec"), namespace)
    return namespace, filename
