"""What the lines of a module's Python call their values, for the same values in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

from netspec.imports.imported_net import ImportedNode, Place

_ASSIGNED = re.compile(r"([A-Za-z_]\w*(?:\s*,\s*[A-Za-z_]\w*)*)\s*[-+*/@]?=(?!=)")
_LONGEST = 24


def with_line_names(nodes: Sequence[ImportedNode], ends: Iterable[str]) -> list[ImportedNode]:
    """Return nodes with the names that lines assign them.

    A line gives its names to the values that other lines read, if there are as many: `q, k, v` in
    order. What it computes on the way to a single one of several values is called the same.

    Args:
        nodes: in the order they run.
        ends: the values that are outputs.
    """
    lines = [list(line) for _, line in groupby(nodes, lambda node: (node.place, node.scopes))]
    line_of = {node.value: i for i, line in enumerate(lines) for node in line}
    read_elsewhere = set(ends)
    for i, line in enumerate(lines):
        read_elsewhere.update(v for node in line for v in node.inputs if line_of.get(v) != i)
    return [node for line in lines for node in _named(line, read_elsewhere)]


def _named(line: Sequence[ImportedNode], read_elsewhere: set[str]) -> list[ImportedNode]:
    names = assigned_names(line[0].place)
    results = [node.value for node in line if node.value in read_elsewhere]
    if not names or len(names) != len(results):
        return list(line)
    called = dict(zip(results, names, strict=True))
    if len(names) == 1:
        called |= {node.value: names[0] for node in line if len(node.inputs) > 1}
    return [replace(node, called=called.get(node.value, "")) for node in line]


def assigned_names(place: Place | None) -> tuple[str, ...]:
    """Return the names that a line of Python gives its values; none if it gives none."""
    found = _ASSIGNED.match(place.text) if place is not None else None
    if found is None:
        return ()
    names = tuple(name.strip() for name in found[1].split(","))
    is_usable = all(len(name) <= _LONGEST and name[0] != "_" for name in names)
    return names if is_usable else ()
