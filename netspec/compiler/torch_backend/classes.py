"""Makes classes from traces: one class for all calls of a block, where that is possible.

Calls get classes of their own (`Block`, `Block2`) if they have other layers, or if their numbers
differ in a way that no argument explains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.class_ir import BlockClass
from netspec.compiler.torch_backend.honoured_arguments import honour
from netspec.compiler.torch_backend.merge_calls import CannotMergeError, Merger
from netspec.compiler.torch_backend.structured.block import StructuredBlock, Trials
from netspec.compiler.torch_backend.structured.structure import NotStructuredError
from netspec.compiler.torch_backend.trace import Called, Chosen, Event, Trace
from netspec.diagnostics import Span


@dataclass
class Known:
    """What was recorded before.

    Attributes:
        blocks: the blocks, by what they are called with.
        trials: what may still be tried.
    """

    blocks: dict[tuple[str, ...], StructuredBlock] = field(default_factory=dict)
    trials: Trials = field(default_factory=Trials)


def classes_of(trace: Trace, known: Known) -> list[BlockClass]:
    """Return the classes of a net.

    A class comes before those that use it, so the net's is the last.
    """
    by_height: dict[int, dict[Span, list[Trace]]] = {}
    _collect(trace, by_height)
    classes: list[BlockClass] = []
    homes: dict[int, BlockClass] = {}
    by_block: dict[syntax.Block, BlockClass] = {}
    is_single = True
    taken = {trace.definition.name.id}
    for height in sorted(by_height):
        for traces in by_height[height].values():
            is_block = is_single and traces[0] is not trace
            written = _written(traces, dict(by_block), known) if is_block else None
            for variant in [written] if written is not None else _variants(traces, homes):
                if variant.structure is None and variant.traces[0] is not trace:
                    honour(variant)
                if variant.traces[0] is not trace:
                    variant.name = _free(variant.definition.name.id, taken)
                    taken.add(variant.name)
                homes.update((id(t), variant) for t in variant.traces)
                classes.append(variant)
                if isinstance(variant.definition, syntax.Block):
                    is_single = is_single and variant.definition not in by_block
                    by_block[variant.definition] = variant
    count = Counter(made.definition.span for made in classes)
    for made in classes:
        made.is_variant = count[made.definition.span] > 1
    return classes


def _written(
    traces: list[Trace], homes: Mapping[syntax.Block, BlockClass], known: Known
) -> BlockClass | None:
    """The class with the statements of the file, if all calls of the block have the same."""
    try:
        key = StructuredBlock.key(traces)
        if key not in known.blocks:
            known.blocks[key] = StructuredBlock(traces, homes, known.trials)
        found = known.blocks[key]
        found.homes = homes
    except NotStructuredError:
        return None
    first = traces[0]
    made = BlockClass(
        first.definition, first.definition.name.id, found.taken, {}, (), [], {}, traces
    )
    made.known = {symbol: tuple(values) for symbol, values in found.known.items()}
    made.structure = found
    return made


def _collect(trace: Trace, into: dict[int, dict[Span, list[Trace]]]) -> int:
    """Sort traces into `into` by the depth of their nested calls, then by block.

    Return the depth of this one.
    """
    height = 0
    for called in _calls(trace.events):
        height = max(height, 1 + _collect(called.body, into))
    into.setdefault(height, {}).setdefault(trace.definition.span, []).append(trace)
    return height


def _calls(events: Sequence[Event]) -> Iterator[Called]:
    for event in events:
        if isinstance(event, Called):
            yield event
        elif isinstance(event, Chosen):
            yield from _calls(event.events)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f"{name}{number}"
        number += 1
    return free


def _variants(traces: list[Trace], homes: Mapping[int, BlockClass]) -> list[BlockClass]:
    """Merge the calls of a block one after another into as few classes as this greedy order finds."""
    try:
        return [Merger(traces, homes).merged()]
    except CannotMergeError:
        groups: list[list[Trace]] = []
        for trace in traces:
            for group in groups:
                try:
                    Merger([*group, trace], homes).merged()
                except CannotMergeError:
                    continue
                group.append(trace)
                break
            else:
                groups.append([trace])
        return [Merger(group, homes).merged() for group in groups]
