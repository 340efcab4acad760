"""Makes the classes of a net's blocks: one for all calls of a block, where that is possible.

Calls get classes of their own (`Block`, `Block2`) if they have other layers, or if their numbers
differ in a way that no argument explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.structured.block import StructuredBlock, Trials
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.compiler.torch_backend.trace import Called, Trace
from netspec.diagnostics import Span


def classes_of(trace: Trace) -> Homes:
    """Return the classes of a net's blocks. A class comes before those that use it."""
    by_height: dict[int, dict[Span, list[Trace]]] = {}
    _collect(trace, by_height)
    homes, trials = Homes(), Trials()
    taken = {trace.definition.name.id}
    for height in sorted(by_height):
        for traces in by_height[height].values():
            if traces[0] is trace:
                continue
            for structure, its in _structures(traces, homes, trials):
                block = its[0].definition
                assert isinstance(block, syntax.Block)
                name = _free(block.name.id, taken)
                taken.add(name)
                homes.add(BlockClass(block, name, structure.taken, its, structure))
    count = Counter(made.definition.span for made in homes.all)
    for made in homes.all:
        made.is_variant = count[made.definition.span] > 1
    return homes


def _structures(
    traces: list[Trace], homes: Homes, trials: Trials
) -> list[tuple[StructuredBlock, list[Trace]]]:
    """The classes of a block's calls, each with the calls that are of it."""
    block = traces[0].definition
    assert isinstance(block, syntax.Block)
    if not homes.has(block):  # a block that calls itself has a class for each depth
        try:
            return [(StructuredBlock(traces, homes, trials), traces)]
        except NotStructuredError:
            pass
    groups: list[list[Trace]] = []
    for trace in traces:
        group = next((g for g in groups if _fits(g, trace, homes)), None)
        if group is None:
            groups.append([trace])
        else:
            group.append(trace)
    return [(StructuredBlock(group, homes, trials, is_flat=True), group) for group in groups]


def _fits(group: Sequence[Trace], trace: Trace, homes: Homes) -> bool:
    """Whether one class does what these calls do."""
    try:
        StructuredBlock([*group, trace], homes, Trials(0), is_flat=True)
    except NotStructuredError:
        return False
    return True


def _collect(trace: Trace, into: dict[int, dict[Span, list[Trace]]]) -> int:
    """Sort traces into `into` by the depth of their nested calls, then by block.

    Return the depth of this one.
    """
    height = 0
    for event in trace.events:
        if isinstance(event, Called):
            height = max(height, 1 + _collect(event.body, into))
    into.setdefault(height, {}).setdefault(trace.definition.span, []).append(trace)
    return height


def _free(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f"{name}{number}"
        number += 1
    return free
