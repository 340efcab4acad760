"""The statements of a body without its loops and conditions: one layer after another.

So is written what the statements of the file cannot say for all calls: a list of values that is given
to a layer as a whole, a condition that no argument explains. The numbers in the layers are still
expressions over the arguments of the class, as far as polynomials say them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any, cast

from netspec import codes
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.names import SPLIT, Names
from netspec.compiler.elaborate.values import Evaluate, Input, Result, Tensor, Unknown
from netspec.compiler.ir.constants import FUNCTIONS, Constant
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import ParameterSpec, Torch
from netspec.compiler.ir.sizes import Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.drop_dead import live_part
from netspec.compiler.torch_backend.local_sizes import local
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.python_constants import PythonConstants, names_of, no_value
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.recording import Recording, names_of_values
from netspec.compiler.torch_backend.structured.structure import (
    Bind,
    Block,
    NotStructuredError,
    Number,
    Placed,
    Read,
    Recorder,
    Refuse,
    Return,
    Source,
)
from netspec.compiler.torch_backend.structured.tracer import later_form, written
from netspec.compiler.torch_backend.trace import Applied, Called, Event, Named
from netspec.compiler.torch_backend.traced_numbers import Traced, TracedFloat, local_of, plain
from netspec.diagnostics import Diagnostic, NetspecError, Span


class FlatTracer(Follower):
    """Follows one run of a body, and writes down what was live in it.

    Args:
        run: what is recorded of it.
    """

    def __init__(self, run: Recording) -> None:
        self.run = run
        self.numbers: dict[str, Any] = {}
        self.refused: dict[tuple[str, str], None] = {}

    # -- the head

    def follow(self, names: Names, evaluate: Evaluate) -> Evaluate:
        """Know the names of the body."""
        self._names = names
        return evaluate

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """Let the arguments of a block remember what they are."""
        known = {name: value for name, value in values.items() if not isinstance(value, Unknown)}
        return {name: self.argument(name, value) for name, value in known.items()}

    def argument(self, name: str, value: Constant) -> Any:
        """An argument of the class: a number knows its name."""
        own, value = safe_name(name), plain(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        later = self.run.kept.attribute(own)
        self.numbers[own] = self.numbers[later] = value
        if isinstance(value, int):
            return Traced(value, _named(own), _named(later))
        return TracedFloat(value, own, later)

    def input(self, name: str, value: Input) -> Input:
        """The sizes of a block's input are arguments of its class."""
        if not isinstance(value, Tensor):
            return value
        self.run.trace.inputs[name] = value.name
        return replace(value, shape=cast(Shape, tuple(map(self._size, value.shape))))

    def _size(self, size: Any) -> Any:
        local_size = local_of(size) if isinstance(size, int) else size
        if not isinstance(size, int) or not isinstance(local_size, Size):
            return size
        (own,) = local_size.names()
        later = self.run.kept.attribute(own)
        self.numbers[own] = self.numbers[later] = int(size)
        return Traced(int(size), local_size, _named(later))

    def asserting(self, statement: syntax.Assert) -> None:
        """Write down an assert over nothing but arguments."""
        names = names_of(statement.condition)
        parameters = {parameter.name.id for parameter in self.run.trace.definition.parameters}
        if not names or not names <= parameters or not names.isdisjoint(FUNCTIONS):
            return
        bindings = {name: self._names.scope.get(name) for name in names}
        values = {name: None if b is None else b.value for name, b in bindings.items()}
        # Another statement may have given the name to something else.
        if any(str(getattr(v, "local", None)) != safe_name(n) for n, v in values.items()):
            return
        python = PythonConstants(no_value, lambda _: False, safe_name)
        message = statement.message or f"{statement.condition.span.text} does not hold"
        self.refused[python.negated(statement.condition), message] = None

    # -- what it does

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """Record a layer."""
        self.run.events.added(node, shapes, specs, path)

    def named(self, name: str, value: Tensor) -> None:
        """Record a name."""
        self.run.events.named(name, value)

    def fixing(self, values: Sequence[Constant | Unknown]) -> Sequence[Constant | Unknown]:
        """Constants that are written as numbers."""
        return self.run.events.fixing(values)

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """Return the tracer of a block's body."""
        return self.run.events.calling(block, module, path)

    def inlining(self, block: syntax.Block, module: Module, span: Span) -> Follower:
        """Return the tracer of an inline block's body."""
        return self.run.events.inlining(block, module, span)

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """Record a call of a block."""
        return self.run.events.called(inner, inputs, result, span)

    # -- the end

    def returned(self, result: Result) -> None:
        """The body gives these values back."""
        self.gives(names_of_values(result))

    def gives(self, names: Sequence[str]) -> None:
        """The body ends with these values."""
        self.run.given_back = list(names)

    def write(self, live: Set[str]) -> Sequence[Event]:
        """Write the statements down; return the events that they are made of."""
        events = live_part(self.run.trace.events, live)
        for condition, message in self.refused:
            self.run.recorder.add(Refuse(condition, message), self.numbers)
        inputs = {safe_name(name): node for name, node in self.run.trace.inputs.items()}
        line = _Line(self.run.recorder, self.run.homes, self.run.views, self.numbers, inputs)
        line.write(events, self.run.given_back)
        self.run.owners = line.owners
        return events


