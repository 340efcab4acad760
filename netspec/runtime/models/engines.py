"""What computes a model's programs: NumPy, or machine code that a C compiler makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Plan
from netspec.runtime.engine.program import Program
from netspec.runtime.models.emitters.choice import Emitters

Array = NDArray[Any]


class Engine(Protocol):
    """Makes programs. Threads may share it, and it can be copied and pickled."""

    @property
    def target(self) -> str:
        """What `netspec.Net.compile` calls it."""
        ...

    @property
    def kept(self) -> dict[str, str]:
        """The choices of emitters made so far, as plain data."""
        ...

    def keeping(self, kept: Mapping[str, str]) -> Engine:
        """Return one that makes these choices."""
        ...

    def program(self, graph: Graph, plan: Plan, dtype: np.dtype[Any]) -> Program:
        """Return a program that is run again and again on the same arrays."""
        ...

    def for_one(self, graph: Graph, plan: Plan, dtype: np.dtype[Any]) -> Program:
        """Return such a program for one image, whose formulas are small."""
        ...

    def fixed(
        self, graph: Graph, plan: Plan, dtype: np.dtype[Any], parameters: Mapping[str, Array]
    ) -> Program:
        """Return a program without a backward pass, for parameters that never change."""
        ...


class NumpyEngine:
    """NumPy's functions, and numexpr's where it is faster.

    Args:
        emitters: the choices among them.
        replays: whether repeated runs are recorded, which takes several times as long as a run of a
            net with many small layers, and pays from the third run on.
    """

    target = "numpy"

    def __init__(self, emitters: Emitters | None = None, *, replays: bool = True) -> None:
        self._emitters = Emitters() if emitters is None else emitters
        self._replays = replays

    @property
    def kept(self) -> dict[str, str]:
        """See `Engine`."""
        return self._emitters.kept

    def keeping(self, kept: Mapping[str, str]) -> NumpyEngine:
        """See `Engine`."""
        return NumpyEngine(Emitters(kept), replays=self._replays)

    def program(self, graph: Graph, plan: Plan, dtype: np.dtype[Any]) -> Program:
        """See `Engine`."""
        return Program(graph, plan, dtype, choose=self._emitters.choose, replays=self._replays)

    def for_one(self, graph: Graph, plan: Plan, dtype: np.dtype[Any]) -> Program:
        """See `Engine`."""
        return Program(graph, plan, dtype, replays=self._replays)

    def fixed(
        self,
        graph: Graph,
        plan: Plan,
        dtype: np.dtype[Any],
        parameters: Mapping[str, Array],
    ) -> Program:
        """See `Engine`."""
        return Program(graph, plan, dtype, choose=self._emitters.choose)


class NativeEngine:
    """Machine code; see `netspec.runtime.engine.native`. It has no emitters to choose among."""

    target = "c"

    @property
    def kept(self) -> dict[str, str]:
        """See `Engine`."""
        return {}

    def keeping(self, kept: Mapping[str, str]) -> NativeEngine:
        """See `Engine`."""
        return self

    def program(self, graph: Graph, plan: Plan, dtype: np.dtype[Any]) -> Program:
        """See `Engine`."""
        from netspec.runtime.engine.native.code import native_program

        return native_program(graph, plan, dtype)

    def for_one(self, graph: Graph, plan: Plan, dtype: np.dtype[Any]) -> Program:
        """See `Engine`."""
        return self.program(graph, plan, dtype)

    def fixed(
        self, graph: Graph, plan: Plan, dtype: np.dtype[Any], parameters: Mapping[str, Array]
    ) -> Program:
        """See `Engine`."""
        from netspec.runtime.engine.native.code import native_program

        return native_program(graph, plan, dtype, parameters)
