"""Decides which arguments of a block's class its code honours, by building the block with other
values.

A number that no polynomial expresses (from `max(1, c // 4)`, the parts of `split`, or a loop
variable) is written into the class as a constant. An argument that it depends on is then not an
argument of the class: the docstring names it with its value in the file. If the calls in the file
have different values for it, the class takes the argument, and rejects values that do not occur in
the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.net_builder import Assembly, StopBuildingError
from netspec.compiler.elaborate.values import UNKNOWN, Result, Tensor
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.sizes import Size
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.class_ir import BlockClass, Choice, Layer, Step, Use, Value
from netspec.compiler.torch_backend.drop_dead import live_part
from netspec.compiler.torch_backend.local_sizes import Symbol
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.shifting_sequentials import SHIFTED
from netspec.compiler.torch_backend.trace import (
    Applied,
    Called,
    Chosen,
    Event,
    Frozen,
    Named,
    Trace,
    Tracer,
)
from netspec.compiler.torch_backend.traced_numbers import ATTEMPTS, other_value, plain
from netspec.diagnostics import DiagnosticSink

Number = int | float
# So many other values, and so many of the calls in the file, are tested.
_ENOUGH, _CALLS = 2, 3


def honour(made: BlockClass) -> None:
    """Remove from a block's class the arguments that its code does not honour."""
    symbols = list(made.traces[0].symbols)
    lost = _lost(made)
    held = {symbol: False if symbol in lost else _holds(made, (symbol,)) for symbol in symbols}
    # Some arguments only build together with others: the features of an input that is added to a
    # result.
    together = tuple(symbol for symbol in symbols if held[symbol] is None)
    if together:
        held |= dict.fromkeys(together, _holds(made, together))
    sound = tuple(symbol for symbol in symbols if held[symbol])
    if len(sound) > 1 and _holds(made, sound) is False:
        sound = ()
    for symbol in symbols:
        if symbol in sound:
            continue
        values = list(dict.fromkeys(plain(trace.symbols[symbol]) for trace in made.traces))
        made.known[symbol] = tuple(values)
        if len(values) == 1 and symbol in made.symbols:
            made.symbols.remove(symbol)


def _lost(made: BlockClass) -> set[str]:
    """Return the arguments that went into a function, or into a decision that the class does not
    make.
    """
    found = {symbol for trace in made.traces for symbol in trace.computed}
    choices = {choice.span: choice for choice in _choices(made.unassembled)}
    for trace in made.traces:
        for chosen in _decisions(trace.events):
            choice = choices.get(chosen.span)
            if choice is None or len(choice.cases) <= len(chosen.conditions):
                found |= chosen.symbols
    return found


def _choices(steps: Sequence[Step]) -> Iterator[Choice]:
    for step in steps:
        if isinstance(step, Choice):
            yield step
            for _, inner in step.cases:
                yield from _choices(inner)


def _decisions(events: Sequence[Event]) -> Iterator[Chosen]:
    for event in events:
        if isinstance(event, Chosen):
            yield event
            yield from _decisions(event.events)


def _holds(made: BlockClass, symbols: tuple[str, ...]) -> bool | None:
    """Whether the class with other values equals the block with other values; None if none of them
    builds.
    """
    held = 0
    for trace in _distinct(made.traces):
        numbers = {name: plain(value) for name, value in trace.symbols.items()}
        for attempt in range(ATTEMPTS):
            at = numbers | {name: other_value(numbers[name], attempt) for name in symbols}
            body = _built(trace, at)
            if body is None:
                continue
            if not _Comparison(at).holds(made, body):
                return False
            held += 1
            if held % _ENOUGH == 0:
                break
    return True if held else None


def agrees(made: BlockClass, body: Trace, at: Mapping[str, Number]) -> bool:
    """Whether a class with these arguments is what a call of its block did."""
    return _Comparison(at).holds(made, body)


def _distinct(traces: Sequence[Trace]) -> list[Trace]:
    """Return a few calls with different numbers."""
    kinds = {tuple(map(plain, trace.symbols.values())): trace for trace in reversed(traces)}
    return list(kinds.values())[-_CALLS:]


def _built(trace: Trace, at: Mapping[str, Number]) -> Trace | None:
    """Return the trace of the block with these numbers for arguments and inputs; None if it does
    not build.
    """
    block, module = trace.definition, trace.module
    assert isinstance(block, syntax.Block)
    assert module is not None
    given = {name: at.get(safe_name(name), value) for name, value in trace.arguments.items()}
    sink = DiagnosticSink()
    assembly = Assembly(sink, as_written=False)
    outside = Trace(block)
    body = Body(assembly, module, follower=Tracer(Frozen(), outside))
    inputs = []
    for name in block.inputs:
        if name.id not in trace.shapes:
            return None
        shape = tuple(_number(dim, at) for dim in trace.shapes[name.id])
        assembly.add_input(name.id, shape)
        inputs.append(Tensor(name.id, shape, name.span, trace.holds[name.id]))
    result: Result = UNKNOWN
    with contextlib.suppress(StopBuildingError, RecursionError):
        spans = (block.name.span, block.name.span)
        result = body.blocks.call(block, module, given, inputs, spans, "", "")
    if result is UNKNOWN or sink.errors or assembly.failed:
        return None
    (called,) = outside.events
    assert isinstance(called, Called)
    outputs = {str(at): value for at, value in enumerate(called.results)}
    graph = eliminate_dead(
        Graph(block.name.id, dict(assembly.inputs), tuple(assembly.nodes), outputs,
              dict(assembly.parameters))
    )  # fmt: skip
    live_part([called], {*graph.by_name, *graph.inputs})
    return called.body