def write_steps(
    events: Sequence[Event], inputs: Mapping[str, str], results: Sequence[str]
) -> Recorder:
    """Record layers that no argument changes.

    Args:
        events: the layers, and names of values.
        inputs: the values of the inputs, by their names in Python.
        results: the values that are given back.
    """
    recorder = Recorder()
    recorder.begin()
    _Line(recorder, Homes(), frozenset(), {}, inputs).write(events, results)
    return recorder


@dataclass
class _Line:
    """Layers and calls of blocks in their order."""

    recorder: Recorder
    homes: Homes
    views: Set[Span]
    numbers: Mapping[str, Any]
    inputs: Mapping[str, str]
    owners: dict[str, Placed] = field(default_factory=dict)

    def write(self, events: Sequence[Event], results: Sequence[str]) -> None:
        """Write the statements down."""
        self.holds = dict(self.inputs)
        self.made: dict[str, list[Source]] = {}
        self.objects: dict[str, list[Any]] = {}
        self.shared = _shared(events)
        parts = _even_splits(events)
        names = _kept_names(events, self.inputs, results)
        for event in events:
            if isinstance(event, Named):
                if event in names:
                    own = safe_name(event.name)
                    self._add(Bind(own, Read(self._sources(event.value))))
                    self.holds[own] = event.value
            elif isinstance(event, Applied):
                self._layer(event, parts.get(event))
            else:
                self._call(event)
        self._add(Return(self._reads(results)))
        self.recorder.leave_all()

    def _add(self, step: Any, extents: Mapping[str, Any] | None = None) -> Any:
        return self.recorder.add(step, {**self.numbers, **(extents or {})})

    def _sources(self, value: str) -> list[Source]:
        names: list[Source] = [name for name, held in self.holds.items() if held == value]
        return [*names, *self.made.get(value, [])]

    def _reads(self, values: Sequence[str]) -> tuple[Read, ...]:
        return tuple(Read(self._sources(value)) for value in values)

    def _layer(self, event: Applied, cut: tuple[int, int] | None) -> None:
        event.of_views = event.of_views or event.span in self.views
        form, shapes = event.torch(), event.shapes
        extents = {
            f"{index}.{axis}": int(dim) if isinstance(dim, int) else dim
            for index, shape in enumerate(shapes)
            for axis, dim in enumerate(shape, start=1)
        }
        specs = event.specs
        own = {} if form.module is not None else {s.name: written(s.shape, local) for s in specs}
        is_named = bool(specs) or event.path in self.shared
        label = tuple(event.path.split(".")) if is_named else None
        name = event.node.op.name
        step = Placed(
            cast(Torch, written(form, local)), later_form(form, shapes), own, label,
            "" if label else name, name, bool(specs), self._reads(event.inputs), 1, event.reused,
            event.of_views, event.span, cut, label,
            any(spec.role in ("statistic", "constant") for spec in specs) and bool(own),
            all(spec.role != "constant" for spec in specs),
        )  # fmt: skip
        self._place(self._add(step, extents), event)

    def _call(self, event: Called) -> None:
        home = self.homes.of(event.body)
        others = {safe_name(name): value for name, value in event.body.arguments.items()}
        given = {
            symbol: written(event.given[symbol], local)
            if symbol in event.given
            else Number(others[symbol], others[symbol])
            for symbol in home.symbols
        }
        self._require_one_object(event, home)
        label = tuple(event.path.split("."))
        step = Placed(
            Block(home, given), None, {}, label, "", event.body.definition.name.id, True,
            self._reads(event.inputs), len(event.results), event.reused, False, event.span, None,
            label,
        )  # fmt: skip
        self._place(self._add(step), event)

    def _require_one_object(self, event: Called, home: BlockClass) -> None:
        """Check that the calls of a shared block need the same object."""
        if event.is_one_object(home.symbols, self.objects):
            return
        if self.recorder.is_trial:
            raise NotStructuredError
        message = f"`{event.path}` would need a separate PyTorch module for each of its calls"
        note = "its layers depend on the sizes of its inputs, which differ"
        code = codes.COMPILE_SHARED_BLOCK
        raise NetspecError([Diagnostic(code, message, event.span, notes=(note,))])

    def _place(self, step: Placed, event: Applied | Called) -> None:
        self.owners.setdefault(event.path, step)
        for at, name in enumerate(event.results):
            self.made[name] = [(step, at)]


