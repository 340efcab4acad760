"""Finds input shapes that are probably wrong, and the edits that would correct them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec import codes
from netspec.compiler.elaborate.fix_its import apply_edits
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.reporter import Reporter
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.layout import Storage
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Code, Edit, Hint, Span, quoted

# The numbers of channels that stored pictures have, and the least height and width that make
# channels likely. Otherwise the last size may well be a width.
_LEAST_SIDES = {1: 8, 3: 8, 4: 16}
# What batches are called.
_BATCHES = ("B", "BATCH", "BATCH_SIZE", "BS", "N")
# The least height and width of what is probably a picture.
_LEAST_SIDE = 8


def input_hints(assembly: Assembly, code: Code) -> Iterator[Hint]:
    """Yield hints on shapes of inputs that may have been meant: without the batch, with a channel
    axis, or with the channels first. The code is that of an error of a layer.
    """
    for expr, shape in assembly.input_shapes.values():
        wrong_rank = code is codes.SHAPE_RANK
        if looks_batched(shape) or (wrong_rank and len(shape) == 4):
            yield without_batch(expr)
        elif looks_without_channels(shape) or (wrong_rank and len(shape) == 2):
            yield with_channels(expr)
        elif looks_channels_last(shape):
            yield channels_first(expr)


def batch_hints(assembly: Assembly, sizes: Sequence[str]) -> Iterator[Hint]:
    """Yield hints on inputs whose first size is open and most likely the batch, by what follows it or
    by its name. The sizes are those on which a parameter would depend, which a batch never is.
    """
    for expr, shape in assembly.input_shapes.values():
        first = expr.items[0] if expr.items else None
        if not isinstance(first, syntax.Name) or first.id not in sizes:
            continue
        if looks_batched(shape) or (len(shape) > 1 and first.id in _BATCHES):
            yield without_batch(expr)


def is_doubtful(shape: Shape) -> bool:
    """Whether the shape of an input is probably wrong."""
    return looks_batched(shape) or looks_without_channels(shape) or looks_channels_last(shape)


def looks_batched(shape: Shape) -> bool:
    """Whether a shape is most likely batch, channels, height, width, and not that of a volume."""
    if len(shape) != 4 or shape[1] not in (1, 3):
        return False
    return all(not isinstance(side, int) or side >= _LEAST_SIDE for side in shape[2:])


def looks_without_channels(shape: Shape) -> bool:
    """Whether a shape is most likely height and width: those of a square."""
    return len(shape) == 2 and shape[0] == shape[1] and shape[0] >= _LEAST_SIDE


def looks_channels_last(shape: Shape) -> bool:
    """Whether a shape is most likely in the order height, width, channels."""
    if len(shape) != 3 or shape[2] not in _LEAST_SIDES:
        return False
    sides = [size for size in shape[:2] if isinstance(size, int)]
    # Sound is often stored as a long picture of width 1 with many channels.
    is_square = shape[2] == 3 or shape[0] == shape[1]
    return is_square and all(side >= _LEAST_SIDES[shape[2]] for side in sides)


def without_batch(expr: syntax.ListExpr) -> Hint:
    """Return a hint with the first size of the shape left out."""
    return _hint("the batch is not part of a shape", expr, expr.items[1:])


def with_channels(expr: syntax.ListExpr) -> Hint:
    """Return a hint with one channel in front of the shape."""
    return _hint("a picture has channels in front", expr, expr.items, "1, ")


def channels_first(expr: syntax.ListExpr) -> Hint:
    """Return a hint with the last size of the shape in front."""
    return _hint("a shape has the channels in front", expr, (expr.items[2], *expr.items[:2]))


def doubt_inputs(assembly: Assembly, reporter: Reporter) -> None:
    """Warn of inputs that look like height, width, channels, but are used as pictures (channels
    first), and of those that look like pictures, but are used as volumes or signals.
    """
    for name, (expr, shape) in assembly.input_shapes.items():
        text = quoted(expr.span.text)
        if looks_batched(shape) and _has_channels_first(assembly, name):
            message = f"{text} looks like batch, channels, height, width, but is taken as a volume"
            reporter.report(codes.INPUT_BATCH, message, expr.span, hints=(without_batch(expr),))
        if looks_without_channels(shape) and _has_channels_first(assembly, name):
            message = f"{text} looks like a picture's height and width, but is taken as a signal"
            hints = (with_channels(expr),)
            reporter.report(codes.INPUT_NO_CHANNELS, message, expr.span, hints=hints)
        if looks_channels_last(shape) and _taken_as_picture(assembly, name):
            message = f"{text} looks like height, width, channels"
            hints = (channels_first(expr),)
            reporter.report(codes.INPUT_CHANNELS_LAST, message, expr.span, hints=hints)


def _has_channels_first(assembly: Assembly, name: str) -> bool:
    """Whether a layer takes an input as channels with an axis or more behind them."""
    readers = (node for node in assembly.nodes if name in node.inputs)
    return any(node.op.storage is Storage.CHANNELS_LAST for node in readers)


def _taken_as_picture(assembly: Assembly, name: str) -> bool:
    """Whether a layer uses an input as channels, height and width.

    A layer that permutes its axes, or turns it into a value of another rank, does that on purpose.
    An input that no layer reads counts as a picture, because the call that reads it may have
    failed.
    """
    shape = assembly.inputs[name]
    readers = [node for node in assembly.nodes if name in node.inputs]
    return not readers or any(_keeps_axes(node, shape) for node in readers)


def _keeps_axes(node: Node, shape: Shape) -> bool:
    turned = sorted(map(str, node.shape)) == sorted(map(str, shape)) and node.shape != shape
    return len(node.shape) == 3 and not turned


def _hint(why: str, expr: syntax.ListExpr, items: Sequence[syntax.Expr], before: str = "") -> Hint:
    better = f"[{before}{', '.join(item.span.text for item in items)}]"
    edits = (Edit(Span(expr.span.source, expr.span.start, expr.span.end), better),)
    return Hint(f"{why}: {quoted(apply_edits(expr.span, edits))}", edits)
