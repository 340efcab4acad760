"""A plan as machine code, with the functions of a program."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.c_backend.ends import with_ends
from netspec.compiler.c_backend.folding import Constants
from netspec.compiler.c_backend.forms.engine import takes_ends
from netspec.compiler.c_backend.memory import without_unread
from netspec.compiler.c_backend.program_file import FUNCTIONS, ProgramSource, program_source
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Operand, ParameterRef, Plan, Step, ViewStep
from netspec.diagnostics import NetspecError
from netspec.records import record
from netspec.runtime.engine.code import Code
from netspec.runtime.engine.memory import REMEMBERED, Buffers, layout
from netspec.runtime.engine.native.library_cache import library
from netspec.runtime.engine.native.pool import Pass, members
from netspec.runtime.engine.native.prepared import Prepared, ReadyForward
from netspec.runtime.engine.program import Program
from netspec.runtime.engine.recent import Recent

Array = NDArray[Any]

# C counts numbers with 32 bits.
MOST = 2**31

# Less than so much, about in multiplications, is done before another thread has come.
WORTH_A_TEAM = 1 << 21


@record
class _Layout:
    """Where buffers begin in the arena of a part, in bytes, by `NativeCode._in_arena`, and the numbers
    that it has.
    """

    offsets: NDArray[np.uintp]
    size: int


def native_program(
    graph: Graph,
    plan: Plan,
    dtype: np.dtype[Any],
    fixed: Mapping[str, Array] | None = None,
) -> Program:
    """Return a program that is machine code.

    Args:
        graph: the net.
        plan: its plan.
        dtype: float32 or float64.
        fixed: parameters that do not change, all of them: what depends on them alone is computed now,
            and the program has only a forward pass.

    Raises:
        NetspecError: `compile/no-c` for each layer that has no form in C; see `library`.
    """
    constants = Constants(fixed or {})
    if fixed is not None:
        steps = without_unread(
            constants.fold(plan.forward, batched=False), list(plan.outputs.values())
        )
        plan = dataclasses.replace(plan, forward=tuple(steps))
    plan = with_ends(plan, takes=takes_ends)
    source = program_source(graph, plan, constants, dtype)
    return NativeProgram(graph, plan, dtype, make=partial(NativeCode, source=source))


class NativeProgram(Program):
    """A program whose codes are `NativeCode`: neither NumPy nor its BLAS computes, and to set these up
    takes time.
    """

    def record(self, buffers: Buffers, parameters: Mapping[str, Array]) -> None:
        """Return None: there are no NumPy calls to record."""

    def ready(self, buffers: Buffers, parameters: Mapping[str, Array]) -> ReadyForward:
        """See `Program`."""
        assert isinstance(buffers.code, NativeCode)
        return buffers.code.ready(buffers, parameters)

    def _run(self, part: str, buffers: Buffers, others: tuple[Mapping[str, Array], ...]) -> None:
        buffers.code.functions[part](buffers, *others, buffers.scratch)


class NativeCode(Code):
    """The code of a plan, whose passes are functions of a library; NumPy draws what layers draw.

    Args:
        source: the plan as C.
    """

    def __init__(
        self, graph: Graph, plan: Plan, steps: Plan | None = None, *, source: ProgramSource
    ) -> None:
        assert steps is None, "a part of a plan is for NumPy"
        super().__init__(graph, plan, dataclasses.replace(plan, forward=(), backward=()))
        self._native = source
        self._in_arena = [i for i, each in enumerate(source.operands) if each in self.places.home]
        apart = enumerate(source.operands)
        self._apart = [(i, each) for i, each in apart if each not in self.places.home]
        self._known_layouts: Recent[tuple[int, int], _Layout] = Recent(REMEMBERED)
        kind = "double" if source.weights.itemsize == 8 else "float"
        first = f"#define REAL {kind}\n"
        found = library(first + source.text, [first + part for part in source.apart])
        self._passes: dict[str, Pass] = {}
        self._counters = {p.name for p in graph.parameters.values() if p.role == "counter"}
        self.functions = {
            **self.functions,
            "forward": self._pass(found, "forward", plan.forward),
            "backward": self._pass(found, "backward", plan.backward),
        }

    def part(self, batch: int) -> int:
        """Return how many images each thread computes at a time; see `ProgramSource`.

        All have about as many, and all share a batch that has fewer images than there are threads.
        """
        threads = self._threads(batch)
        if not self._native.part or batch < threads:
            return batch
        rounds = -(-batch // (threads * self._native.part))
        return -(-batch // (threads * rounds))

    def copies(self, batch: int) -> int:
        """See `Code`: a thread needs one."""
        return min(self._threads(batch), -(-batch // self.part(batch))) if batch else 1

    def scratch_elements(self, batch: int) -> int:
        """The elements of scratch that suffice for every step."""
        return self._native.scratch + self._threads(batch) * self._native.work

    def _pass(self, found: ctypes.CDLL, part: str, steps: Sequence[Step]) -> Callable[..., None]:
        if not steps:
            return lambda *_: None
        self._passes[part] = Pass(found, FUNCTIONS[part])
        counted = [
            each.name
            for step in steps
            for each in step.writes
            if isinstance(each, ParameterRef) and each.name in self._counters
        ]
        views = self._views(steps)

        def run(buffers: Buffers, *others: Any) -> None:
            """Run the pass, as the function of a NumPy program does, with the same arguments."""
            named = others[:-1]  # the scratch memory is that of the buffers
            self._prepared(part, buffers, named).run()
            for name in counted:
                named[0][name][...] += 1
            for view, root in views:
                source = named[0] if isinstance(root, ParameterRef) else buffers
                buffers[view.name] = source[root.name].reshape(-1, *view.shape)

        return run

    def _threads(self, batch: int) -> int:
        """Return how many threads are worth it: one for little that there is to compute."""
        return members() if batch * self._native.cost > WORTH_A_TEAM else 1

    def _members(self, buffers: Buffers) -> int:
        """Return how many threads may run: no more than have memory, if the number was changed."""
        most = [self._threads(buffers.batch)]
        if self._native.work:
            most.append((buffers.scratch.size - self._native.scratch) // self._native.work)
        if buffers.part < buffers.batch:
            most.append(buffers.copies)
        return max(1, min(most))

    def _views(self, steps: Sequence[Step]) -> list[tuple[Buffer, Operand]]:
        """Return the views that a caller reads, and what each is a view of."""
        roots: dict[Operand, Operand] = {}
        for step in steps:
            if isinstance(step, ViewStep):
                roots[step.output] = roots.get(step.source, step.source)
        return [(each, roots[each]) for each in self.plan.external() if each in roots]

    def ready(self, buffers: Buffers, parameters: Mapping[str, Array]) -> ReadyForward:
        """Return the forward pass for these arrays, which stay, in evaluation mode."""
        self.functions["forward"](buffers, parameters, buffers.scratch)  # it makes views of arrays
        prepared = self._prepare("forward", buffers, (parameters,))
        return ReadyForward(prepared, self._given(), buffers)

    def _given(self) -> dict[str, int]:
        """Return where the pointers to inputs are that nobody reads but the forward pass."""
        roots = {root for _, root in self._views(self.plan.forward)}
        kept = roots.union(self.plan.outputs.values())
        names = {buffer.name for buffer in self.plan.inputs.values() if buffer not in kept}
        apart = ((i, each) for i, each in self._apart if isinstance(each, Buffer))
        return {each.name: i for i, each in apart if each.name in names}

    def _prepared(
        self, part: str, buffers: Buffers, named: Sequence[Mapping[str, Array]]
    ) -> Prepared:
        """Return a call of a pass, which is kept while the arrays are the same."""
        kept = buffers.prepared.get(part)
        if kept is not None and kept.is_for(self._arrays(buffers, named), self._members(buffers)):
            return kept
        made = buffers.prepared[part] = self._prepare(part, buffers, named)
        return made

    def _prepare(
        self, part: str, buffers: Buffers, named: Sequence[Mapping[str, Array]]
    ) -> Prepared:
        """Return a new call of a pass, with the places of all operands in the order of the source."""
        arrays, members = self._arrays(buffers, named), self._members(buffers)
        table = np.zeros(len(self._native.operands) + 2, np.uintp)
        table[self._in_arena] = buffers.arena.ctypes.data + self._layout(buffers).offsets
        for (i, _), array in zip(self._apart, arrays, strict=True):
            if array is not None:
                table[i] = self._place(array)
        table[-2:] = buffers.scratch.ctypes.data, self._native.weights.ctypes.data
        at = table.ctypes.data_as(ctypes.c_void_p)  # it keeps the table
        apart = self._layout(buffers).size
        run = self._passes[part].call(at, buffers.batch, buffers.part, apart, members)
        return Prepared(arrays, members, table, run)

    def _arrays(self, buffers: Buffers, named: Sequence[Mapping[str, Array]]) -> list[Array | None]:
        """Return the arrays of the operands that are not in the arena."""
        return [self._array(operand, buffers, named) for _, operand in self._apart]

    @staticmethod
    def _array(
        operand: Operand, buffers: Buffers, named: Sequence[Mapping[str, Array]]
    ) -> Array | None:
        """Return the array of an operand; None for a gradient in a pass that has none."""
        if isinstance(operand, Buffer):
            return buffers[operand.name]
        if isinstance(operand, ParameterRef):
            return named[0][operand.name]
        return named[1][operand.name] if len(named) > 1 else None

    def _place(self, array: Array) -> int:
        """Return where an array is, which must be as C expects it."""
        assert array.dtype == self._native.weights.dtype, array.dtype
        assert array.flags.c_contiguous, array.strides
        return array.ctypes.data

    def _layout(self, buffers: Buffers) -> _Layout:
        """Return where buffers begin in the arena, for the size of a batch and of its parts."""
        batch, part = buffers.batch, buffers.part
        return self._known_layouts.get((batch, part), lambda: self._new_layout(batch, part))

    def _new_layout(self, batch: int, part: int) -> _Layout:
        dtype = self._native.weights.dtype
        places, size = layout(self.places, part, dtype)
        inside = [self._native.operands[i] for i in self._in_arena]
        if any(
            isinstance(each, Buffer) and each.elements(batch) >= MOST
            for each in self._native.operands
        ):
            raise NetspecError.simple(
                codes.LIMIT_MEMORY,
                f"a layer has {MOST:,} numbers or more for {batch:,} images, which C does not count",
                "take a smaller batch",
            )
        starts = [places[each] for each in inside if isinstance(each, Buffer)]
        return _Layout(np.array(starts, np.uintp) * np.uintp(dtype.itemsize), size)
