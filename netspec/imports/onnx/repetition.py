"""Finds modules where a file names none: parts that repeat, each with one input and one output.

The part that saves most comes first, and parts never overlap. A part between two of a kind that has
all of its layers, in their order, and some more is of that kind too: a block with another shortcut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from netspec.imports.imported_net import Scope
from netspec.imports.onnx.layer_names import LayerName
from netspec.imports.onnx.recognition import FoundLayer

_SHORTEST = 4
_LONGEST = 64
_MOST_LAYERS = 20_000
_MOST_KINDS = 4
_MOST_TRIED = 24


@dataclass(frozen=True, slots=True)
class _Part:
    """The layers from `start` to before `stop`, and what makes them equal to others."""

    start: int
    stop: int
    key: int

    def __len__(self) -> int:
        return self.stop - self.start


def with_repeated(layers: Sequence[FoundLayer], names: Sequence[LayerName]) -> list[LayerName]:
    """Return names in which parts that repeat are modules, if there are no modules yet."""
    has_modules = any(s.kind and not s.only_holds for name in names for s in name.scopes)
    if has_modules or len(layers) > _MOST_LAYERS:
        return list(names)
    found = _Repetition(layers)
    result = list(names)
    for number, (kind, part) in enumerate(sorted(found.chosen(), key=lambda c: c[1].start), 1):
        counts: dict[str, int] = {}
        path = f"part{number}"
        for i in range(part.start, part.stop):
            op = layers[i].op.name
            counts[op] = counts.get(op, 0) + 1
            own = f"{path}.{op}{counts[op]}" if layers[i].parameters else ""
            result[i] = LayerName(own, (Scope(path, f"Part{kind}" if kind else "Part"),))
    return result


class _Repetition:
    """The parts of one net."""

    def __init__(self, layers: Sequence[FoundLayer]) -> None:
        self._layers = layers
        places = {layer.value: i for i, layer in enumerate(layers)}
        self._inputs = [[places.get(value, -1) for value in layer.inputs] for layer in layers]
        self._last_use = [len(layers)] * len(layers)  # an output of the net is read at the end
        for i, inputs in enumerate(self._inputs):
            for source in inputs:
                if source >= 0:
                    self._last_use[source] = i
        self._parts = [tuple(self._parts_from(start)) for start in range(len(layers))]

    def chosen(self) -> Iterator[tuple[int, _Part]]:
        """Yield parts with the number of their kind."""
        taken = [False] * len(self._layers)
        by_key: dict[int, list[_Part]] = {}
        for part in chain.from_iterable(self._parts):
            by_key.setdefault(part.key, []).append(part)
        groups = [group for group in by_key.values() if len(group) > 1 and self._forks(group[0])]
        for kind in range(_MOST_KINDS):
            apart = [self._apart(group, taken) for group in groups]
            apart.sort(key=self._saving, reverse=True)
            tried = [
                [*best, *self._alike(best, taken)] for best in apart[:_MOST_TRIED] if len(best) > 1
            ]
            chosen = max(tried, key=self._saving, default=[])
            for part in chosen:
                yield kind, part
                taken[part.start : part.stop] = [True] * len(part)
            if not chosen:
                return

    def _forks(self, part: _Part) -> bool:
        """Whether some value is read twice in a part: a mere chain is no block."""
        inside = [
            max(source, part.start - 1)
            for at in range(part.start, part.stop)
            for source in set(self._inputs[at])
        ]
        return len(set(inside)) < len(inside)

    def _parts_from(self, start: int) -> Iterator[_Part]:
        """Yield the parts that begin at a layer, have one input, and of whose values one is read."""
        entry: int | None = None
        key, reach = 0, -1
        for at in range(start, min(start + _LONGEST, len(self._layers))):
            own = []
            for source in self._inputs[at]:
                if source < start:
                    if entry is not None and source != entry:
                        return
                    entry = source
                own.append(at - source if source >= start else 0)
            key = hash((key, self._layers[at].op.name, tuple(own)))
            if at - start + 1 >= _SHORTEST and reach <= at:
                yield _Part(start, at + 1, key)
            reach = max(reach, self._last_use[at])

    def _apart(self, group: Sequence[_Part], taken: Sequence[bool]) -> list[_Part]:
        """Return those of equal parts that do not overlap each other or what is taken."""
        found: list[_Part] = []
        for part in group:
            if found and part.start < found[-1].stop:
                continue
            if not any(taken[part.start : part.stop]):
                found.append(part)
        return found

    def _saving(self, parts: Sequence[_Part]) -> tuple[int, bool, int]:
        if len(parts) < 2:
            return 0, False, 0
        first = parts[0]
        learns = bool(self._layers[first.start].parameters)
        return (len(parts) - 1) * len(first), learns, -first.start

    def _alike(self, best: Sequence[_Part], taken: Sequence[bool]) -> Iterator[_Part]:
        """Yield parts beside those of a kind that have its layers and some more."""
        wanted = [self._layers[i].op.name for i in range(best[0].start, best[0].stop)]
        used = list(taken)
        for part in best:
            used[part.start : part.stop] = [True] * len(part)
        at = 0
        while at < len(self._layers):
            fitting = [
                part
                for part in self._parts[at]
                if not any(used[part.start : part.stop]) and self._holds(part, wanted)
            ]
            if fitting:
                part = min(fitting, key=len)
                yield part
                at = part.stop
            else:
                at += 1

    def _holds(self, part: _Part, wanted: Sequence[str]) -> bool:
        """Whether a part has all of these layers in this order, and not many more."""
        if not len(wanted) <= len(part) <= 1.5 * len(wanted):
            return False
        ops = iter(self._layers[i].op.name for i in range(part.start, part.stop))
        first, last = self._layers[part.start].op.name, self._layers[part.stop - 1].op.name
        return first == wanted[0] and last == wanted[-1] and all(op in ops for op in wanted)
