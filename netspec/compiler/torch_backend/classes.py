"""Makes the classes of a net's blocks: one for all calls of a block, where that is possible.

Calls get classes of their own (`Block`, `Block2`) if they have other layers, or if their numbers
differ in a way that no argument explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from netspec.compiler.passes.layer_limit import CLASS, require_small_classes
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.structured.block import StructuredBlock, Trials
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.compiler.torch_backend.trace import Called, Named, Trace
from netspec.diagnostics import Span
from netspec.text.free_name import take_name

# So many layers may be built to find out which calls of blocks can share a class. Then each call that is
# left has a class of its own.
_COMPARED = 1_000


def classes_of(trace: Trace) -> Homes:
    """Return the classes of a net's blocks. A class comes before those that use it.

    Raises:
        NetspecError: `limit/layers` for too many.
    """
    homes, trials, compared = Homes(), Trials(), Trials(_COMPARED)
    net = trace.definition.name
    taken = {net.id}
    groups = _groups(trace)
    size = sum(_size(traces[0]) for traces in groups)
    require_small_classes(net.id, size, net.span)
    for traces in groups:
        found = _structures(traces, homes, trials, compared)
        size += sum(_size(its[0]) for _, its in found[1:])
        require_small_classes(net.id, size, net.span)
        for structure, its in found:
            block = its[0].definition
            assert isinstance(block, syntax.Block)
            name = take_name(block.name.id, taken, joint="")
            homes.add(BlockClass(block, name, structure.taken, its, structure))
    count = Counter(made.definition.span for made in homes.all)
    for made in homes.all:
        made.is_variant = count[made.definition.span] > 1
    return homes


def _structures(
    traces: list[Trace], homes: Homes, trials: Trials, compared: Trials
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
        group = next((g for g in groups if _fits(g, trace, homes, compared)), None)
        if group is None:
            groups.append([trace])
            require_small_classes(block.name.id, sum(_size(g[0]) for g in groups), block.name.span)
        else:
            group.append(trace)
    return [(StructuredBlock(group, homes, trials, is_flat=True), group) for group in groups]


def _fits(group: Sequence[Trace], trace: Trace, homes: Homes, compared: Trials) -> bool:
    """Whether one class does what these calls do."""
    if _layers(group[0]) != _layers(trace):
        return False
    if not compared.take((1 + len(group)) * (1 + len(trace.events))):
        return False
    try:
        StructuredBlock([*group, trace], homes, Trials(0), is_flat=True)
    except NotStructuredError:
        return False
    return True


def _size(trace: Trace) -> int:
    """How much there is to record of a body."""
    return CLASS + sum(not isinstance(event, Named) for event in trace.events)


def _layers(trace: Trace) -> list[Span]:
    """Where the layers and the calls of a body stand. One class has the same for all of its calls."""
    return [event.span for event in trace.events if not isinstance(event, Named)]


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
