"""How two nets differ: layers added, removed and changed, and what that does to the costs.

Layers are matched in order, by label first and then by op and arguments. So a layer that is
inserted does not make all later layers look changed, although they get new numbers. Where names do not
count, they are matched by what is below and above them in the net (`analysis/structure`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, replace
from itertools import zip_longest
from typing import Any

from netspec import codes
from netspec.compiler.analysis.alike_changes import alike
from netspec.compiler.analysis.block_calls import BlockCall
from netspec.compiler.analysis.costs import LayerSummary, Summary, summarize
from netspec.compiler.analysis.parameter_changes import HeldParameters, parameter_changes
from netspec.compiler.analysis.structure import (
    ALIKE,
    Likeness,
    Look,
    Marks,
    body_structure,
    colors_of,
    resolved_call,
    same_structure,
    structure_of,
)
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import Graph, Node, show_shape
from netspec.compiler.ir.scan_body import ScanBody
from netspec.compiler.passes.layer_limit import require_few_layers
from netspec.diagnostics import NetspecError
from netspec.records import record
from netspec.text.printable import printable_lines

# Aligning compares every layer with every other one. It is given up for longer stretches that
# differ.
MAX_PAIRS = 1_000_000
CONTEXT = 2
# So many other calls of a block are named where they changed alike.
_NAMED = 3

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "renamed": "=", "same": " "}
_TOTALS = ("parameters", "buffers", "macs")
IGNORABLE = ("init", "names")
"""What can be left out of a comparison: initial values; the names of values, labels, inputs, outputs,
nets and blocks.
"""

Pair = tuple[LayerSummary | None, LayerSummary | None]


@record(slots=True)
class Change:
    """One row of a comparison: an input, a layer or an output that both nets have, or only one of
    them. `details` says what changed, in words.

    `kind` is `same`, `renamed` (the same layer, its parameters under other names), `changed`,
    `added` or `removed`.
    """

    kind: str
    name: str
    what: str
    shape: str
    details: tuple[str, ...] = ()
    before: LayerSummary | None = None
    after: LayerSummary | None = None


@record(slots=True, repr=False)
class GraphDiff:
    """The result of comparing two nets. What `ignored` names was not compared. Where that is names,
    `same` says whether there is a one-to-one map from the one net to the other.
    """

    before: Summary
    after: Summary
    changes: tuple[Change, ...]
    ignored: frozenset[str] = frozenset()
    same: bool | None = None

    @property
    def equal(self) -> bool:
        """Whether both nets are the same and, unless names are ignored, their parameters have the same
        names.
        """
        if self.same is not None:
            return self.same
        totals = (
            (len(side.layers), *(getattr(side, name) for name in _TOTALS))
            for side in (self.before, self.after)
        )
        return all(change.kind == "same" for change in self.changes) and len(set(totals)) == 1

    def __str__(self) -> str:
        return printable_lines(as_text(self, self.before.net, self.after.net))

    def __repr__(self) -> str:
        said = "equal" if self.equal else f"{sum(c.kind != 'same' for c in self.changes)} changes"
        return f"<netspec.GraphDiff of {self.before.net} and {self.after.net}: {said}>"

    def _repr_html_(self) -> str:
        from netspec.text import html

        return html.preformatted(str(self))


def compare(before: Graph, after: Graph, ignore: AbstractSet[str] = frozenset()) -> GraphDiff:
    """Compare two nets, layer by layer.

    Args:
        before: the one net.
        after: the other.
        ignore: what not to compare, out of `IGNORABLE`.

    Raises:
        NetspecError: `limit/layers`.
    """
    for graph in (before, after):
        require_few_layers(graph)
    old, new = summarize(before), summarize(after)
    init = "init" not in ignore
    if "names" in ignore:
        pairs, same = _by_structure(before, after, old, new, init=init)
        inputs = _paired(list(old.inputs), list(new.inputs))
        outputs = _paired(list(old.outputs), list(new.outputs))
    else:
        pairs, same = match(old.layers, new.layers), None
        inputs = [(name, name) for name in {**old.inputs, **new.inputs}]
        outputs = [(name, name) for name in {**old.outputs, **new.outputs}]
    names = {a.name: b.name for a, b in pairs if a is not None and b is not None}
    names |= {a: b for a, b in inputs if a and b and a in old.inputs and b in new.inputs}
    layers = _Layers(
        HeldParameters(before), HeldParameters(after), names,
        {*names.values(), *old.inputs, *new.inputs}, before, after, frozenset(ignore),
    )  # fmt: skip
    ends = [_inputs(old, new, inputs), _outputs(old, new, outputs, names)]
    if "names" not in ignore:  # where names do not count, they are paired by their places
        ends = [
            _in_order(ends[0], list(old.inputs), list(new.inputs)),
            _in_order(ends[1], list(old.outputs), list(new.outputs)),
        ]
    rows = [layers.same(pair) if same else layers.change(pair) for pair in pairs]
    changes = [*ends[0], *rows, *ends[1]]
    return GraphDiff(old, new, tuple(changes), frozenset(ignore), same)


def ignorable(given: str | Iterable[str]) -> list[str]:
    """Return what shall not be compared, of words or of a list with commas.

    Raises:
        NetspecError: `usage/diff` for another word.
    """
    words = given.split(",") if isinstance(given, str) else given
    chosen = [word.strip() for word in words if word.strip()]
    for each in chosen:
        if each not in IGNORABLE:
            message = f"`ignore` takes {' and '.join(map(repr, IGNORABLE))}, not {each!r}"
            raise NetspecError.simple(codes.USAGE_DIFF, message)
    return chosen


# ---------------------------------------------------------------------------------------- matching


def _paired(before: Sequence[str], after: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Pair inputs or outputs by their places."""
    return list(zip_longest(before, after))


