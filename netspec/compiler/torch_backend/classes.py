"""Traces to classes: all calls of a block in the one class that serves them.

Where calls hold different numbers that no argument tells apart, or have other layers, they get
classes of their own (`Block`, `Block2`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from netspec.compiler.torch_backend.class_ir import BlockClass
from netspec.compiler.torch_backend.honoured_arguments import honour
from netspec.compiler.torch_backend.merge_calls import CannotMergeError, Merger
from netspec.compiler.torch_backend.trace import Called, Chosen, Event, Trace
from netspec.diagnostics import Span


def classes_of(trace: Trace) -> list[BlockClass]:
    """The classes of a net, those that others use first, the net's last."""
    by_height: dict[int, dict[Span, list[Trace]]] = {}
    _collect(trace, by_height)
    classes: list[BlockClass] = []
    homes: dict[int, BlockClass] = {}
    taken = {trace.definition.name.id}
    for height in sorted(by_height):
        for traces in by_height[height].values():
            for variant in _variants(traces, homes):
                if variant.traces[0] is not trace:
                    honour(variant)
                    variant.name = _free(variant.definition.name.id, taken)
                    taken.add(variant.name)
                homes.update((id(t), variant) for t in variant.traces)
                classes.append(variant)
    count = Counter(made.definition.span for made in classes)
    for made in classes:
        made.is_variant = count[made.definition.span] > 1
    return classes


def _collect(trace: Trace, into: dict[int, dict[Span, list[Trace]]]) -> int:
    """Sort the traces by how deep they nest, then by block."""
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
    """The fewest classes that merging one call after another finds."""
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
