"""A net while it is put together: its nodes, parameters and names so far, and the limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netspec.compiler.graph import Node, Parameter, Shape
from netspec.compiler.scope import Reads
from netspec.diagnostics import DiagnosticSink, Span

# One unit is one expression, statement or layer: about 20 microseconds.
MAX_WORK = 100_000
MAX_ERRORS = 100
# The same mistakes in turn after turn: the loop that repeats them has shown all it has.
MAX_REPEATS = 1000
MAX_ELEMENTS = 1 << 36
MAX_CALLS_DEEP = 24


class StopBuildingError(Exception):
    """A limit was reached and reported; there is nothing more to build."""


@dataclass
class Assembly:
    """What all bodies of one net share."""

    sink: DiagnosticSink
    inputs: dict[str, Shape] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    reads: Reads = field(default_factory=Reads)
    deferred: list[Any] = field(default_factory=list)
    failed: bool = False
    work: int = 0
    errors: int = 0
    repeats: int = 0
    calls_deep: int = 0
    called: set[Span] = field(default_factory=set)
    depth: int = 0
    # Label paths: layers and blocks by where they were given, and the paths above them.
    taken: dict[str, Span] = field(default_factory=dict)
    above: dict[str, Span] = field(default_factory=dict)

    def take(self, path: str, prefix: str, span: Span) -> tuple[str, Span] | None:
        """Claim a label path; gives the path and the place that it collides with, or None.

        A path may not run through another layer (`stem` and `stem.weight`), for the second would be
        a parameter's name.
        """
        if path in self.taken:
            return path, self.taken[path]
        if path in self.above:
            return path, self.above[path]
        ancestors = []
        parent = path.rpartition(".")[0]
        while len(parent) > len(prefix):
            if parent in self.taken:
                return parent, self.taken[parent]
            ancestors.append(parent)
            parent = parent.rpartition(".")[0]
        self.taken[path] = span
        for ancestor in ancestors:
            self.above.setdefault(ancestor, span)
        return None

    def is_free(self, path: str) -> bool:
        """Whether nothing has this path yet."""
        return path not in self.taken and path not in self.above

    def totals(self) -> Mapping[str, int]:
        """What an assert may ask about the whole net: `params` and `macs`."""
        shapes = dict(self.inputs) | {node.name: node.shape for node in self.nodes}
        macs = sum(node.op.macs(*(shapes[value] for value in node.inputs)) for node in self.nodes)
        params = sum(p.size for p in self.parameters.values() if p.trainable)
        return {"params": params, "macs": macs}
