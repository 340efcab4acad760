"""Edits that may fix an error. The compiler tries them before it shows them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.ir.attributes import WrongValueError
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import Fix, Op, ShapeError
from netspec.compiler.ir.sizes import Dim
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, Span, quoted

_MAX_BRANCH = 12
# The attributes that determine a shape. Where two branches have different shapes, one of these
# usually differs.
_SHAPING = ("stride", "channels", "pad", "features", "kernel", "dilation")


def fix_edits(
    fix: Fix, spans: Mapping[str, Span], call: syntax.Call, span: Span
) -> tuple[Edit, ...]:
    """Return the edits of the file for a fix."""
    if fix.attribute == "->":
        start = Span(span.source, span.start, span.start)
        return (Edit(start, f"{fix.value} -> "),)
    if fix.attribute in spans:
        return (Edit(spans[fix.attribute], fix.value),)
    end = Span(call.span.source, call.span.end, call.span.end)
    if not call.span.text.endswith(")"):
        return (Edit(end, f"({fix.attribute} = {fix.value})"),)
    inside = Span(end.source, end.start - 1, end.start - 1)
    comma = ", " if call.arguments else ""
    return (Edit(inside, f"{comma}{fix.attribute} = {fix.value}"),)


def fix_hints(fix: Fix, spans: Mapping[str, Span], call: syntax.Call, span: Span) -> Iterator[Hint]:
    """Yield the hints for a fix.

    If there are several with different edits, at most one of them compiles.
    """
    yield Hint(fix.why, fix_edits(fix, spans, call, span))
    first = next((argument.span for argument in call.arguments if argument.name is None), None)
    if fix.attribute == "->" and first is not None:  # `linear(x, 10)`
        end = Span(first.source, first.end, first.end)
        yield Hint(fix.why, (Edit(end, f" -> {fix.value}"),))


def square_brackets(span: Span) -> Hint:
    """Return a hint that replaces round brackets by square ones."""
    places = ((span.start, "["), (span.end - 1, "]"))
    edits = tuple(Edit(Span(span.source, at, at + 1), bracket) for at, bracket in places)
    return Hint(f"write {quoted(apply_edits(span, edits))}", edits)


def removal(call: syntax.Call, argument: syntax.Argument) -> Edit:
    """Return the edit that removes an argument and its comma from a call."""
    where = call.arguments.index(argument)
    span = argument.span
    if where + 1 < len(call.arguments):
        return Edit(Span(span.source, span.start, call.arguments[where + 1].span.start), "")
    if where > 0:
        return Edit(Span(span.source, call.arguments[where - 1].span.end, span.end), "")
    return Edit(span, "")


def branch_hints(assembly: Assembly, values: Sequence[str]) -> Iterator[Hint]:
    """Yield hints for values whose shapes should be equal: a layer of one branch gets an attribute
    from the other branch.

    A branch consists of the layers on which only one of the values depends.
    """
    by_name = {node.name: node for node in assembly.nodes}
    above = [_ancestors(by_name, value) for value in values]
    # Padding comes before all else: it changes what no other branch says.
    for i, own in enumerate(above):
        others_of = {name for j, names in enumerate(above) if j != i for name in names}
        yield from _padded(
            [node for name, node in own.items() if name not in others_of][:_MAX_BRANCH]
        )
    for i, own in enumerate(above):
        others = {
            name: node for j, names in enumerate(above) if j != i for name, node in names.items()
        }
        mine = [node for name, node in own.items() if name not in others][:_MAX_BRANCH]
        shapes = [assembly.shapes[value] for value in values]
        yield from _with_channels(mine, shapes[i], [*shapes[:i], *shapes[i + 1 :]])
        theirs = [node for name, node in others.items() if name not in own][:_MAX_BRANCH]
        said: list[Hint] = []
        for node in mine:
            for model in theirs:
                if type(node.op) is type(model.op):
                    for hint in _copied_attributes(node, model):
                        if hint not in said:
                            said.append(hint)
                            yield hint


def _padded(branch: Sequence[Node]) -> Iterator[Hint]:
    """Yield the hint that the layers of a branch keep the size of the picture: `pad = same`."""
    edits: dict[Span, Edit] = {}
    calls: dict[Span, Node] = {}
    words: dict[str, None] = {}
    for node in branch:
        op: Any = node.op
        if getattr(op, "pad", None) != 0 or "kernel" not in op.attributes() or op.kernel == 1:
            continue
        if _with_attribute(node, "pad", "same") is None:  # a pool has no `same`
            continue
        origin = node.origin
        # A step that is an argument may not be 1 in another call, where there is no `same`.
        is_odd = isinstance(op.kernel, int) and op.kernel % 2 == 1
        word = str(op.kernel // 2) if is_odd and "stride" in origin.attributes else "same"
        words[word] = None
        fix = Fix("pad", word, "")
        for edit in fix_edits(fix, origin.attributes, origin.call, origin.span):
            edits[edit.span] = edit
        calls[origin.call.span] = node
    if not calls:
        return
    (first, node), *more = calls.items()
    place = f"this `{node.op.name}`" if not more else f"the {len(calls)} layers with a kernel"
    shown = " and ".join(f"`pad = {word}`" for word in words)
    text = f"{shown} in {place} of the branch keeps the size of the picture"
    if not more:
        text += f": `{apply_edits(first, [*edits.values()])}`"
    yield Hint(text, tuple(edits.values()))


def _with_channels(branch: Sequence[Node], own: Shape, others: Sequence[Shape]) -> Iterator[Hint]:
    """Yield the hint that the last layer of a branch that chooses channels has those of the other one.

    Where they are written as a name, such as a block's argument, nothing is edited: a `conv` of size 1
    in the other branch may be what is meant.
    """
    for node in branch:
        channels = getattr(node.op, "channels", None)
        if channels is None:
            continue
        for shape in others:
            wanted = shape[0] if shape else None
            if not isinstance(wanted, int) or wanted in (channels, own[0]):
                continue
            written = node.origin.attributes.get("channels")
            if written is None:
                return
            if not written.text.isdigit():
                if shape[1:] != own[1:]:  # the channels alone would not do
                    return
                yield Hint(
                    f"{quoted(written.text)} is {channels} here, and the other branch has {wanted}"
                    f" channels: make it {wanted}, or bring the other branch to it with"
                    f" `-> conv({written.text}, 1)`"
                )
                return
            edits = (Edit(written, str(wanted)),)
            changed = apply_edits(node.origin.call.span, edits)
            if written.source is node.origin.call.span.source:
                yield Hint(f"give the branch the channels of the other one: `{changed}`", edits)
        return


def _copied_attributes(node: Node, model: Node) -> Iterator[Hint]:
    for attribute in _SHAPING:
        given = model.origin.attributes.get(attribute)
        if given is None or getattr(node.op, attribute, None) == getattr(model.op, attribute, None):
            continue
        fix = Fix(attribute, given.text, "")
        edits = fix_edits(fix, node.origin.attributes, node.origin.call, node.origin.span)
        call = node.origin.call.span
        if "\n" in call.text or call.source is not given.source:
            continue
        changed = apply_edits(call, edits)
        place = f"the `{node.op.name}` in line {call.line}"
        yield Hint(f"give {place} the {attribute} of the other branch: `{changed}`", edits)


def shape_hints(
    assembly: Assembly, value: str, where: Span, wanted: Sequence[Dim | None]
) -> Iterator[Hint]:
    """Yield a hint that changes one attribute of one layer in `where`, so that `value` gets a
    wanted shape.

    A wanted size of None allows any size.
    """
    # These nodes were added last.
    here = itertools.takewhile(
        lambda node: is_inside(node.origin.span, where), reversed(assembly.nodes)
    )
    by_name = {node.name: node for node in here}
    after: list[Node] = []
    node = by_name.get(value)
    while node is not None and len(node.inputs) == 1:
        for attribute, new in _candidates(wanted):
            fixed = _with_attribute(node, attribute, new)
            if (
                fixed is None
                or _does_nothing(fixed)
                or not _gives(fixed, assembly.shapes[node.inputs[0]], after, wanted)
            ):
                continue
            edits = fix_edits(
                Fix(attribute, str(new), ""),
                node.origin.attributes, node.origin.call, node.origin.span,
            )  # fmt: skip
            yield Hint(f"`{attribute} = {new}` in this `{node.op.name}` would give it", edits)
            return
        after.insert(0, node)
        node = by_name.get(node.inputs[0])


def _candidates(wanted: Sequence[Dim | None]) -> Iterator[tuple[str, int]]:
    if wanted and isinstance(wanted[0], int):
        yield from (("channels", wanted[0]), ("features", wanted[0]))
    yield from (("stride", size) for size in range(1, 9))
    yield from (("pad", size) for size in range(8))
    yield from (("kernel", size) for size in range(1, 12))


def _with_attribute(node: Node, attribute: str, value: int | str) -> Op | None:
    op: Any = node.op  # a dataclass, like every op
    if attribute not in op.attributes():
        return None
    try:
        changed: Op = replace(op, **{attribute: op.kind(attribute).convert(value)})
        return changed
    except WrongValueError:
        return None


def _does_nothing(op: Any) -> bool:
    """Whether a layer is a pool of windows of 1, which nobody means."""
    return "channels" not in op.attributes() and getattr(op, "kernel", None) == 1


def _gives(op: Op, shape: Shape, after: Sequence[Node], wanted: Sequence[Dim | None]) -> bool:
    """Whether a layer and those after it produce a wanted shape."""
    try:
        for each in (op, *(node.op for node in after)):
            shape = each.shape(shape)
    except ShapeError:
        return False
    return len(shape) == len(wanted) and all(
        want is None or want == size for want, size in zip(wanted, shape, strict=True)
    )


def is_inside(span: Span, where: Span) -> bool:
    """Whether one span is inside another."""
    return span.source is where.source and where.start <= span.start and span.end <= where.end


def _ancestors(by_name: Mapping[str, Node], value: str) -> dict[str, Node]:
    """Return the nodes that a value depends on, nearest first."""
    found: dict[str, Node] = {}
    queue = [value]
    for name in queue:
        if name in by_name and name not in found:
            found[name] = by_name[name]
            queue.extend(by_name[name].inputs)
    return found


def apply_edits(span: Span, edits: Sequence[Edit]) -> str:
    """Return the text of a span after applying edits inside it."""
    text = span.text
    for edit in sorted(edits, key=lambda e: e.span.start, reverse=True):
        start, end = edit.span.start - span.start, edit.span.end - span.start
        text = text[:start] + edit.replacement + text[end:]
    return text