def _named(text: str) -> Any:
    return Size.named(text)


def _shared(events: Sequence[Event]) -> set[str]:
    """The paths of layers that are used more than once."""
    return {event.path for event in events if isinstance(event, Applied) and event.reused}


def _even_splits(events: Sequence[Event]) -> dict[Applied, tuple[int, int]]:
    """The number of parts, and the axis, of all parts of values that are split evenly."""
    found: dict[Applied, tuple[int, int]] = {}
    for group in _splits(events):
        first = group[0]
        axis = cast(Any, first.op).axis
        sizes = [plain(event.node.shape[axis - 1]) for event in group]
        if sum(sizes) == plain(first.shapes[0][axis - 1]) and len(set(sizes)) == 1:
            found |= dict.fromkeys(group, (len(group), axis))
    return found


def _splits(events: Sequence[Event]) -> Iterator[list[Applied]]:
    """Parts of one value that follow on one another."""
    group: list[Applied] = []
    for event in events:
        is_part = isinstance(event, Applied) and event.node.origin.call.callee.id == SPLIT
        part = event if isinstance(event, Applied) and is_part else None
        if part is None or not group or not _is_of(part, group[0]):
            if len(group) > 1:
                yield group
            group = []
        if part is not None:
            group.append(part)
    if len(group) > 1:
        yield group


def _is_of(part: Applied, first: Applied) -> bool:
    return (part.span, part.inputs) == (first.span, first.inputs)


def _kept_names(
    events: Sequence[Event], inputs: Mapping[str, str], results: Sequence[str]
) -> set[Named]:
    """The names that the text can give to values: nothing else has them as long as they are read."""
    last = {value: len(events) for value in results}
    for at in reversed(range(len(events))):
        event = events[at]
        if not isinstance(event, Named):
            for value in event.inputs:
                last.setdefault(value, at)
    until: dict[str, int] = {}
    names: set[Named] = set()
    for at in reversed(range(len(events))):
        event = events[at]
        if not isinstance(event, Named):
            continue
        own = safe_name(event.name)
        given = inputs.get(own, event.value)
        is_free = given == event.value or last.get(given, -1) < at
        if is_free and last.get(event.value, -1) <= until.get(own, len(events)):
            names.add(event)
            until[own] = at
    return names