def _by_structure(
    before: Graph, after: Graph, old: Summary, new: Summary, *, init: bool
) -> tuple[list[Pair], bool]:
    """Pair the layers of two nets by what they compute; return whether the nets are the same, too."""
    sides = structure_of(before, init=init), structure_of(after, init=init)
    colors = colors_of(*sides)
    found = same_structure(*sides, colors)
    if found is None:
        return match(old.layers, new.layers, Likeness(*sides, colors)), False
    by_vertex = {vertex: name for name, vertex in sides[1].layers.items()}
    layers = {layer.name: layer for layer in new.layers}
    counterparts = {by_vertex[found[vertex]]: name for name, vertex in sides[0].layers.items()}
    originals = {layer.name: layer for layer in old.layers}
    return [(originals[counterparts[name]], layer) for name, layer in layers.items()], True


def match(
    before: Sequence[LayerSummary],
    after: Sequence[LayerSummary],
    alike: Likeness | None = None,
) -> list[Pair]:
    """Pair the layers of two nets.

    Each layer occurs once: with its counterpart, or alone with None.

    The pairs are in the order of the nets.

    Args:
        before: the layers of the one net.
        after: those of the other.
        alike: how alike two layers are; by default their names count.
    """
    likeness = _likeness if alike is None else lambda a, b: alike(a.name, b.name)
    most = _EQUAL if alike is None else ALIKE
    least = min(len(before), len(after))
    start = 0
    while start < least and likeness(before[start], after[start]) == most:
        start += 1
    end = 0
    while end < least - start and likeness(before[-1 - end], after[-1 - end]) == most:
        end += 1
    a, b = before[start : len(before) - end], after[start : len(after) - end]
    middle: list[Pair] = [*((layer, None) for layer in a), *((None, layer) for layer in b)]
    if len(a) * len(b) <= MAX_PAIRS:
        middle = _aligned(a, b, likeness)
    joined = _joined_by_name(middle) if alike is None else _joined_by_likeness(middle, alike)
    return [
        *zip(before[:start], after[:start], strict=True),
        *joined,
        *zip(before[len(before) - end :], after[len(after) - end :], strict=True),
    ]


_EQUAL, _SAME_LABEL, _SAME_LAYER, _SAME_NUMBER, _SAME_CALL, _OTHER = 5, 4, 4, 2, 1, 0


def _likeness(a: LayerSummary, b: LayerSummary) -> int:
    """Return how alike two layers are, from `_OTHER` to `_EQUAL`.

    An equal label counts for more than an equal number: somebody chose the label, while the number
    in `conv3` only counts the layers before it.
    """
    if a.op != b.op:
        return _OTHER
    same_layer = a.call == b.call and a.shape == b.shape
    if a.name != b.name:
        return _SAME_LAYER if same_layer else _SAME_CALL if a.call == b.call else _OTHER
    if same_layer:
        return _EQUAL
    number = a.name.rpartition(".")[2].removeprefix(a.op)
    return _SAME_NUMBER if number.isdecimal() else _SAME_LABEL


