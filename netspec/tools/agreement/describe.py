"""Describes where evaluators diverge as a diagnostic: the line of the file, the layer, the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node
from netspec.diagnostics import Diagnostic, Label, Span, plural
from netspec.tools.agreement.compare import ComparedItem, Parting, Side
from netspec.tools.agreement.quantities import Item, holders

_LONG = {
    "reference": "the reference",
    "NumPy": "the NumPy program",
    "fused": "the fused NumPy program",
    "as run": "the NumPy program as it runs",
    "PyTorch": "the PyTorch module",
    "C": "the C file",
    "as run in C": "the program as machine code",
    "ONNX": "the ONNX model",
    "given": "the given ONNX file",
}


def describe_parting(
    graph: Graph, parting: Parting, where: str, sides: Sequence[Side]
) -> Diagnostic:
    """Return the diagnostic of a divergence.

    Args:
        graph: the net.
        parting: where two of the sides diverge.
        where: the precision and mode, such as `float64, training`.
        sides: all sides of the run; the numbers of the other sides tell which of the two is wrong.
    """
    checkpoint, item = parting.checkpoint, parting.checkpoint.item
    nodes = _nearest_first(checkpoint)
    numbers = _numbers(parting.values)
    index = parting.distance.index
    place = f", at {list(index)}" if index else ""
    of = "the largest there" if parting.is_within else "max(1, the largest)"
    left, right = _LONG[parting.left], _LONG[parting.right]
    label = f"{numbers[0]} in {left}, {numbers[1]} in {right}"
    notes = [f"{where}{place}; off by {parting.size:.1e} of {of}"]
    if any(side.name == parting.right and item.name in side.softmax for side in sides):
        notes.append(
            "the file ends in a softmax: compared are the probabilities of the net's scores"
        )
        sides = [side for side in sides if side.name in (parting.left, parting.right)]
    for side in sides:
        if side.name not in (parting.left, parting.right) and item in side.trace:
            array = np.asarray(side.trace[item])
            if array.ndim == len(index):
                notes.append(f"{_LONG[side.name]} has {_numbers((float(array[index]),))[0]} there")
    if all(map(shows_values, (s for s in sides if s.name in (parting.left, parting.right)))):
        before = "every gradient nearer the loss" if item.is_backward else "everything before it"
        notes.append(f"{before} agrees, or differs only by rounding")
    else:
        notes.append("the values before it are not seen")
    together = "computed by the same fused step"
    return Diagnostic(
        codes.VERIFY_GRADIENT if item.is_backward else codes.VERIFY_VALUE,
        f"{left} and {right} differ at {_named(graph, item)}",
        span=nodes[0].origin.span if nodes else graph.span,
        label=label,
        secondary=tuple(
            Label(span, together) for span in _others([node.origin.span for node in nodes])
        ),
        notes=tuple(notes),
        trace=nodes[0].origin.trace if nodes else (),
    )


def describe_step(
    graph: Graph, optimizer: str, count: int, parameter: str, index: tuple[int, ...],
    values: tuple[float, float],
) -> Diagnostic:  # fmt: skip
    """Return the diagnostic of parameters that differ after optimizer steps although gradients agree."""
    (node, *_) = holders(graph, parameter)
    numbers = _numbers(values)
    return Diagnostic(
        codes.VERIFY_VALUE,
        f"NumPy and PyTorch differ at `{parameter}` after {plural(count, 'step')} of {optimizer}",
        span=node.origin.span,
        label=f"{numbers[0]} in NumPy, {numbers[1]} in PyTorch",
        notes=(f"float64, at {list(index)}", "outputs and gradients agree before the first step"),
        trace=node.origin.trace,
    )


def shows_values(side: Side) -> bool:
    """Whether a side has values of layers, and not only what comes out at the end."""
    return any(item.kind == "value" for item in side.trace)


def _named(graph: Graph, item: Item) -> str:
    if item.kind == "contribution":
        node = graph.by_name[item.name]
        return f"the gradient that `{node.name}` gives to `{node.inputs[item.index]}`"
    return {
        "value": f"`{item.name}`",
        "buffer": f"`{item.name}`",
        "output": f"the output `{item.name}`",
        "loss": "the loss",
        "loss gradient": f"the loss's gradient for the output `{item.name}`",
        "gradient": f"the gradient of `{item.name}`",
        "parameter": f"the gradient of `{item.name}`",
    }[item.kind]


def _nearest_first(checkpoint: ComparedItem) -> list[Node]:
    """Return the nodes of a step, beginning with the one that the item is named after."""
    name = checkpoint.item.name
    return sorted(checkpoint.nodes, key=lambda node: node.name != name)


def _others(spans: list[Span]) -> list[Span]:
    """Return the spans other than the first, without duplicates."""
    known = {(id(spans[0].source), spans[0].start)} if spans else set()
    others = []
    for span in spans[1:]:
        key = (id(span.source), span.start)
        if key not in known:
            known.add(key)
            others.append(span)
    return others


def _numbers(values: tuple[float, ...]) -> list[str]:
    """Format numbers with enough digits to tell them apart."""
    for digits in (6, 9, 12):
        shown = [f"{value:.{digits}g}" for value in values]
        if len(set(shown)) == len(values):
            return shown
    return [f"{value:.17g}" for value in values]
