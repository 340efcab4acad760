"""A net with its trace: what its body and those of its blocks do, in terms of their arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from netspec import codes
from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.names import assigned
from netspec.compiler.elaborate.net import build
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.values import Unknown
from netspec.compiler.elaborate.written import Written
from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.ir.initializers import Initializer, Ones
from netspec.compiler.ir.op import NoTorchFormError
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.passes.layer_limit import (
    IN_A_BLOCK,
    require_few_constants,
    require_few_parts,
    require_few_written,
)
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.drop_dead import live_part
from netspec.compiler.torch_backend.trace import (
    Applied,
    Called,
    Event,
    Named,
    Repeated,
    Trace,
    Tracer,
)
from netspec.compiler.torch_backend.traced_numbers import outer_of, plain
from netspec.diagnostics import Diagnostic, DiagnosticSink, NetspecError


@dataclass
class TracedNet:
    """A net with its trace and the values of its arguments, also of those that were not given."""

    graph: Graph
    trace: Trace
    values: dict[str, Any]


def trace_net(written: Written) -> TracedNet:
    """Trace a sound net, all of its arguments as they are.

    Raises:
        NetspecError: `compile/no-torch` for each layer that has no form in PyTorch; `limit/layers`.
    """
    net, module = written.net, written.module
    trace = Trace(net)
    sink = DiagnosticSink()
    graph, assembly = build(
        net, module, written.arguments, sink, follower=Tracer(trace, Repeated())
    )
    assert graph is not None, sink.diagnostics
    graph = eliminate_dead(graph)
    if missing := list(_without_form(graph)):
        raise NetspecError(missing)
    require_few_parts(net.name.id, _parts(trace.events), net.name.span)
    require_few_constants(net.name.id, _constants(trace), net.name.span)
    written_once = {event.span for event in applied(trace.events)}
    require_few_written(net.name.id, len(written_once), net.name.span)
    trace.inputs = {name: name for name in assembly.inputs}
    trace.shapes = dict(assembly.inputs)
    trace.results = tuple(graph.outputs.values())
    trace.events = live_part(trace.events, {*graph.by_name, *graph.inputs})
    _mark_views(trace, graph)
    return TracedNet(graph, trace, _values(written))


def _parts(events: list[Event]) -> int:
    """How much a body has: layers, their inputs, calls of blocks with what is in them, and names."""
    count = 0
    for event in events:
        count += 1 if isinstance(event, Named) else 1 + len(event.inputs)
        count += _parts(event.body.events) if isinstance(event, Called) else 0
    return count


def _constants(trace: Trace) -> int:
    """How many names the text of a net and its blocks gives to what is no value; those of blocks, which
    are recorded again with other values of their arguments, count more.
    """
    count = 0
    seen: set[object] = set()
    left = [trace]
    while left:
        each = left.pop()
        left += [event.body for event in each.events if isinstance(event, Called)]
        if each.definition in seen:
            continue
        seen.add(each.definition)
        values = {event.name for event in each.events if isinstance(event, Named)}
        weight = IN_A_BLOCK if isinstance(each.definition, syntax.Block) else 1
        count += weight * sum(name.id not in values for name in assigned(each.definition.body))
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
        values[parameter.name.id] = plain(value)
    return values


def _mark_views(trace: Trace, graph: Graph) -> None:
    """Mark the layers that must be correct for views with permuted axes.

    A layer of a block that needs this in one call is marked in all calls.
    """
    if not any(node.op.moves_axes for node in graph.nodes):
        return
    events = list(applied(trace.events))
    spans = {event.span for event in events if event.op.needs_order(*map(_outer, event.shapes))}
    for event in events:
        event.of_views = event.span in spans


def _outer(shape: Shape) -> Shape:
    return tuple(cast(int, outer_of(dim)) if isinstance(dim, int) else dim for dim in shape)


def chosen_rules(graph: Graph) -> dict[str, Initializer]:
    """Return the initial values that differ from those of the PyTorch module, by parameter."""
    rules: dict[str, Initializer] = {}
    seen: set[str] = set()  # of layers that share one the first makes it
    for node in graph.nodes:
        shapes = graph.shapes_into(node)
        module = node.op.torch(*shapes).module
        if module is not None and module.defines is not None:
            inner = chosen_rules(module.defines.graph)
            rules |= {name: rule for name, rule in inner.items() if name not in seen}
            seen |= set(module.defines.graph.parameters)
            continue
        held = module is not None
        for spec in node.op.parameters(*shapes):
            parameter = graph.parameters[node.parameters[spec.name]]
            if parameter.name in seen:
                continue
            seen.add(parameter.name)
            # A parameter that no module holds is created as ones.
            default = spec.initializer if held else Ones()
            if parameter.initializer != default:
                rules[parameter.name] = parameter.initializer
    return rules


def applied(events: list[Event]) -> Iterator[Applied]:
    """Yield the layers in order, including those in blocks."""
    for event in events:
        if isinstance(event, Applied):
            yield event
        elif isinstance(event, Called):
            yield from applied(event.body.events)
