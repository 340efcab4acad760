"""A net as a tree of what is drawn: layers, and the blocks that hold them.

A call of a block is a box. Layers are computed in an order in which those of a call follow each
other, so that the boxes of a body never read each other in a circle. For the same reason layers
whose names begin alike (`layer1.0`, `layer1.1`) are a box where they follow each other. Equal calls
of which each reads the one before are one box with their count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from netspec.compiler.elaborate.sketch import Misfit, Sketch
from netspec.compiler.ir.graph import Node, show_shape
from netspec.diagnostics import Frame, Span
from netspec.draw.kinds import Kind, kind_of

# A body of more boxes than this is divided into boxes of neighbours.
MAX_BODY = 120


@dataclass(frozen=True)
class Leaf:
    """A box without a body: a layer, an input, an output, or a layer that does not fit.

    Attributes:
        name: unique in the picture; of a layer the value that it computes.
        title: the first line in the box.
        note: the second line, or empty.
        about: further facts as (name, text), for whoever points at the box.
        reads: the values that it reads, in order.
        gives: the values that it computes: one, or none.
        parameters: the full names of its parameters; leaves of equal ones share a layer.
        is_unread: whether nobody reads its value.
    """

    name: str
    title: str
    note: str
    kind: Kind
    reads: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    span: Span | None = None
    about: tuple[tuple[str, str], ...] = ()
    parameters: tuple[str, ...] = ()
    is_unread: bool = False
    signature: tuple[object, ...] = ()


@dataclass(frozen=True)
class Group:
    """A box with a body.

    Attributes:
        times: how many equal calls it stands for.
        reads: the values of others that its body reads, in order.
        gives: the values that others read.
        path: the label under which its layers lie, or empty.
        members: the names of all leaves in it, those that are not drawn too.
    """

    name: str
    title: str
    note: str
    children: tuple[Item, ...]
    reads: tuple[str, ...]
    gives: tuple[str, ...]
    span: Span | None = None
    times: int = 1
    path: str = ""
    members: frozenset[str] = frozenset()
    kind: Kind = Kind.BLOCK


Item = Leaf | Group


@dataclass(frozen=True)
class Outline:
    """A net to be drawn: the boxes of its outermost body, and the shape of each value as text.

    `drawn_as` says for a value that is not drawn, since its layer is one of several equal ones, the
    value that stands for it.
    """

    name: str
    children: tuple[Item, ...]
    shapes: Mapping[str, str]
    drawn_as: Mapping[str, str]


Facts = Callable[[str], tuple[tuple[str, str], ...]]


def outline(sketch: Sketch, facts: Facts = lambda _: ()) -> Outline:
    """Return the outline of a net.

    Args:
        sketch: the net.
        facts: gives what else is to be said of a layer.
    """
    return _Outliner(sketch, facts).outline()


@dataclass(frozen=True)
class _Step:
    """A leaf and the calls and turns of loops that lead to it, from the outside."""

    leaf: Leaf
    way: tuple[_Part, ...]


@dataclass(frozen=True)
class _Part:
    """One call of a block, or one turn of a loop."""

    key: tuple[object, ...]
    frame: Frame
    turn: str = ""


class _Outliner:
    def __init__(self, sketch: Sketch, facts: Facts) -> None:
        self.graph = sketch.graph
        self.misfits = sketch.misfits
        self.is_whole = sketch.is_whole
        self.facts = facts
        self.drawn_as: dict[str, str] = {}
        self.outputs = set(self.graph.outputs.values())
        self.called = ""  # the path of the block whose body is looked at

    def outline(self) -> Outline:
        graph = self.graph
        steps = [*self._steps()]
        self.readers = _readers(step.leaf for step in steps)
        inputs = [
            Leaf(name, name, "", Kind.INPUT, gives=(name,), span=graph.span)
            for name in graph.inputs
        ]
        known = {*graph.inputs, *graph.by_name}  # of a net with errors an output can be missing
        outputs = [
            Leaf(
                f"output {name}", f"output {name}".removesuffix(" output"), "", Kind.INPUT, (value,)
            )
            for name, value in graph.outputs.items()
            if value in known
        ]
        children = self._finish([*inputs, *self._body(steps, 0, ""), *outputs])
        shapes = {node.name: show_shape(node.shape) for node in graph.nodes}
        shapes |= {name: show_shape(shape) for name, shape in graph.inputs.items()}
        drawn_as = {value: self._drawn(value) for value in self.drawn_as}
        return Outline(graph.name, children, shapes, drawn_as)

    def _drawn(self, value: str) -> str:
        """Return the value that stands for one in the picture."""
        while value in self.drawn_as:
            value = self.drawn_as[value]
        return value

    def _steps(self) -> Iterator[_Step]:
        misfits = sorted(self.misfits, key=lambda misfit: misfit.position)
        first_uses: set[tuple[str, ...]] = set()
        read = {value for node in self.graph.nodes for value in node.inputs} | self.outputs
        for position in range(len(self.graph.nodes) + 1):
            while misfits and misfits[0].position == position:
                misfit = misfits.pop(0)
                leaf = _misfit_leaf(misfit, len(misfits))
                yield _Step(leaf, (*_way(misfit.trace),))
            if position < len(self.graph.nodes):
                node = self.graph.nodes[position]
                leaf = self._leaf(node, first_uses)
                is_unread = self.is_whole and node.name not in read
                yield _Step(replace(leaf, is_unread=is_unread), (*_way(node.origin.trace),))

    def _leaf(self, node: Node, first_uses: set[tuple[str, ...]]) -> Leaf:
        graph = self.graph
        names = tuple(node.parameters.values())
        again = bool(names) and names in first_uses
        first_uses.add(names)
        count = sum(graph.parameters[n].size for n in names if graph.parameters[n].trainable)
        label = node.name.rpartition(".")[2]
        is_made_up = re.fullmatch(rf"({node.op.name})?\d+", label)
        facts = ["" if is_made_up else label]
        facts.append("shared parameters" if again else f"{count:,} parameters" if count else "")
        note = " · ".join(fact for fact in facts if fact)
        call = str(node.op)
        # An array of the net's own comes from nowhere: that it is made for each image is no arrow.
        reads = () if node.op.reads_batch_alone else node.inputs
        return Leaf(
            node.name, call, note, kind_of(node, graph), reads, (node.name,),
            node.origin.span, self.facts(node.name), names,
            signature=(call, str(node.shape), tuple(map(str, graph.shapes_into(node))), again),
        )  # fmt: skip

    def _body(self, steps: Sequence[_Step], depth: int, path: str) -> list[Item]:
        """Return the boxes of a body whose layers all have come the same first `depth` parts of
        their way.
        """
        items: list[Item | _Turn] = []
        for key, run in groupby(steps, lambda s: s.way[depth].key if len(s.way) > depth else None):
            inside = list(run)
            if key is None:
                items += [step.leaf for step in inside]
                continue
            part = inside[0].way[depth]
            if part.turn:
                items.append(_Turn(part.turn, tuple(self._body(inside, depth + 1, path))))
            else:
                items.append(self._call(part.frame, inside, depth))
        return self._by_label(self._fold_calls([*self._fold_turns(items)]), path)

    def _call(self, frame: Frame, inside: Sequence[_Step], depth: int) -> Group:
        outer, self.called = self.called, frame.path
        children = self._body(inside, depth + 1, frame.path)
        self.called = outer
        label = frame.path.removeprefix(f"{outer}.")
        called = frame.text.removeprefix("block ")
        block, _, arguments = called.partition("(")
        title = f"{label}: {block}" if label else block
        note = arguments.removesuffix(")")
        return self._group(title, note, children, frame.call, path=frame.path)

    def _group(
        self,
        title: str,
        note: str,
        children: Sequence[Item],
        span: Span | None = None,
        times: int = 1,
        path: str = "",
    ) -> Group:
        given = {value for child in children for value in child.gives}
        reads = dict.fromkeys(v for child in children for v in child.reads if v not in given)
        inside = _members(children)
        gives = tuple(
            value
            for child in children
            for value in child.gives
            if value in self.outputs or not self.readers.get(value, _NOBODY) <= inside
        )
        first = next(leaves(children)).name
        return Group(
            f"{first} {title}", title, note, self._finish(children), tuple(reads), gives, span,
            times, path, inside,
        )  # fmt: skip

    def _by_label(self, items: Sequence[Item], path: str, *, part: bool = False) -> list[Item]:
        """Put neighbours whose names begin alike into a box.

        Where a name comes back later in the body, those that have the next part of it in common are
        put together. `part` says that the items are a part of a body alone.
        """
        runs = [(label, [*run]) for label, run in groupby(items, lambda item: _label(item, path))]
        labels = [label for label, _ in runs]
        out: list[Item] = []
        for label, run in runs:
            whole = f"{path}.{label}" if path else label
            if not label or len(run) == 1:
                out += run
            elif labels.count(label) == 1 and (part or len(runs) > 1):
                title = whole.removeprefix(f"{self.called}.")
                out.append(self._group(title, "", self._by_label(run, whole), path=whole))
            else:
                out += self._by_label(run, whole, part=len(runs) > 1)
        return out

    def _fold_turns(self, items: Iterable[Item | _Turn]) -> Iterator[Item]:
        """Yield equal turns of a loop as one box, and others as what is in them."""
        for is_turn, run in groupby(items, lambda item: isinstance(item, _Turn)):
            if not is_turn:
                yield from (item for item in run if not isinstance(item, _Turn))
                continue
            turns = [turn for turn in run if isinstance(turn, _Turn)]
            groups = [self._group("", "", turn.children) for turn in turns]
            at = 0
            while at < len(turns):
                count = self._equal_from(groups, at)
                children = groups[at].children
                if count == 1:
                    yield from turns[at].children
                elif len(children) == 1 and isinstance(children[0], Group):
                    self._stand_in(groups[at], groups[at + 1 : at + count])
                    yield _repeated(children[0], children[0].times, groups[at : at + count])
                else:
                    self._stand_in(groups[at], groups[at + 1 : at + count])
                    title = f"{turns[at].text} to {turns[at + count - 1].text.rpartition(' ')[2]}"
                    first = f"{next(leaves(children)).name} {title}"
                    last = groups[at + count - 1]
                    yield replace(
                        groups[at], title=title, times=count, name=first, gives=last.gives,
                        members=frozenset().union(*(g.members for g in groups[at : at + count])),
                    )  # fmt: skip
                at += count

    def _fold_calls(self, items: Sequence[Item]) -> list[Item]:
        """Put equal calls, of which each reads the one before, into one box."""
        out: list[Item] = []
        at = 0
        while at < len(items):
            item = items[at]
            if not isinstance(item, Group):
                out.append(item)
                at += 1
                continue
            run = [item]
            for other in items[at + 1 :]:
                if not isinstance(other, Group) or other.times != 1:
                    break
                run.append(other)
            count = self._equal_from(run, 0) if item.times == 1 else 1
            if count > 1:
                self._stand_in(item, run[1:count])
                item = _repeated(item, 1, run[:count])
            out.append(item)
            at += count
        return out

    def _stand_in(self, first: Group, others: Iterable[Group]) -> None:
        for group in others:
            self.drawn_as.update(zip(_values(group), _values(first), strict=True))

    def _equal_from(self, groups: Sequence[Group], at: int) -> int:
        """Return how many groups, from one on, are equal and read each other in a chain."""
        first = groups[at]
        signature, places = self._signature(first), None
        count = 1
        while at + count < len(groups):
            before, group = groups[at + count - 1], groups[at + count]
            if self._signature(group) != signature:
                break
            links = self._links(before, group)
            if links is None or (places is not None and links != places):
                break
            if not all(self._is_read_only_in(value, group) for value in before.gives):
                break
            places = links
            count += 1
        return count

    def _is_read_only_in(self, value: str, group: Group) -> bool:
        return value not in self.outputs and self.readers.get(value, _NOBODY) <= group.members

    def _signature(self, group: Group) -> tuple[object, ...]:
        """Return what is the same for two groups that differ in the names of values alone."""
        places = {value: at for at, value in enumerate(_values(group))}
        outside = {value: -1 - at for at, value in enumerate(group.reads)}
        return tuple(
            (
                leaf.signature,
                tuple(places.get(self._drawn(v), outside.get(v, 0)) for v in leaf.reads),
            )
            for leaf in leaves(group.children)
        )

    def _links(self, before: Group, group: Group) -> tuple[int, ...] | None:
        """Return for each value that a group reads where it comes from: the place of the value in
        the group before, or -1 for the value that this one reads too; None if it is neither.
        """
        places = {value: at for at, value in enumerate(_values(before))}
        found = []
        for mine, its in zip(group.reads, before.reads, strict=True):
            if self._drawn(mine) in places:
                found.append(places[self._drawn(mine)])
            elif mine == its:
                found.append(-1)
            else:
                return None
        return tuple(found) if any(place >= 0 for place in found) else None

    def _finish(self, children: Sequence[Item]) -> tuple[Item, ...]:
        """Divide a body that is too long into boxes of neighbours."""
        if len(children) <= MAX_BODY:
            return tuple(children)
        size = max(2, round(len(children) ** 0.5))
        parts = [children[at : at + size] for at in range(0, len(children), size)]
        groups = []
        for part in parts:
            names = [leaf.name for leaf in (next(leaves(part[:1])), next(leaves(part[-1:])))]
            groups.append(self._group(f"{names[0]} to {names[1]}", f"{len(part)} boxes", part))
        return tuple(groups)


@dataclass(frozen=True)
class _Turn:
    """What one turn of a loop adds to a body."""

    text: str
    children: tuple[Item, ...]


_NOBODY: frozenset[str] = frozenset()


def leaves(items: Iterable[Item]) -> Iterator[Leaf]:
    """Yield the leaves of boxes and of what is in them, in order."""
    for item in items:
        if isinstance(item, Leaf):
            yield item
        else:
            yield from leaves(item.children)


def _readers(found: Iterable[Leaf]) -> dict[str, frozenset[str]]:
    readers: dict[str, set[str]] = {}
    for leaf in found:
        for value in leaf.reads:
            readers.setdefault(value, set()).add(leaf.name)
    return {value: frozenset(names) for value, names in readers.items()}


def _way(trace: Sequence[Frame]) -> Iterator[_Part]:
    for frame in trace:
        for name, value in frame.turns:
            yield _Part((name, str(value)), frame, f"{name} = {value}")
        if frame.call is not None:
            yield _Part((frame.call, frame.path, frame.text), frame)


def _misfit_leaf(misfit: Misfit, number: int) -> Leaf:
    reads = tuple(misfit.inputs)
    about = (("error", str(misfit.code)),)
    return Leaf(
        f"misfit {misfit.position} {number}", misfit.call, misfit.message, Kind.ERROR, reads,
        span=misfit.span, about=about, signature=(misfit.position, number),
    )  # fmt: skip


def _label(item: Item, path: str) -> str:
    """Return the part of an item's name behind the path of its body, or nothing if it is its last."""
    name = item.path if isinstance(item, Group) else item.name
    rest = name.removeprefix(f"{path}.") if path else name
    return rest.partition(".")[0] if "." in rest else ""


def _values(group: Group) -> list[str]:
    return [leaf.name for leaf in leaves(group.children)]


def _members(items: Iterable[Item]) -> frozenset[str]:
    names: set[str] = set()
    for item in items:
        names |= {item.name} if isinstance(item, Leaf) else item.members
    return frozenset(names)


# From here on, the second of two labels leaves out what it has in common with the first.
_LONG_LABELS = 24


def _repeated(group: Group, times: int, equal: Sequence[Group]) -> Group:
    """Return one box for equal ones, each of which holds `times` calls of the group."""
    last = equal[-1]
    end = last.path or next((c.path for c in last.children if isinstance(c, Group)), "")
    title = group.title
    label, colon, block = title.partition(": ")
    if colon and end:
        outer = group.path.removesuffix(label)
        ending = end.removeprefix(outer)
        if len(label) + len(ending) > _LONG_LABELS:
            ending = ending.removeprefix(f"{label.rpartition('.')[0]}.")
        title = f"{label} to {ending}: {block}"
    members = _members(equal)
    return replace(group, times=times * len(equal), title=title, gives=last.gives, members=members)
