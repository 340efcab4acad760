"""Changes of the file that may mend an error, as edits. The compiler tries them before it shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from netspec.compiler import syntax
from netspec.compiler.assembly import Assembly
from netspec.compiler.graph import Node
from netspec.compiler.op import Fix
from netspec.diagnostics import Edit, Hint, Span

_MAX_BRANCH = 12
# The attributes that decide a shape: where two branches part, one of them usually differs.
_SHAPING = ("stride", "channels", "pad", "features", "kernel", "dilation")


def fix_edits(
    fix: Fix, spans: Mapping[str, Span], call: syntax.Call, span: Span
) -> tuple[Edit, ...]:
    """The edit of the file that a fix stands for."""
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


def removal(call: syntax.Call, argument: syntax.Argument) -> Edit:
    """The edit that takes an argument out of a call, with its comma."""
    where = call.arguments.index(argument)
    span = argument.span
    if where + 1 < len(call.arguments):
        return Edit(Span(span.source, span.start, call.arguments[where + 1].span.start), "")
    if where > 0:
        return Edit(Span(span.source, call.arguments[where - 1].span.end, span.end), "")
    return Edit(span, "")


def branch_hints(assembly: Assembly, values: Sequence[str]) -> Iterator[Hint]:
    """For values whose shapes should be equal: give a layer of one branch an attribute of the other's.

    A branch is what leads to one value and not to the others.
    """
    by_name = {node.name: node for node in assembly.nodes}
    above = [_ancestors(by_name, value) for value in values]
    for i, own in enumerate(above):
        others = {
            name: node for j, names in enumerate(above) if j != i for name, node in names.items()
        }
        mine = [node for name, node in own.items() if name not in others][:_MAX_BRANCH]
        theirs = [node for name, node in others.items() if name not in own][:_MAX_BRANCH]
        for node in mine:
            for model in theirs:
                if type(node.op) is type(model.op):
                    yield from _copied_attributes(node, model)


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
        yield Hint(f"give it the {attribute} of the other branch: `{changed}`", edits)


def _ancestors(by_name: Mapping[str, Node], value: str) -> dict[str, Node]:
    """The nodes that a value depends on, nearest first."""
    found: dict[str, Node] = {}
    queue = [value]
    for name in queue:
        if name in by_name and name not in found:
            found[name] = by_name[name]
            queue.extend(by_name[name].inputs)
    return found


def apply_edits(span: Span, edits: Sequence[Edit]) -> str:
    """The text of a span with edits inside it applied."""
    text = span.text
    for edit in sorted(edits, key=lambda e: e.span.start, reverse=True):
        start, end = edit.span.start - span.start, edit.span.end - span.start
        text = text[:start] + edit.replacement + text[end:]
    return text
