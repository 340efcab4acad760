"""Traces to classes: all calls of a block merged into the one class that serves them.

Calls of a block are laid beside each other, event by event. Where they took different ways, the
class decides when it is made; where they hold different numbers that no argument tells apart, or
have other layers, they get classes of their own (`Block`, `Block2`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netspec.compiler import syntax
from netspec.compiler.initializers import Initializer
from netspec.compiler.op import Torch
from netspec.compiler.symbolic import Dim, Size
from netspec.compiler.torch_source.conditions import Condition
from netspec.compiler.torch_source.traced import Traced, TracedFloat
from netspec.compiler.torch_source.tracing import Applied, Called, Chosen, Event, Named, Trace
from netspec.diagnostics import Span

Value = int
"""A value of a class, numbered."""


@dataclass(frozen=True)
class Symbol:
    """A fractional argument of the class."""

    name: str


@dataclass(eq=False)
class Layer:
    """A layer of a class: what it is in PyTorch, its numbers in the class's arguments.

    `parameters` are those that no module of `torch.nn` holds; `parameters_held` says whether there
    are any at all.
    """

    torch: Torch
    parameters: Mapping[str, tuple[Dim, ...]]
    parameters_held: bool
    path: str
    reused: bool
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    span: Span


@dataclass(eq=False)
class Use:
    """A block in a class: its class, and what that is given."""

    of: BlockClass
    given: Mapping[str, Any]
    path: str
    reused: bool
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    span: Span


@dataclass(eq=False)
class Choice:
    """A decision made when the class is: the cases with their conditions, and what joins after.

    Attributes:
        cases: the conditions and steps, in the file's order; the last has no condition.
        joined: for each value that a case decides, what it is in each case.
    """

    cases: list[tuple[Condition | None, list[Step]]]
    span: Span
    joined: dict[Value, tuple[Value, ...]] = field(default_factory=dict)


Step = Layer | Use | Choice


@dataclass(eq=False)
class BlockClass:
    """A class to be generated.

    Attributes:
        symbols: the arguments of its constructor, in order.
        inputs, results: what `forward` takes, by name, and gives.
        names: what the file calls values.
        traces: the calls that it serves.
    """

    definition: syntax.Net | syntax.Block
    name: str
    symbols: list[str]
    inputs: dict[str, Value]
    results: tuple[Value, ...]
    steps: list[Step]
    names: dict[Value, str]
    traces: list[Trace]


class CannotMergeError(Exception):
    """Two calls of a block differ in what no argument decides."""


def classes_of(trace: Trace) -> list[BlockClass]:
    """The classes of a net, those that others use first, the net's last."""
    by_height: dict[int, dict[Span, list[Trace]]] = {}
    _collect(trace, by_height)
    classes: list[BlockClass] = []
    homes: dict[int, BlockClass] = {}
    taken = {trace.definition.name.id}
    for height in sorted(by_height):
        for traces in by_height[height].values():
            for variant in _variants(traces, homes):
                if variant.traces[0] is not trace:
                    variant.name = _free(variant.definition.name.id, taken)
                    taken.add(variant.name)
                homes.update((id(t), variant) for t in variant.traces)
                classes.append(variant)
    return classes


def _collect(trace: Trace, into: dict[int, dict[Span, list[Trace]]]) -> int:
    """Sort the traces by how deep they nest, then by block."""
    height = 0
    for called in _calls(trace.events):
        height = max(height, 1 + _collect(called.body, into))
    into.setdefault(height, {}).setdefault(trace.definition.span, []).append(trace)
    return height


def _calls(events: Sequence[Event]) -> Iterator[Called]:
    for event in events:
        if isinstance(event, Called):
            yield event
        elif isinstance(event, Chosen):
            yield from _calls(event.events)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    free = name
    while free in taken:
        free = f"{name}{number}"
        number += 1
    return free


def _variants(traces: list[Trace], homes: Mapping[int, BlockClass]) -> list[BlockClass]:
    """The fewest classes that merging one call after another finds."""
    try:
        return [_Merger(traces, homes).merged()]
    except CannotMergeError:
        groups: list[list[Trace]] = []
        for trace in traces:
            for group in groups:
                try:
                    _Merger([*group, trace], homes).merged()
                except CannotMergeError:
                    continue
                group.append(trace)
                break
            else:
                groups.append([trace])
        return [_Merger(group, homes).merged() for group in groups]


