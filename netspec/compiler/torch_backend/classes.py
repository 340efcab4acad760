"""Makes the classes of a net's blocks: one for all calls of a block, where that is possible.

Calls get classes of their own (`Block`, `Block2`) if they have other layers, or if their numbers
differ in a way that no argument explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.structured.block import StructuredBlock, Trials
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.compiler.torch_backend.trace import Called, Trace
from netspec.diagnostics import Span
from netspec.text.free_name import take_name


def classes_of(trace: Trace) -> Homes:
    """Return the classes of a net's blocks. A class comes before those that use it."""
    homes, trials = Homes(), Trials()
    taken = {trace.definition.name.id}
    for traces in _groups(trace):
        for structure, its in _structures(traces, homes, trials):
            block = its[0].definition
            assert isinstance(block, syntax.Block)
            name = take_name(block.name.id, taken, joint="")
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


def _groups(trace: Trace) -> list[list[Trace]]:
    """The calls of each block, behind those of the blocks that it calls.

    A block that calls itself has a group for each depth of its calls.
    """
    calls: dict[Span, dict[int, list[Trace]]] = {}
    inner: dict[Span, set[Span]] = {}
    _collect(trace, calls, inner)
    groups: dict[tuple[int, Span, int], list[Trace]] = {}
    for span, by_height in calls.items():
        is_recursive = span in _reached(span, inner)
        lowest = max(by_height)
        for height, traces in sorted(by_height.items()):
            at = height if is_recursive else lowest
            groups.setdefault((at, span, height if is_recursive else 0), []).extend(traces)
    order = sorted(groups, key=lambda group: group[0])
    return [groups[group] for group in order if group[1] != trace.definition.span]


def _reached(block: Span, inner: Mapping[Span, set[Span]]) -> set[Span]:
    """The blocks that a block calls, and those that these call."""
    found: set[Span] = set()
    left = [block]
    while left:
        new = inner.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def _collect(
    trace: Trace, calls: dict[Span, dict[int, list[Trace]]], inner: dict[Span, set[Span]]
) -> int:
    """Sort traces into `calls` by block, then by the depth of their nested calls.

    `inner` are the blocks that each calls. Return the depth of this trace.
    """
    height = 0
    span = trace.definition.span
    for event in trace.events:
        if isinstance(event, Called):
            inner.setdefault(span, set()).add(event.body.definition.span)
            height = max(height, 1 + _collect(event.body, calls, inner))
    calls.setdefault(span, {}).setdefault(height, []).append(trace)
    return height
