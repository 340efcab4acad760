"""The generated program with a timer after each statement."""

from __future__ import annotations

import ast
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan
from netspec.runtime.engine.code import Choose, Code
from netspec.runtime.engine.program import Program
from netspec.text.python_tree import parse_python

PARTS = ("sample", "forward", "backward")


class Clock:
    """The times of a function's statements, over several runs."""

    def __init__(self) -> None:
        self.times: dict[int, list[float]] = {}
        self._last = 0.0

    def start(self) -> None:
        """Start timing the first statement."""
        self._last = time.perf_counter()

    @property
    def last(self) -> float:
        """The seconds of all statements in the last run."""
        return sum(times[-1] for times in self.times.values())

    def lap(self, index: int) -> None:
        """End timing a statement and start the next one."""
        now = time.perf_counter()
        self.times.setdefault(index, []).append(now - self._last)
        self._last = time.perf_counter()  # the time the timer itself takes is not counted


class ClockedProgram(Program):
    """A program that measures how long each of its statements takes.

    Attributes:
        clocks: by function: `sample`, `forward`, `backward`. Statement i is step i of the plan.
    """

    def __init__(self, graph: Graph, plan: Plan, dtype: np.dtype[Any], choose: Choose) -> None:
        self.clocks = {part: Clock() for part in PARTS}
        super().__init__(graph, plan, dtype, choose=choose, make=partial(_ClockedCode, self.clocks))


class _ClockedCode(Code):
    def __init__(
        self, clocks: Mapping[str, Clock], graph: Graph, plan: Plan, steps: Plan | None
    ) -> None:
        super().__init__(graph, plan, steps, shares=False)
        tree = parse_python(self.text)
        for function in tree.body:
            if isinstance(function, ast.FunctionDef) and function.name in PARTS:
                doc, *statements = function.body
                function.body = [doc, _call(function.name, "start")]
                for index, statement in enumerate(statements):
                    function.body += [statement, _call(function.name, "lap", index)]
        ast.fix_missing_locations(tree)
        namespace: dict[str, Any] = {"__name__": "clocked", "clocks": clocks}
        exec(compile(tree, "<clocked>", "exec"), namespace)
        self.functions = namespace


def _call(part: str, method: str, *arguments: int) -> ast.stmt:
    return parse_python(f"clocks[{part!r}].{method}({', '.join(map(str, arguments))})").body[0]