class _Merger:
    """Lays traces of one block beside each other."""

    def __init__(self, traces: list[Trace], homes: Mapping[int, BlockClass]) -> None:
        self.traces = traces
        self.homes = homes
        self.values: list[dict[str, Value]] = [{} for _ in traces]
        self.names: dict[Value, str] = {}
        self.count = 0
        # Decisions so far: the choice, and the case that each trace took.
        self.decided: list[tuple[Choice, dict[int, int]]] = []

    def merged(self) -> BlockClass:
        """The class that serves all traces.

        Raises:
            CannotMergeError: if there is none.
        """
        first = self.traces[0]
        inputs = {}
        for name in first.inputs:
            inputs[name] = self._new()
            for at, trace in enumerate(self.traces):
                self.values[at].setdefault(trace.inputs[name], inputs[name])
        everyone = list(range(len(self.traces)))
        steps = self._steps([list(trace.events) for trace in self.traces], everyone)
        results = tuple(
            self._value(everyone, names)
            for names in zip(*(trace.results for trace in self.traces), strict=True)
        )
        made = BlockClass(
            first.definition, first.definition.name.id, [], inputs, results, steps, self.names,
            self.traces,
        )  # fmt: skip
        used = symbols_in(made)
        made.symbols = [s for s in first.symbols if s in used]
        order = [s for s in made.symbols if s.startswith("in_")]
        made.symbols = order + [s for s in made.symbols if s not in order]
        return made

    def _new(self) -> Value:
        self.count += 1
        return self.count

    def _steps(self, lists: list[list[Event]], who: list[int]) -> list[Step]:
        steps: list[Step] = []
        while any(lists):
            if not all(lists):
                raise CannotMergeError
            heads = [events.pop(0) for events in lists]
            head = heads[0]
            if any(type(other) is not type(head) for other in heads):
                raise CannotMergeError
            if isinstance(head, Chosen):
                step = self._choice(heads, lists, who)  # type: ignore[arg-type]
                if step is not None:
                    steps.append(step)
            elif isinstance(head, Named):
                self._name(heads, who)  # type: ignore[arg-type]
            elif isinstance(head, Applied):
                steps.append(self._layer(heads, who))  # type: ignore[arg-type]
            else:
                steps.append(self._use(heads, who))  # type: ignore[arg-type]
        return steps

    def _choice(
        self, heads: list[Chosen], lists: list[list[Event]], who: list[int]
    ) -> Choice | None:
        if len({head.span for head in heads}) > 1:
            raise CannotMergeError
        cases = sorted({head.case for head in heads})
        if len(cases) == 1:
            for events, head in zip(lists, heads, strict=True):
                events[:0] = head.events
            return None
        if len({head.conditions for head in heads}) > 1:
            raise CannotMergeError
        conditions = heads[0].conditions
        choice = Choice([], heads[0].span)
        for case in cases:
            members = [at for at, head in enumerate(heads) if head.case == case]
            condition = None
            if case != cases[-1]:
                condition = conditions[case]
                if condition.text is None or not condition.symbols:
                    raise CannotMergeError
            inner = self._steps(
                [list(heads[at].events) for at in members], [who[at] for at in members]
            )
            choice.cases.append((condition, inner))
        took = {who[at]: cases.index(head.case) for at, head in enumerate(heads)}
        self.decided.append((choice, took))
        return choice

    def _name(self, heads: list[Named], who: list[int]) -> None:
        if len({head.name for head in heads}) > 1:
            raise CannotMergeError
        value = self._value(who, [head.value for head in heads])
        self.names[value] = heads[0].name

    def _layer(self, heads: list[Applied], who: list[int]) -> Layer:
        head = heads[0]
        torch = self._same([_local(h.op.torch(*h.shapes)) for h in heads])
        # The parameters of a module of `torch.nn` are its own affair.
        own = {} if torch.module is not None else {s.name for s in head.specs}
        shapes = self._same(
            [{s.name: _local(s.shape) for s in h.specs if s.name in own} for h in heads]
        )
        return Layer(
            torch,
            shapes,
            bool(head.specs),
            self._same([h.path for h in heads]),
            self._same([h.reused for h in heads]),
            self._inputs(heads, who),
            self._results(heads, who),
            head.span,
        )

    def _use(self, heads: list[Called], who: list[int]) -> Use:
        of = self._same([self.homes[id(h.body)] for h in heads])
        return Use(
            of,
            self._same(
                [{k: _local(v) for k, v in h.given.items() if k in of.symbols} for h in heads]
            ),
            self._same([h.path for h in heads]),
            self._same([h.reused for h in heads]),
            self._inputs(heads, who),
            self._results(heads, who),
            heads[0].span,
        )

    def _inputs(self, heads: Sequence[Applied | Called], who: list[int]) -> tuple[Value, ...]:
        if len({len(h.inputs) for h in heads}) > 1:
            raise CannotMergeError
        return tuple(
            self._value(who, names) for names in zip(*(h.inputs for h in heads), strict=True)
        )

    def _results(self, heads: Sequence[Applied | Called], who: list[int]) -> tuple[Value, ...]:
        results = []
        for names in zip(*(h.results for h in heads), strict=True):
            value = self._new()
            results.append(value)
            for at, name in zip(who, names, strict=True):
                self.values[at][name] = value
        return tuple(results)

    def _same(self, found: list[Any]) -> Any:
        if any(other != found[0] for other in found):
            raise CannotMergeError
        return found[0]

    def _value(self, who: Sequence[int], names: Sequence[str]) -> Value:
        """What the names stand for, one in each trace: one value, or one that a case decided."""
        found = {at: self.values[at][name] for at, name in zip(who, names, strict=True)}
        return self._join(found)

    def _join(self, found: dict[int, Value]) -> Value:
        if len(set(found.values())) == 1:
            return next(iter(found.values()))
        for choice, took in reversed(self.decided):
            if not found.keys() <= took.keys():
                continue
            cases = range(len(choice.cases))
            by_case = [{at: v for at, v in found.items() if took[at] == case} for case in cases]
            if sum(map(bool, by_case)) < 2 or not all(by_case):
                continue
            try:
                values = tuple(self._join(part) for part in by_case)
            except CannotMergeError:
                continue
            if len(set(values)) == 1:
                return values[0]
            for joined, known in choice.joined.items():
                if known == values:
                    return joined
            joined = self._new()
            choice.joined[joined] = values
            name = next((self.names[v] for v in reversed(values) if v in self.names), None)
            if name is not None:
                self.names[joined] = name
            return joined
        raise CannotMergeError


