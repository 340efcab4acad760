"""Decides which arguments of a net can stay arguments of its class, by tracing and then by testing.

A net is built with numbers that record how they were computed from the arguments. Arguments that
decide a condition or a loop are frozen. The others are tested: the net is built with other values,
and every number in it must equal the value of its polynomial. An argument for which that fails, or
for which no other value builds, is frozen too. So no wrong expression can get into a generated
class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.net import build
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.values import Unknown
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.ir.initializers import Initializer, Ones
from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.sizes import Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.drop_dead import live_part
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.trace import (
    Applied,
    Called,
    Chosen,
    Event,
    Frozen,
    Trace,
    Tracer,
    torch_form,
)
from netspec.compiler.torch_backend.traced_numbers import (
    ATTEMPTS,
    Traced,
    TracedFloat,
    follow,
    local_text,
    other_value,
    outer_of,
    roots_of,
)
from netspec.diagnostics import DiagnosticSink


@dataclass
class TracedNet:
    """A net with its trace and its arguments.

    Attributes:
        kept: the names of the class's arguments, by their names in the file.
        frozen: the values of the other arguments.
        derived: the expressions of defaults that depend on other arguments, by the name in the
            class.
    """

    graph: Graph
    trace: Trace
    kept: dict[str, str]
    frozen: dict[str, Any]
    values: dict[str, Any]
    derived: dict[str, str] = field(default_factory=dict)


def trace_net(net: syntax.Net, module: Module, arguments: Mapping[str, Any]) -> TracedNet:
    """Trace a net without errors. As many arguments as possible stay arguments of the class."""
    values, _ = _arguments(net, module, arguments, {}, Tracer(Frozen(), Trace(net)))
    keep = {
        name: safe_name(name)
        for name, value in values.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    while True:
        traced, frozen = _trace(net, module, arguments, keep)
        wrong = frozen & set(keep)
        trial = _Trial(traced, net, module, arguments, values)
        groups = _groups([name for name in keep if name not in wrong], len(traced.graph.nodes))
        for group in groups:
            wrong |= trial.failing(group)
        # A single group was all of them together.
        if not wrong and len(groups) > 1 and not trial.holds(tuple(keep)):
            wrong = set(keep)
        if not wrong:
            traced.frozen = {n: v for n, v in values.items() if n not in keep}
            traced.values = values
            return traced
        keep = {name: symbol for name, symbol in keep.items() if name not in wrong}


def trace_fixed(net: syntax.Net, module: Module, arguments: Mapping[str, Any]) -> TracedNet:
    """Trace a sound net, all of its arguments as they are."""
    values, _ = _arguments(net, module, arguments, {}, Tracer(Frozen(), Trace(net)))
    traced, _ = _trace(net, module, arguments, {})
    traced.frozen = traced.values = dict(values)
    return traced


def _trace(
    net: syntax.Net, module: Module, given: Mapping[str, Constant], keep: Mapping[str, str]
) -> tuple[TracedNet, set[str]]:
    """Trace the net. Return the trace, and the arguments that decide the structure of the net."""
    trace, frozen = Trace(net), Frozen()
    tracer = Tracer(frozen, trace)
    arguments, derived = _arguments(net, module, given, keep, tracer)
    sink = DiagnosticSink()
    graph, assembly = build(net, module, {**given, **arguments}, sink, follower=tracer)
    assert graph is not None, sink.diagnostics
    graph = eliminate_dead(graph)
    trace.inputs = {name: name for name in assembly.inputs}
    trace.shapes = dict(assembly.inputs)
    trace.results = tuple(graph.outputs.values())
    trace.events = live_part(trace.events, {*graph.by_name, *graph.inputs})
    _mark_views(trace, graph)
    return TracedNet(graph, trace, dict(keep), {}, {}, derived), frozen.names


def _arguments(
    net: syntax.Net,
    module: Module,
    given: Mapping[str, Constant],
    keep: Mapping[str, str],
    tracer: Tracer,
) -> tuple[dict[str, Constant], dict[str, str]]:
    """Return all arguments, and the expressions of defaults that depend on others.

    The arguments in `keep` are traced numbers, under their names in the class.
    """
    body = Body(Assembly(DiagnosticSink()), module, follower=tracer)
    arguments, derived = dict[str, Constant](), dict[str, str]()
    for parameter in net.parameters:  # one by one, so that a default can depend on earlier ones
        name = parameter.name.id
        value = body.bind_parameters((parameter,), given, net.name, "net")[name]
        assert not isinstance(value, Unknown)
        if name in keep:
            symbol = keep[name]
            assert isinstance(value, (int, float))
            if name not in given and roots_of(value):
                derived[symbol] = local_text(value)
            tracer.record.symbols[symbol] = value
            value = follow(value, symbol, name)
            body.scope.replace(name, value)
        arguments[name] = value
    return arguments, derived


# ------------------------------------------------------------------------------------ trying values

_ENOUGH = 2
# So many layers may be built to try arguments one at a time, and so many if that is not enough.
_ONE_AT_A_TIME, _IN_GROUPS = 8_000, 2_000


def _groups(names: Sequence[str], layers: int) -> list[tuple[str, ...]]:
    """Return the arguments in groups that are tried together: of one each, unless that takes long.

    One at a time finds more: of `max(a, b)`, say, it changes which of the two is larger.
    """
    cost = _ENOUGH * max(1, layers)
    count = len(names) if len(names) * cost <= _ONE_AT_A_TIME else max(1, _IN_GROUPS // cost)
    return [tuple(names[at::count]) for at in range(min(count, len(names)))]


@dataclass(frozen=True)
class _Trial:
    """A traced net that is built with other values of its arguments."""

    traced: TracedNet
    net: syntax.Net
    module: Module
    arguments: Mapping[str, Any]
    values: Mapping[str, Any]

    def failing(self, names: tuple[str, ...]) -> set[str]:
        """Return those arguments for which the trace does not predict the net."""
        if self.holds(names):
            return set()
        if len(names) == 1:
            return set(names)
        half = len(names) // 2
        # If they only fail together, no part of them can be kept.
        return self.failing(names[:half]) | self.failing(names[half:]) or set(names)

    def holds(self, names: tuple[str, ...]) -> bool:
        """Whether the trace predicts the net that is built with other values of these arguments."""
        values = self.values
        fixed = {**self.arguments, **{name: values[name] for name in self.traced.kept}}
        held = 0
        for attempt in range(ATTEMPTS):
            other = {name: other_value(values[name], attempt) for name in names}
            graph, _ = build(self.net, self.module, {**fixed, **other}, DiagnosticSink())
            if graph is None:
                continue
            at = {**{n: values[n] for n in self.traced.kept}, **other}
            if not _foretold(self.traced, eliminate_dead(graph), at):
                return False
            held += 1
            if held == _ENOUGH:
                return True
        return held > 0


def _foretold(traced: TracedNet, graph: Graph, at: Mapping[str, Any]) -> bool:
    events = list(applied(traced.trace.events))
    if [e.node.name for e in events] != [n.name for n in graph.nodes]:
        return False
    for event, node in zip(events, graph.nodes, strict=True):
        shapes = graph.shapes_into(node)
        mine, other = event.torch(), torch_form(node.op, shapes, event.of_views)
        if not _same((mine, event.node.inputs), (other, node.inputs), at):
            return False
        if mine.module is None:  # else the module creates the parameters by itself
            sizes = [spec.shape for spec in node.op.parameters(*shapes)]
            if not _same([spec.shape for spec in event.specs], sizes, at):
                return False
    return _same(chosen_rules(traced.graph), chosen_rules(graph), at)


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
    """Yield the layers in order, including those in blocks and under decisions."""
    for event in events:
        if isinstance(event, Applied):
            yield event
        elif isinstance(event, Called):
            yield from applied(event.body.events)
        elif isinstance(event, Chosen):
            yield from applied(event.events)


def _same(mine: Any, other: Any, at: Mapping[str, Any]) -> bool:
    """Whether `mine` equals `other`, given the values of the arguments."""
    if isinstance(mine, Traced):
        foretold = mine.outer.at(at) if isinstance(mine.outer, Size) else mine.outer
        return bool(foretold == other)
    if isinstance(mine, TracedFloat):
        return bool(at[mine.outer] == other) if mine.outer else bool(mine == other)
    if isinstance(mine, Torch):
        return isinstance(other, Torch) and all(
            _same(a, b, at)
            for a, b in (
                (mine.target, other.target),
                (mine.arguments, other.arguments),
                (dict(mine.options), dict(other.options)),
                (mine.inputs, other.inputs),
            )
        )
    if isinstance(mine, Initializer):
        return type(mine) is type(other) and _same(vars(mine), vars(other), at)
    if isinstance(mine, dict):
        return mine.keys() == other.keys() and all(_same(mine[k], other[k], at) for k in mine)
    if isinstance(mine, (tuple, list)):
        return (
            isinstance(other, (tuple, list))
            and len(mine) == len(other)
            and all(_same(a, b, at) for a, b in zip(mine, other, strict=True))
        )
    if isinstance(mine, float) and math.isnan(mine):
        return isinstance(other, float) and math.isnan(other)
    return bool(mine == other)
