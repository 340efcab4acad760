"""A shortcut that has not the shape of the layers around which it leads, as in `relu(out + x)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import Op, ShapeError
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Frame, Hint, Span, quoted

_MAX_BRANCH = 100
_MAX_STRIDE = 8
_TWO_NAMES = re.compile(r"(\w+)\s*[-+*/]\s*(\w+)")


def shortcut_hint(
    assembly: Assembly,
    op: Op,
    values: Sequence[str],
    call: syntax.Call,
    trace: tuple[Frame, ...],
) -> Hint | None:
    """Return the hint to bring a shortcut to the shape of the other branch by one layer; None if
    there is no shortcut, or no such layer.

    It is the projection of He et al. 2016 (option B). `trace` is where the call was met: names that
    are written elsewhere may mean something else here.
    """
    if len(values) != 2:
        return None
    by_name = {node.name: node for node in assembly.nodes}
    for at, (own, other) in enumerate((tuple(values), tuple(reversed(values)))):
        branch = _between(by_name, other, own)
        shape, wanted = assembly.shapes[own], assembly.shapes[other]
        if not branch or not _wants_equal(op, wanted):
            continue
        layer = _projection(branch, shape, wanted, call.span, trace)
        if layer is not None:
            return _hint(layer, call, _operand(call, at))
    return None


def _between(by_name: Mapping[str, Node], last: str, first: str) -> list[Node]:
    """Return the layers by which one value is computed from another, the last one first; none if it
    is not.
    """
    found: dict[str, Node] = {}
    queue, is_met = [last], False
    for name in queue:
        is_met |= name == first
        if name in by_name and name not in found and name != first and len(found) < _MAX_BRANCH:
            found[name] = by_name[name]
            queue.extend(by_name[name].inputs)
    return list(found.values()) if is_met else []


def _wants_equal(op: Op, shape: Shape) -> bool:
    """Whether an op gives the shape of its two inputs, so that these have to be equal."""
    try:
        return op.shape(shape, shape) == shape
    except ShapeError:
        return False


def _projection(
    branch: Sequence[Node], shape: Shape, wanted: Shape, here: Span, trace: tuple[Frame, ...]
) -> str | None:
    """Return the layer that brings one shape to another, as it is written; None if none does."""
    if len(shape) != len(wanted) or not all(isinstance(size, int) for size in (*shape, *wanted)):
        return None
    if len(shape) == 1:
        return f"linear({_written(branch, 'features', wanted[0], here, trace) or wanted[0]})"
    steps = range(1, _MAX_STRIDE + 1)
    stride = next((s for s in steps if _strided(shape, s) == wanted[1:]), None)
    if stride is None:
        return None
    channels = _written(branch, "channels", wanted[0], here, trace) or wanted[0]
    said = _written(branch, "stride", stride, here, trace)
    if stride == 1 and (said is None or said.isdigit()):
        return f"conv({channels}, 1)"
    return f"conv({channels}, 1, stride = {said or stride})"


def _strided(shape: Shape, stride: int) -> tuple[Any, ...]:
    """Return the extents behind a convolution of size 1 with a stride."""
    return tuple((size - 1) // stride + 1 for size in shape[1:])


def _written(
    branch: Sequence[Node], attribute: str, value: object, here: Span, trace: tuple[Frame, ...]
) -> str | None:
    """Return how the last layer that has a value for an attribute writes it, if that means the same
    here.
    """
    for node in branch:
        span = node.origin.attributes.get(attribute)
        if span is None or getattr(node.op, attribute) != value:
            continue
        if node.origin.trace == trace and span.source is here.source:
            return span.text
    return None


def _operand(call: syntax.Call, at: int) -> Span | None:
    """Return where a sum of two names, or a call with two arguments, has one of them."""
    if len(call.arguments) == 2:
        return call.arguments[at].value.span
    found = _TWO_NAMES.fullmatch(call.span.text)
    if found is None:
        return None
    start, end = found.span(at + 1)
    return Span(call.span.source, call.span.start + start, call.span.start + end)


def _hint(layer: str, call: syntax.Call, operand: Span | None) -> Hint:
    text = "bring the shortcut to the shape of the other branch"
    if operand is None:
        return Hint(f"{text} with `-> {layer}`")
    edit = Edit(operand, f"({operand.text} -> {layer})")
    return Hint(f"{text}: {quoted(apply_edits(call.span, (edit,)))}", (edit,))