def _local(value: Any) -> Any:
    """A PyTorch expression, or a number in it, in the arguments of its class."""
    if isinstance(value, Torch):
        return Torch(
            value.target,
            _local(value.arguments),
            {name: _local(option) for name, option in value.options.items()},
            _local(value.inputs),
        )
    if isinstance(value, Traced):
        return value.local
    if isinstance(value, TracedFloat):
        return Symbol(value.local)
    if isinstance(value, tuple):
        return tuple(_local(item) for item in value)
    return value


def symbols_in(made: BlockClass) -> set[str]:
    """The arguments that a class's steps use."""
    return _symbols(made.steps)


def _symbols(part: Any) -> set[str]:
    if isinstance(part, Size):
        return part.names()
    if isinstance(part, Symbol):
        return {part.name}
    if isinstance(part, Torch):
        return _symbols((part.arguments, part.options, part.inputs))
    if isinstance(part, Mapping):
        return _symbols(tuple(part.values()))
    if isinstance(part, (tuple, list)):
        return set().union(*(_symbols(item) for item in part))
    if isinstance(part, Layer):
        return _symbols((part.torch, part.parameters))
    if isinstance(part, Use):
        return _symbols(part.given)
    if isinstance(part, Choice):
        conditions = {s for c, _ in part.cases if c is not None for s in c.symbols}
        return conditions | _symbols([steps for _, steps in part.cases])
    return set()


__all__ = ["BlockClass", "Choice", "Initializer", "Layer", "Step", "Symbol", "Use", "classes_of"]
