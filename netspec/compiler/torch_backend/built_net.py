"""A net that is built once with its arguments: its layers, and the calls of its blocks."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

from netspec import codes
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.names import assigned
from netspec.compiler.elaborate.net import build
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.values import Unknown
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.op import NoTorchFormError
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.passes.layer_limit import (
    IN_A_BLOCK,
    require_few_constants,
    require_few_parts,
    require_few_written,
)
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.structured.calls import CallWatcher, Known, Ran
from netspec.diagnostics import Diagnostic, DiagnosticSink, NetspecError, Span
from netspec.records import record


@record(eq=False)
class BuiltNet:
    """A net with its arguments.

    Attributes:
        graph: its layers, without those that nothing depends on.
        ran: the calls of its blocks, and what of them something depends on.
        values: its arguments, also those that were not given.
        views: the layers that must be correct for views with permuted axes. A layer of a block that
            needs this in one call is written so for all calls.
    """

    graph: Graph
    ran: Ran
    values: dict[str, Any]
    views: Set[Span]


def build_net(written: Written) -> BuiltNet:
    """Build a sound net, all of its arguments as they are.

    Raises:
        NetspecError: `compile/no-torch` for each layer that has no form in PyTorch; `limit/layers`.
    """
    net, module = written.net, written.module
    # Most of the time for very many calls goes into building them.
    require_few_parts(net.name.id, _named(net), net.name.span, is_least=True)
    ran, sink = Ran(), DiagnosticSink()
    follower = CallWatcher(ran, Known(is_first=True))
    whole, _ = build(net, module, written.arguments, sink, follower=follower)
    assert whole is not None, sink.diagnostics
    graph = eliminate_dead(whole)
    if missing := list(_without_form(graph)):
        raise NetspecError(missing)
    name, span = net.name.id, net.name.span
    require_few_parts(name, _parts(whole, ran), span)
    require_few_constants(name, _constants(net, ran), span)
    require_few_written(name, len({made.span for each in ran.all() for made in each.layers}), span)
    ran.cut({*graph.by_name, *graph.inputs})
    return BuiltNet(graph, ran, _values(written), _views(graph))


def _parts(graph: Graph, ran: Ran) -> int:
    """How much a net has: layers, their inputs, calls of blocks, and names."""
    layers = sum(1 + len(node.inputs) for node in graph.nodes)
    calls = (call for each in ran.all() for call in each.calls)
    called = sum(1 + len(call.inputs) for call in calls)
    return layers + called + sum(len(each.names) for each in ran.all())


def _named(net: syntax.Net) -> int:
    """How many names a net gives to values, outside of loops and conditions."""
    return sum(
        isinstance(each, syntax.Assign) and isinstance(each.value, syntax.Pipeline)
        for each in net.body
    )


def _constants(net: syntax.Net, ran: Ran) -> int:
    """How many names the text of a net and its blocks gives to what is no value; those of blocks, which
    are recorded again with other values of their arguments, count more.
    """
    bodies: dict[syntax.Net | syntax.Block, Ran] = {net: ran}
    for each in ran.all():
        for call in each.calls:
            bodies.setdefault(call.block, call.body)
    count = 0
    for definition, body in bodies.items():
        weight = IN_A_BLOCK if isinstance(definition, syntax.Block) else 1
        values = set(body.names)
        count += weight * sum(name.id not in values for name in assigned(definition.body))
    return count


def _without_form(graph: Graph) -> Iterator[Diagnostic]:
    """Yield an error for each layer that has no form in PyTorch, those of scan blocks too."""
    for node in graph.nodes:
        try:
            module = node.op.torch(*graph.shapes_into(node)).module
        except NoTorchFormError as error:
            message, origin = f"{error}, which `{node.name}` needs", node.origin
            yield Diagnostic(codes.COMPILE_NO_TORCH, message, origin.span, trace=origin.trace)
            continue
        if module is not None and module.defines is not None:
            yield from _without_form(module.defines.graph)


def _values(written: Written) -> dict[str, Any]:
    body = Body(Assembly(DiagnosticSink()), written.module)
    values: dict[str, Any] = {}
    for parameter in written.net.parameters:  # a default can depend on earlier ones
        given = body.bind_parameters((parameter,), written.arguments, written.net.name, "net")
        value = given[parameter.name.id]
        assert not isinstance(value, Unknown)
        values[parameter.name.id] = value
    return values


def _views(graph: Graph) -> set[Span]:
    """The layers that must be correct for views with permuted axes."""
    if not any(node.op.moves_axes for node in graph.nodes):
        return set()
    return {n.origin.span for n in graph.nodes if n.op.needs_order(*graph.shapes_into(n))}
