"""Removes from a trace what no output depends on."""

from __future__ import annotations

from collections.abc import Sequence, Set

from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.torch_backend.trace import Called, Event, Named


def live_part(events: Sequence[Event], live: Set[str]) -> list[Event]:
    """Return the events whose values are in the graph. What only dead values need is removed.

    The first remaining use of a layer or block creates its module. The others are marked as reuses.
    """
    kept: list[Event] = []
    made: set[str] = set()
    for event in events:
        if isinstance(event, Named):
            if event.value not in live:
                continue
        else:
            if isinstance(event, Called):
                _cut(event, live)
                # The events of a block that is only watched are not recorded: its results tell
                # whether it returns anything but its inputs.
                if set(event.results) <= set(event.body.inputs.values()):
                    continue
            elif event.node.name not in live:
                continue
            event.reused = event.path in made
            made.add(event.path)
        kept.append(event)
    return kept


def _cut(event: Called, live: Set[str]) -> None:
    """Reduce a call to what is live."""
    body = event.body
    body.events = live_part(body.events, live)
    event.inputs = tuple(value for value in event.inputs if value in live)
    found = list(zip(body.kept, event.results, strict=True))
    body.kept = tuple(at for at, value in found if value in live)
    event.results = tuple(value for _, value in found if value in live)
    body.inputs = {name: value for name, value in body.inputs.items() if value in live}
    body.results = event.results


def has_dead_modules(graph: Graph) -> bool:
    """Whether a layer that is a module has no use."""
    live = eliminate_dead(graph).by_name
    dead = (node for node in graph.nodes if node.name not in live)
    return any(
        node.parameters or node.op.torch(*graph.shapes_into(node)).module is not None
        for node in dead
    )