def _number(dim: Any, at: Mapping[str, Number]) -> Any:
    local = getattr(dim, "local", dim)
    return local.at(cast(Mapping[str, int], at)) if isinstance(local, Size) else local


class _Comparison:
    """Compares a class, evaluated with numbers for its arguments, with a block that was built with
    them.
    """

    def __init__(self, at: Mapping[str, Number]) -> None:
        self.at = at
        self.values: dict[str, Value] = {}
        self.joined: dict[Value, Value] = {}

    def holds(self, made: BlockClass, body: Trace) -> bool:
        """Whether the class and the trace are the same."""
        if made.inputs.keys() != body.inputs.keys() or len(made.results) != len(body.results):
            return False
        for name, value in made.inputs.items():
            self.values.setdefault(body.inputs[name], value)
        return self._same_steps(made.unassembled, list(body.events)) and self._are(
            body.results, made.results
        )

    def _same_steps(self, steps: Sequence[Step], events: list[Event]) -> bool:
        for number, step in enumerate(steps):
            event = _next(events, step)
            if isinstance(step, Choice) and isinstance(event, Chosen):
                inside = list(event.events)
                if number == len(steps) - 1:  # what follows a `return` belongs to the cases
                    inside += events
                    events.clear()
                if not self._same_case(step, event, inside):
                    return False
            elif isinstance(step, Layer) and isinstance(event, Applied):
                if not self._same_layer(step, event):
                    return False
            elif not (isinstance(step, Use) and isinstance(event, Called)) or not self._same_use(
                step, event
            ):
                return False
        return _next(events, None) is None

    def _same_case(self, step: Choice, event: Chosen, inside: list[Event]) -> bool:
        last = len(step.cases) - 1
        case = last
        if event.case < len(event.conditions):
            condition = event.conditions[event.case]
            case = next((k for k in range(last) if step.cases[k][0] == condition), last)
        if not self._same_steps(step.cases[case][1], inside):
            return False
        for value, parts in step.joined.items():
            part = parts[case]
            if part is not None:
                self.joined[value] = part
        return True

    def _same_layer(self, step: Layer, event: Applied) -> bool:
        extents = {
            f"{index}.{axis}": dim
            for index, shape in enumerate(event.shapes)
            for axis, dim in enumerate(shape, start=1)
        }
        at = {**self.at, **{name: plain(dim) for name, dim in extents.items()}}
        own = {s.name: s.shape for s in event.specs if s.name in step.parameters}
        same = (
            _plain(event.torch()) == _evaluated(step.torch, at)
            and _plain(own) == _evaluated(dict(step.parameters), at)
            and bool(event.specs) == step.parameters_held
        )
        named = not step.parameters_held or event.path == step.path or SHIFTED in step.path
        return same and named and self._are(event.inputs, step.inputs) and self._take(event, step)

    def _same_use(self, step: Use, event: Called) -> bool:
        of = step.of
        if event.body.definition is not of.definition or event.reused != step.reused:
            return False
        for symbol, value in event.given.items():
            number = plain(value)
            known = of.known.get(symbol, (number,))
            if number not in known:
                return False
            given = step.given.get(symbol)
            if symbol in of.symbols and _evaluated(given, self.at) != number:
                return False
        return self._are(event.inputs, step.inputs) and self._take(event, step)

    def _are(self, names: Sequence[str], values: Sequence[Value]) -> bool:
        """Whether these names in the trace stand for these values of the class."""
        if len(names) != len(values) or any(name not in self.values for name in names):
            return False
        return [self._known(self.values[n]) for n in names] == [self._known(v) for v in values]

    def _known(self, value: Value) -> Value:
        while value in self.joined:
            value = self.joined[value]
        return value

    def _take(self, event: Applied | Called, step: Layer | Use) -> bool:
        if len(event.results) != len(step.results):
            return False
        self.values |= zip(event.results, step.results, strict=True)
        return True


def _next(events: list[Event], step: Step | None) -> Event | None:
    """Return the next event. A decision that the class does not make is replaced by its events."""
    while events:
        event = events[0]
        if isinstance(event, Named):
            events.pop(0)
        elif isinstance(event, Chosen) and not (
            isinstance(step, Choice) and step.span == event.span
        ):
            events[:1] = event.events
        else:
            return events.pop(0)
    return None


def _evaluated(part: Any, at: Mapping[str, Any]) -> Any:
    """Return an expression of a class with numbers for its arguments."""
    if isinstance(part, Size):
        return part.at({name: at[name] for name in part.names() if name in at})
    if isinstance(part, Symbol):
        return at[part.name]
    return _mapped(part, lambda inner: _evaluated(inner, at))


def _plain(part: Any) -> Any:
    """Return an expression with plain numbers."""
    if isinstance(part, (int, float)):
        return plain(part)
    return _mapped(part, _plain)


def _mapped(part: Any, change: Any) -> Any:
    if isinstance(part, Torch):
        parts = (part.arguments, dict(part.options), part.inputs, dict(part.call_options))
        return (part.target, *(change(inner) for inner in parts))
    if isinstance(part, tuple):
        return tuple(map(change, part))
    if isinstance(part, dict):
        return {name: change(value) for name, value in part.items()}
    return part
