"""Memory planning: lifetimes of buffers, results in place of operands, and offsets in one arena."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from netspec.compiler.ir.plan import Buffer, ElementwiseStep, Plan, ViewStep
from netspec.compiler.numpy_backend.passes.placement import place

# How many elements a buffer has for a batch size.
Count = Callable[[Buffer, int], int]


@dataclass
class Storage:
    """A block of memory, and the first and last step that use it."""

    buffers: list[Buffer]
    first: int
    last: int

    def elements(self, batch: int, count: Count = Buffer.elements) -> int:
        """Return its number of elements for a batch size."""
        return max(count(buffer, batch) for buffer in self.buffers)


@dataclass
class MemoryPlan:
    """The placement of a plan's buffers in storages.

    Attributes:
        storages: the storages that are placed in the arena.
        home: the storage of each buffer that owns memory; views, including those of parameters,
            have none.
        external: buffers outside the arena, because the caller keeps references to them.
    """

    storages: list[Storage] = field(default_factory=list)
    home: dict[Buffer, Storage] = field(default_factory=dict)
    external: list[Buffer] = field(default_factory=list)

    def layout(
        self, batch: int, alignment: int = 1, count: Count = Buffer.elements
    ) -> tuple[Mapping[Buffer, int], int]:
        """Return the offset of each buffer for a batch size, and the size of the arena, both in
        elements.

        Offsets are multiples of `alignment`. `count` says how many elements a buffer has.
        """
        sizes = [-(-s.elements(batch, count) // alignment) * alignment for s in self.storages]
        offsets, total = place(sizes, [(s.first, s.last) for s in self.storages])
        homes = zip(self.storages, offsets, strict=True)
        return {buffer: at for storage, at in homes for buffer in storage.buffers}, total

    def lower_bound(self, batch: int) -> int:
        """Return the most elements that are alive at once, which no layout can undercut."""
        change: dict[int, int] = {}
        for storage in self.storages:
            size = storage.elements(batch)
            change[storage.first] = change.get(storage.first, 0) + size
            change[storage.last + 1] = change.get(storage.last + 1, 0) - size
        alive = peak = 0
        for step in sorted(change):
            alive += change[step]
            peak = max(peak, alive)
        return peak


@dataclass
class _Lifetimes:
    """The lifetimes of the buffers that own memory, by their names: these are found in a fifth of the
    time of buffers.

    Attributes:
        roots: the source of each view.
        first, last: the first and last step that use each buffer that is not a view.
    """

    roots: dict[str, Buffer] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)

    def root(self, buffer: Buffer) -> Buffer:
        """Return the buffer that owns the memory of this one."""
        while buffer.name in self.roots:
            buffer = self.roots[buffer.name]
        return buffer


def _lifetimes(plan: Plan) -> _Lifetimes:
    found = _Lifetimes()
    for step in plan.steps:
        if isinstance(step, ViewStep) and isinstance(step.source, Buffer):
            found.roots[step.output.name] = step.source
    for at, step in enumerate(plan.steps):
        for operand in (*step.writes, *step.reads):
            if isinstance(operand, Buffer):
                root = found.root(operand).name
                found.first.setdefault(root, at)
                found.last[root] = at
    return found


def plan_memory(plan: Plan) -> MemoryPlan:
    """Plan the lifetimes of a plan's buffers.

    The result of an elementwise step takes the place of an operand that is read for the last time.
    """
    lives = _lifetimes(plan)
    external = {root.name: root for root in map(lives.root, plan.external())}
    memory = MemoryPlan(external=list(external.values()))
    homes: dict[str, Storage] = {}
    for at, step in enumerate(plan.steps):
        if isinstance(step, ViewStep):
            continue
        for operand in step.writes:
            if not isinstance(operand, Buffer):
                continue
            name = operand.name
            if name in homes or name in external:
                continue
            first, last = lives.first[name], lives.last[name]
            storage = None
            if isinstance(step, ElementwiseStep) and first == at:
                storage = _dying(step, at, operand, homes, lives)
            if storage is None:
                storage = Storage([], first, last)
                memory.storages.append(storage)
            storage.buffers.append(operand)
            storage.last = max(storage.last, last)
            homes[name] = memory.home[operand] = storage
    return memory


def _dying(
    step: ElementwiseStep,
    at: int,
    output: Buffer,
    homes: Mapping[str, Storage],
    lives: _Lifetimes,
) -> Storage | None:
    """Return the storage of an operand that this step reads last and that has the size of its
    result.
    """
    if step.emitter != "numpy":
        return None  # numexpr may write an element before reading it
    for operand in step.reads:
        if not isinstance(operand, Buffer):
            continue
        owner = lives.root(operand)
        storage = homes.get(owner.name)
        if storage is None or lives.last[owner.name] != at or storage.last != at:
            continue
        if owner.batched == output.batched and math.prod(owner.shape) == math.prod(output.shape):
            return storage
    return None