def _aligned(
    before: Sequence[LayerSummary],
    after: Sequence[LayerSummary],
    likeness: Callable[[LayerSummary, LayerSummary], int],
) -> list[Pair]:
    """Return the alignment of two sequences with the greatest total likeness (a weighted longest
    common subsequence).
    """
    best = [[0] * (len(after) + 1) for _ in range(len(before) + 1)]
    for i in range(len(before) - 1, -1, -1):
        row, below, layer = best[i], best[i + 1], before[i]
        for j in range(len(after) - 1, -1, -1):
            together = likeness(layer, after[j])
            row[j] = max(together and together + below[j + 1], below[j], row[j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < len(before) and j < len(after):
        together = likeness(before[i], after[j])
        if together and best[i][j] == together + best[i + 1][j + 1]:
            pairs.append((before[i], after[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            pairs.append((before[i], None))
            i += 1
        else:
            pairs.append((None, after[j]))
            j += 1
    return [*pairs, *((a, None) for a in before[i:]), *((None, b) for b in after[j:])]


def _joined_by_name(pairs: list[Pair]) -> list[Pair]:
    """Join layers that are left over on both sides and have the same name and op: they only moved."""
    removed = {a.name: a for a, b in pairs if a is not None and b is None}
    moved = {
        b.name: removed[b.name]
        for a, b in pairs
        if a is None and b is not None and b.name in removed and removed[b.name].op == b.op
    }
    joined: list[Pair] = []
    for a, b in pairs:
        if a is None and b is not None:
            joined.append((moved.get(b.name), b))
        elif b is not None or (a is not None and a.name not in moved):
            joined.append((a, b))
    return joined


def _joined_by_likeness(pairs: list[Pair], alike: Likeness) -> list[Pair]:
    """Join layers that are left over on both sides and look alike below or above: another line of the
    file has them.
    """
    removed = {a.name: a for a, b in pairs if a is not None and b is None}
    moved: dict[str, LayerSummary] = {}
    looks: tuple[Callable[[Marks], tuple[Look, ...]], ...]
    looks = (lambda marks: marks.whole, lambda marks: marks.halves)
    for looks_of in looks:
        left = _LeftOver({name: looks_of(alike.before[name]) for name in removed})
        for a, b in pairs:
            if a is None and b is not None and b.name not in moved:
                name = left.take(looks_of(alike.after[b.name]))
                if name is not None:
                    moved[b.name] = removed.pop(name)
    joined = {layer.name for layer in moved.values()}
    return [
        (moved.get(b.name), b) if a is None and b is not None else (a, b)
        for a, b in pairs
        if b is not None or (a is not None and a.name not in joined)
    ]


class _LeftOver:
    """Layers in order, each of which is taken once, by one of its looks."""

    def __init__(self, looks: dict[str, tuple[Look, ...]]) -> None:
        self.order = {name: at for at, name in enumerate(looks)}
        self.by_look: dict[Look, list[str]] = {}
        for name in reversed(looks):
            for look in looks[name]:
                self.by_look.setdefault(look, []).append(name)

    def take(self, looks: Iterable[Look]) -> str | None:
        """Take the first layer that has one of these looks, if one is left."""
        firsts = []
        for look in looks:
            names = self.by_look.get(look, [])
            while names and names[-1] not in self.order:
                names.pop()
            firsts += names[-1:]
        name = min(firsts, key=self.order.__getitem__, default=None)
        if name is not None:
            del self.order[name]
        return name


# -------------------------------------------------------------------------------------- differences


@record(slots=True)
class _Layers:
    """Finds what changed in each layer, once the layers of both nets are paired."""

    held_before: HeldParameters
    held_after: HeldParameters
    names: Mapping[str, str]
    known: AbstractSet[str]  # the values of the net after the change that the other one has too
    before: Graph
    after: Graph
    ignored: AbstractSet[str]

    def same(self, pair: Pair) -> Change:
        """Return the row of a layer that both nets have."""
        layer = pair[1]
        assert layer is not None
        return Change("same", layer.name, layer.call, show_shape(layer.shape), (), *pair)

    def change(self, pair: Pair) -> Change:
        """Return how a pair of layers differs."""
        a, b = pair
        if a is None or b is None:
            layer = b if b is not None else a
            assert layer is not None
            kind = "added" if a is None else "removed"
            return Change(kind, layer.name, layer.call, show_shape(layer.shape), (), a, b)
        what, shape = _turned(a.call, b.call), _turned(show_shape(a.shape), show_shape(b.shape))
        details = tuple(self._details(a, b))
        if self._calls_differ(a, b) or a.shape != b.shape or details:
            kind = "changed"
        elif a.macs != b.macs:
            kind, details = "changed", (f"{_number(a.macs)} -> {_number(b.macs)} MACs",)
        else:
            renamed = a.name != b.name and self.held_after.are_saved(b.name)
            kind = "renamed" if renamed and "names" not in self.ignored else "same"
        if a.name != b.name:
            details = (f"was {a.name}", *details)
        return Change(kind, b.name, what, shape, details, a, b)

    def _calls_differ(self, a: LayerSummary, b: LayerSummary) -> bool:
        """Whether two layers are called differently, apart from ways to write the same."""
        if not a.attributes and not b.attributes and "names" not in self.ignored:
            return a.call != b.call
        one, other = self.before.by_name[a.name], self.after.by_name[b.name]
        return resolved_call(one, self.before) != resolved_call(other, self.after)

    def _details(self, a: LayerSummary, b: LayerSummary) -> Iterator[str]:
        one, other = self.before.by_name[a.name], self.after.by_name[b.name]
        yield from self._rewired(one, other)
        if self._calls_differ(a, b):
            yield from _to_defaults(a, b, one, other)
        steps = one.op.steps(), other.op.steps()
        init = "init" not in self.ignored
        if "names" in self.ignored and steps[0] is not None and steps[1] is not None:
            if not _same_steps(steps[0], steps[1], init=init):
                yield "other steps"
            return  # The parameters have names that the block gives them.
        if [body and body.text for body in steps[:1]] != [body and body.text for body in steps[1:]]:
            yield "other steps"
        held = self.held_before.by_layer[a.name], self.held_after.by_layer[b.name]
        yield from parameter_changes(*held, self.names, init=init)

    def _rewired(self, one: Node, other: Node) -> Iterator[str]:
        """Describe the new inputs of a layer, unless added or removed layers already explain them."""
        if other.op.reads_batch_alone:
            return
        reads = [self.names.get(value) for value in one.inputs]
        now = list(other.inputs)
        if other.op.is_commutative and sorted(map(str, reads)) == sorted(now):
            return
        if len(reads) != len(now) or any(
            old is not None and new in self.known and old != new
            for old, new in zip(reads, now, strict=True)
        ):
            yield f"reads {', '.join(now)} instead of {', '.join(one.inputs)}"


def _to_defaults(a: LayerSummary, b: LayerSummary, one: Node, other: Node) -> Iterator[str]:
    """Yield the numbers and words that become a default, which a call does not show."""
    if type(one.op) is not type(other.op):
        return
    for name in one.op.attributes():
        old, new = getattr(one.op, name), getattr(other.op, name)
        is_hidden = f"{name} = " in a.call and f"{name} = " not in b.call
        if is_hidden and old != new and not isinstance(new, bool):
            yield f"{name} {show(old)} -> {show(new)}"


def _same_steps(one: ScanBody, other: ScanBody, *, init: bool) -> bool:
    sides = body_structure(one, init=init), body_structure(other, init=init)
    return same_structure(*sides, colors_of(*sides)) is not None


_Names = Sequence[tuple[str | None, str | None]]


def _inputs(before: Summary, after: Summary, names: _Names) -> list[Change]:
    return [
        _named(_told(old, new), "input", before.show_input(old or ""), after.show_input(new or ""))
        for old, new in names
    ]


def _told(old: str | None, new: str | None) -> str:
    """The name of an input or an output: the new one, where there is one."""
    return new or old or ""


def _in_order(changes: list[Change], before: list[str], after: list[str]) -> list[Change]:
    """Mark inputs or outputs whose position changed: a call passes them in order, so that matters."""
    both = {*before} & {*after}
    places = [_places(name for name in side if name in both) for side in (before, after)]
    if places[0] == places[1]:
        return changes
    numbers = [_places(side) for side in (after, before)]
    return [
        change
        if change.name not in both or places[0][change.name] == places[1][change.name]
        else replace(
            change, kind="changed",
            details=("now number {}, was {}".format(*(side[change.name] + 1 for side in numbers)),),
        )
        for change in changes
    ]  # fmt: skip


def _outputs(
    before: Summary, after: Summary, outputs: _Names, names: Mapping[str, str]
) -> list[Change]:
    known = set(names.values())
    changes = []
    for a, b in outputs:
        old, new = before.outputs.get(a or ""), after.outputs.get(b or "")
        if old is not None and new is not None:
            # A layer that was added or removed is a row of its own: that it moves the output is no
            # news.
            told = old not in names or new not in known
            old = new if told or names[old] == new else old
        changes.append(_named(_told(a, b), "output", old, new))
    return changes


def _named(name: str, what: str, old: str | None, new: str | None) -> Change:
    if old is None or new is None:
        return Change("added" if old is None else "removed", name, what, new or old or "")
    return Change("same" if old == new else "changed", name, what, _turned(old, new))


def _places(names: Iterable[str]) -> dict[str, int]:
    """Return where each name first stands."""
    places: dict[str, int] = {}
    for at, name in enumerate(names):
        places.setdefault(name, at)
    return places


def _turned(old: str, new: str) -> str:
    return old if old == new else f"{old} -> {new}"


# ------------------------------------------------------------------------------------------- output


def as_text(comparison: GraphDiff, before: str, after: str) -> str:
    """Return the comparison as text: changes marked `-`, `+` and `~` as in a unified diff, then the
    totals.

    The titles name the two nets.
    """
    lines = [f"--- {before}", f"+++ {after}", "", *_list(comparison.changes), ""]
    if comparison.ignored:
        lines += [f"not compared: {', '.join(sorted(comparison.ignored))}", ""]
    if not comparison.equal and all(change.kind == "same" for change in comparison.changes):
        lines += ["The layers are alike, and are put together in another way.", ""]
    return "\n".join(line.rstrip() for line in [*lines, *_totals(comparison)])


def _list(given: Sequence[Change]) -> list[str]:
    """Return the lines for the changes, each with up to `CONTEXT` unchanged layers around it.

    A change inside a block is told at its first call, a call that one net has alone in one line.
    """
    changes = _calls_as_one(given)
    kinds = {change.kind for change in changes}
    told = ("added", "removed", "changed") if kinds - {"same", "renamed"} else ("renamed",)
    again = alike(changes)
    near = {
        j
        for i, change in enumerate(changes)
        if change.kind in told and again[i] is None
        for j in range(i - CONTEXT, i + CONTEXT + 1)
    }
    near |= {i for i in range(len(changes)) if {i - 1, i + 1} <= near}
    # What is told elsewhere is no context.
    near -= {i for i, change in enumerate(changes) if again[i] is not None and change.kind in told}
    rows = [(c.name, c.what, c.shape) for i, c in enumerate(changes) if i in near]
    # One long row must not widen the columns of all the others.
    widths = [max((len(cell) for cell in column if len(cell) <= 48), default=0)
              for column in zip(*rows, strict=True)]  # fmt: skip
    further: dict[int, list[int]] = {}
    for i, first in enumerate(again):
        if first is not None:
            further.setdefault(first, []).append(i)
    lines: list[str] = []
    left_out: list[Change] = []
    for i, change in enumerate([*changes, None]):
        if change is not None and i not in near:
            left_out.append(change)
            continue
        if left_out:
            lines.append(_left_out(left_out, told))
            left_out = []
        if change is not None:
            cells = zip((change.name, change.what, change.shape), widths, strict=True)
            text = "  ".join(cell.ljust(width) for cell, width in cells)
            calls = [_inner_call(changes[j]) for j in further.get(i, ())]
            more = [*change.details, *([_in_calls(calls)] if calls and change.kind in told else [])]
            details = f"  ({'; '.join(more)})" if more else ""
            lines.append(f"{_SIGNS[change.kind]} {text}{details}")
    return lines


def _left_out(changes: Sequence[Change], told: Sequence[str]) -> str:
    """The line for a stretch of layers that are not shown."""
    alike = sum(change.kind in told for change in changes)
    renamed = sum(c.kind == "renamed" for c in changes) if "renamed" not in told else 0
    parts = [f"{len(changes) - alike} the same"] if alike < len(changes) else []
    parts += [f"{renamed} of them under another name"] if renamed else []
    parts += [f"{alike} changed like those above"] if alike else []
    return f"  ... {', '.join(parts)}"


def _inner_call(change: Change) -> BlockCall:
    layer = change.after or change.before
    assert layer is not None
    return layer.calls[-1]


def _in_calls(calls: Sequence[BlockCall]) -> str:
    """In which other calls of a block a change is the same."""
    count = len(calls)
    named = [call.path for call in calls[:_NAMED]]
    more = [f"{count - _NAMED} more"] if count > _NAMED else []
    listed = " and ".join([", ".join(named), *more])
    return f"alike in {count} more call{'s' * (count > 1)} of {calls[0].block}: {listed}"


def _calls_as_one(changes: Sequence[Change]) -> list[Change]:
    """The changes; the layers of a call of a block that only one net has are one."""
    alone: dict[str, set[str]] = {}
    for change in changes:
        layer = change.after or change.before
        if layer is not None and layer.calls:
            alone.setdefault(layer.calls[0].path, set()).add(change.kind)
    found: list[Change] = []
    counts: dict[str, int] = {}
    for change in changes:
        layer = change.after or change.before
        call = layer.calls[0] if layer is not None and layer.calls else None
        if call is None or alone[call.path] not in ({"added"}, {"removed"}):
            found.append(change)
            continue
        count = counts[call.path] = counts.get(call.path, 0) + 1
        details = (f"{count} layer{'s' * (count > 1)}",)
        whole = Change(change.kind, call.path, call.call, change.shape, details)
        if count > 1:
            found[_place(found, call.path)] = whole
        else:
            found.append(whole)
    return found


def _place(changes: Sequence[Change], path: str) -> int:
    return next(i for i in reversed(range(len(changes))) if changes[i].name == path)


def _totals(comparison: GraphDiff) -> list[str]:
    a, b = comparison.before, comparison.after
    counts = [("layers", len(a.layers), len(b.layers)), ("parameters", a.parameters, b.parameters)]
    if a.buffers or b.buffers:
        counts.append(("buffers", a.buffers, b.buffers))
    counts.append(("MACs", a.macs, b.macs))
    rows = [("", "before", "after", "difference", "")]
    rows += [(name, f"{old:,}", f"{new:,}", *_difference(old, new)) for name, old, new in counts]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]


def _number(count: Any) -> str:
    """Format a count with thousands separators, or the formula of an open size."""
    return f"{count:,}"


def _difference(old: Any, new: Any) -> tuple[str, str]:
    """Return a difference and its percentage; a formula alone where a size is left open."""
    if old == new:
        return "", ""
    if not isinstance(old, int) or not isinstance(new, int):
        return f"{new - old}", ""
    percent = f"{100 * (new - old) / old:+,.1f} %" if old else ""
    return f"{new - old:+,}", percent


def as_dict(comparison: GraphDiff, before: str, after: str) -> dict[str, Any]:
    """Return all changes and the totals as raw numbers. An open size stays a symbolic size."""
    sides = ((before, comparison.before), (after, comparison.after))
    return {
        "equal": comparison.equal,
        "ignored": sorted(comparison.ignored),
        **{
            key: {"title": title, "net": side.net, "layers": len(side.layers)}
            | {name: getattr(side, name) for name in _TOTALS}
            for key, (title, side) in zip(("before", "after"), sides, strict=True)
        },
        "changes": [_as_data(change) for change in comparison.changes if change.kind != "same"],
    }


def _as_data(change: Change) -> dict[str, Any]:
    """Return a row as plain data; what a scan block does in a step is told by `summarize`."""
    found = asdict(change)
    for layer in (found["before"], found["after"]):
        if layer is not None:
            del layer["body"]
    return found


def as_json(comparison: GraphDiff, before: str, after: str) -> str:
    """Return `as_dict` as JSON, with open sizes as their formulas."""
    import json

    return json.dumps(as_dict(comparison, before, after), indent=2, default=str)


FORMATS = {"text": as_text, "json": as_json}
