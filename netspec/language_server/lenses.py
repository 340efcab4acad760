"""The line above each net: what it costs, and what can be done with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from netspec.compiler.syntax import tree as syntax
from netspec.language_server.analysis import Analysis

# The commands that an editor offers by the name of a net.
DRAW, TRAIN = "netspec.draw", "netspec.train"


@dataclass(frozen=True, slots=True)
class Lens:
    """Words above a place, and the command that they start, if they start one, with a net's name."""

    start: int
    end: int
    title: str
    command: str = ""
    net: str = ""


def lenses(analysis: Analysis) -> Iterator[Lens]:
    """Yield the lenses of each net, its costs first: in a text with errors those of the last without."""
    readable, since = analysis.readable
    known = analysis.partial or analysis
    for definition in readable.definitions():
        name = definition.name
        start, end = since.forward(name.span.start), since.forward(name.span.end)
        if not isinstance(definition, syntax.Net) or start is None or end is None:
            continue
        sound = next((a for a in (known, analysis.good) if a and name.id in a.result.graphs), None)
        if sound is not None:
            costs = sound.summary(name.id)
            yield Lens(start, end, f"{costs.parameters:,} parameters · {costs.macs:,} MACs")
        yield Lens(start, end, "draw", DRAW, name.id)
        if sound is not None:
            yield Lens(start, end, "train", TRAIN, name.id)
