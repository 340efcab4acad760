"""Refuses numeric work that cannot fit into this machine's memory, before it is begun."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from netspec import codes
from netspec.compiler.ir.graph import Graph, Node
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.runtime.weights.host import MEMORY_VARIABLE, machine_memory, show_bytes


def require_room(graph: Graph, needed: Callable[[int], int], batch: int, doing: str) -> None:
    """Refuse work on batches that needs more memory than the machine, or its container, has.

    Args:
        graph: a net without open sizes.
        needed: the bytes that the work holds at once for a batch. It is rather too low than too
            high, so that no work is refused that fits.
        batch: the number of images.
        doing: what is done, such as `verifying`.

    Raises:
        NetspecError: `limit/memory`, at the layer that takes most, with a batch that would fit if
            there is one.
    """
    wanted, there = needed(batch), machine_memory()
    if wanted <= there:
        return
    fits = largest_batch(needed, batch, there)
    most = max(graph.nodes, key=lambda n: _own(graph, n) + batch * math.prod(n.shape), default=None)
    macs = sum(node.op.macs(*graph.shapes_into(node)) for node in graph.nodes)
    raise _too_large(
        graph,
        f"{doing} {graph.name} with a batch of {batch:,}",
        (wanted, there),
        most,
        label=f", {math.prod(most.shape):,} numbers for each image" if most is not None else "",
        note=f", and for each image {value_count(graph):,} numbers in its values and {macs:,}"
        " multiply-adds",
        hints=(f"a batch of {fits} fits",) if fits else (),
    )


def require_room_for_parameters(graph: Graph, itemsize: int, copies: int) -> None:
    """Refuse a net whose parameters do not fit into memory; its sizes may be open.

    Args:
        graph: the net.
        itemsize: the bytes of a number.
        copies: how many arrays of the parameters' size are needed at least.

    Raises:
        NetspecError: `limit/memory`, at the layer with most parameters.
    """
    wanted, there = copies * itemsize * parameter_count(graph), machine_memory()
    if wanted > there:
        most = max(graph.nodes, key=lambda node: _own(graph, node))
        raise _too_large(graph, f"a model of {graph.name}", (wanted, there), most)


def largest_batch(needed: Callable[[int], int], batch: int, there: int) -> int:
    """Return the largest of batch / 2, batch / 4, ... that fits; 0 if not even 1 does."""
    while batch > 1:
        batch //= 2
        if needed(batch) <= there:
            return batch
    return 0


def parameter_count(graph: Graph) -> int:
    """Return the number of parameters, with buffers."""
    return sum(p.size for p in graph.parameters.values())


def value_count(graph: Graph) -> int:
    """Return how many numbers the inputs and the values of a net have for one image."""
    shapes = [*graph.inputs.values(), *(node.shape for node in graph.nodes)]
    return sum(math.prod(shape) for shape in shapes)


def _own(graph: Graph, node: Node) -> int:
    """Return the number of parameters that a node reads."""
    return sum(graph.parameters[name].size for name in node.parameters.values())


def _too_large(
    graph: Graph,
    work: str,
    wanted_and_there: tuple[int, int],
    most: Node | None,
    *,
    label: str = "",
    note: str = "",
    hints: Sequence[str] = (),
) -> NetspecError:
    """Return the error of work that does not fit, at the node that takes most."""
    wanted, there = map(show_bytes, wanted_and_there)
    gib = math.ceil(wanted_and_there[0] / (1 << 30))
    more = f"where more may be used, {MEMORY_VARIABLE}={gib} in the environment says so, in GiB"
    origin = most.origin if most is not None else None
    return NetspecError([
        Diagnostic(
            codes.LIMIT_MEMORY,
            f"{work} needs about {wanted} of memory, and {there} are available",
            origin.span if origin else graph.span,
            f"the largest layer: {_own(graph, most):,} parameters{label}" if most else "",
            notes=(f"{graph.name} has {parameter_count(graph):,} parameters{note}",),
            hints=tuple(map(Hint, (*hints, more))),
            trace=origin.trace if origin else (),
        )
    ])  # fmt: skip
