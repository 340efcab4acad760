"""A net built once more, and written down: what each body did, in the terms of its own arguments.

The building is the ordinary one, with numbers that remember where they came from. A body's trace has
one event for each layer and each call of a block, nested under the decisions that led to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from netspec.compiler.elaborate.net import Body
from netspec.compiler.elaborate.scope import UNKNOWN, Tensor, Tensors
from netspec.compiler.ir import constants
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import Op, ParameterSpec, Torch
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.conditions import Condition, condition_of, forgotten
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.traced_numbers import (
    Traced,
    TracedFloat,
    outer_of,
    plain,
    rename,
    roots_of,
    symbols_of,
)
from netspec.diagnostics import Span

# What the axes of an input are called among a class's arguments, by rank.
_AXES = {1: ("features",), 2: ("length", "features"), 3: ("channels", "height", "width")}


@dataclass(eq=False)
class Applied:
    """A layer: its node, and its inputs' shapes and parameters with their memory.

    `of_views` says that PyTorch must be right for views with axes moved too.
    """

    node: Node
    op: Op
    shapes: tuple[tuple[int, ...], ...]
    specs: tuple[ParameterSpec, ...]
    path: str
    span: Span
    reused: bool = False
    of_views: bool = False

    def torch(self) -> Torch:
        """The layer in PyTorch."""
        return torch_form(self.op, self.shapes, self.of_views)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The values that go in."""
        return self.node.inputs

    @property
    def results(self) -> tuple[str, ...]:
        """The value that comes out."""
        return (self.node.name,)


@dataclass(eq=False)
class Called:
    """A call of a block: the trace of its body, and what the caller gave."""

    body: Trace
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    given: Mapping[str, Any]
    path: str
    span: Span
    reused: bool = False


@dataclass(eq=False)
class Chosen:
    """A decision: which case, under which conditions, about which arguments, and what was done."""

    conditions: tuple[Condition, ...]
    case: int
    events: list[Event]
    span: Span
    symbols: frozenset[str]


@dataclass(eq=False)
class Named:
    """A name that the file gives to a value."""

    name: str
    value: str


def torch_form(op: Op, shapes: tuple[Shape, ...], of_views: bool) -> Torch:
    """An op in PyTorch, for views with axes moved too or not."""
    return op.torch_of_views(*shapes) if of_views else op.torch(*shapes)


Event = Applied | Called | Chosen | Named


@dataclass(eq=False)
class Trace:
    """What a body did.

    Attributes:
        definition: the net or the block.
        module: where a block is from.
        arguments: what a block was given, by the names in the file, without memory.
        symbols: the arguments of its class that are numbers, with their values.
        inputs: the values that go in, by the names that the body has for them.
        asserts: the asserts over the arguments, with their messages.
        computed: the arguments that went into a function such as `max`.
    """

    definition: syntax.Net | syntax.Block
    prefix: str = ""
    module: Module | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    symbols: dict[str, int | float] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    results: tuple[str, ...] = ()
    asserts: list[tuple[Condition, str]] = field(default_factory=list)
    computed: set[str] = field(default_factory=set)


@dataclass
class Tracer:
    """What the bodies of one net share.

    Attributes:
        frozen: arguments of the net that decide what it is made of; they keep their values.
        keep: arguments of the net to follow, with the names they have in the generated class.
        deciding: whether what is evaluated decides something.
    """

    keep: Mapping[str, str]
    frozen: set[str] = field(default_factory=set)
    deciding: int = 0


class TracingBody(Body):
    """A body that writes down what it does."""

    tracer: Tracer
    record: Trace
    _into: list[list[Event]]
    _seen: set[str]
    _home: _InnerBody | None = None

    def start(self, tracer: Tracer, record: Trace) -> None:
        """Say where to write."""
        self.tracer = tracer
        self.record = record
        self._into = [record.events]
        self._seen = set[str]()

    def follow_arguments(self, names: Sequence[str]) -> None:
        """Replace the net's arguments that are numbers by ones that remember."""
        for name in names:
            binding = self.scope.get(name)
            if binding is None or name not in self.tracer.keep:
                continue
            symbol, value = self.tracer.keep[name], binding.value
            if isinstance(value, float):
                binding.value = TracedFloat(value, symbol, name)
            else:
                outer = cast(Dim, Size.named(name))
                binding.value = Traced(value, cast(Dim, Size.named(symbol)), outer)
            self.record.symbols[symbol] = value

    # -- what is written down

    def _write(self, event: Event) -> None:
        self._into[-1].append(event)

    def add_layer(
        self, op: Op, bound: Any, inputs: Sequence[Tensor], call: Any, span: Span, path: str,
        suffix: str,
    ) -> Any:  # fmt: skip
        """Add the node, and write it down."""
        result = super().add_layer(op, bound, inputs, call, span, path, suffix)
        if result is not UNKNOWN:
            shapes = tuple(tensor.shape for tensor in inputs)
            specs = op.parameters(*shapes)
            node = self.assembly.nodes[-1]
            self._write(Applied(node, op, shapes, specs, self._local(path), span))
        return result

    def call_block(
        self, block: syntax.Block, module: Module, given: dict[str, Any], inputs: list[Any],
        spans: tuple[Span, Span], path: str, suffix: str,
    ) -> Any:  # fmt: skip
        """Build the block with a trace of its own, and write down the call."""
        record = Trace(block, path, module)
        inner_tracer = _InnerBody(self.tracer, record, module)
        result = self._call_traced(inner_tracer, block, given, inputs, spans, path, suffix)
        if result is UNKNOWN:
            return result
        values = result.items if isinstance(result, Tensors) else (result,)
        if UNKNOWN in values:
            return UNKNOWN
        record.results = tuple(value.name for value in values)
        back = _Outside(inner_tracer.dims)
        outside = tuple(
            Tensor(v.name, tuple(back.size(d) for d in v.shape), v.span) for v in values
        )
        self._write(
            Called(
                record,
                tuple(tensor.name for tensor in inputs),
                record.results,
                inner_tracer.given,
                self._local(path),
                spans[1],
            )
        )
        return Tensors(outside) if isinstance(result, Tensors) else outside[0]

    def _call_traced(
        self, home: _InnerBody, block: syntax.Block, given: dict[str, Any], inputs: list[Any],
        spans: tuple[Span, Span], path: str, suffix: str,
    ) -> Any:  # fmt: skip
        self._home = home
        try:
            return super().call_block(block, home.module, given, inputs, spans, path, suffix)
        finally:
            self._home = None

    def make_body(self, *args: Any, **options: Any) -> Body:
        """The body of the block that is called, with a trace of its own."""
        assert self._home is not None
        return self._home.make(*args, **options)

    def _local(self, path: str) -> str:
        prefix = self.record.prefix
        return path[len(prefix) + 1 :] if prefix else path

    def _bind_target(self, target: syntax.Name, value: Any, span: Span) -> None:
        super()._bind_target(target, value, span)
        if isinstance(value, Tensor):
            self._write(Named(target.id, value.name))

    # -- decisions

    @contextmanager
    def _case(self, conditions: tuple[Condition, ...], case: int, span: Span) -> Iterator[None]:
        chosen = Chosen(conditions, case, [], span, frozenset(self._seen))
        self._write(chosen)
        self._into.append(chosen.events)
        try:
            yield
        finally:
            self._into.pop()

    def evaluate(self, expr: syntax.Expr) -> Any:
        """Evaluate; what is evaluated to decide something freezes the arguments in it."""
        if isinstance(expr, syntax.Conditional):
            case = self._decide([condition for _, condition in expr.cases])
            conditions = tuple(condition_of(self, c) for _, c in expr.cases)
            chosen = expr.cases[case][0] if case < len(expr.cases) else expr.otherwise
            with self._case(conditions, case, expr.span):
                return self.evaluate(chosen)
        value = super().evaluate(expr)
        called = isinstance(expr, syntax.Call) and expr.callee.id in constants.FUNCTIONS
        if called:
            self.record.computed |= symbols_of(value)
        if self.tracer.deciding or called:
            self.tracer.frozen |= roots_of(value)
            self._seen |= symbols_of(value)
        return value

    def constant(self, expr: syntax.Expr, what: str) -> Any:
        """A constant; arguments of functions such as `range` and `max` are frozen."""
        value = super().constant(expr, what)
        if what.startswith("an argument of `"):
            self.tracer.frozen |= roots_of(value)
            self.record.computed |= symbols_of(value)
        return value

    def run(self, statements: Sequence[syntax.Statement]) -> None:
        """Run statements; decisions are written down, and so are asserts over arguments."""
        for statement in statements:
            if isinstance(statement, syntax.If):
                case = self._decide([condition for condition, _ in statement.branches])
                conditions = tuple(condition_of(self, c) for c, _ in statement.branches)
                inside = case < len(statement.branches)
                body = statement.branches[case][1] if inside else statement.otherwise
                with self._case(conditions, case, statement.span):
                    self.run(body)
                continue
            if isinstance(statement, syntax.Assert):
                message = statement.message or f"{statement.condition.span.text} does not hold"
                condition = condition_of(self, statement.condition)
                self.record.asserts.append((condition, message))
                self.tracer.frozen |= forgotten(self, statement.condition, condition)
            super().run((statement,))

    def _decide(self, conditions: Sequence[syntax.Expr]) -> int:
        self.tracer.deciding += 1
        self._seen = set()
        try:
            for case, condition in enumerate(conditions):
                if self.condition(condition):
                    return case
            return len(conditions)
        finally:
            self.tracer.deciding -= 1


class _InnerBody:
    """Makes the body of a block's call, its arguments and the sizes of its inputs renamed."""

    def __init__(self, tracer: Tracer, record: Trace, module: Module) -> None:
        self.tracer = tracer
        self.record = record
        self.module = module
        self.given: dict[str, Any] = {}
        self.dims: dict[str, int] = {}

    def make(self, *args: Any, **options: Any) -> Body:
        body = _BlockBody(*args, **options)
        body.start(self.tracer, self.record)
        body.home = self
        return body

    def symbol(self, name: str, value: Any) -> Any:
        """A number under a name of its own."""
        inner = rename(value, name)
        if isinstance(inner, (Traced, TracedFloat)):
            self.record.symbols[name] = value
            self.given[name] = value
            if isinstance(inner, Traced):
                self.dims[name] = value
        return inner


class _BlockBody(TracingBody):
    """The body of a block."""

    home: _InnerBody

    def bind_parameters(self, parameters: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Bind the arguments under their own names."""
        values = super().bind_parameters(parameters, *args, **options)
        self.record.arguments = {name: plain(value) for name, value in values.items()}
        for name, value in values.items():
            binding = self.scope.get(name)
            assert binding is not None
            binding.value = self.home.symbol(safe_name(name), value)
        return values

    def bind_input(self, name: syntax.Name, value: Any) -> None:
        """Bind an input, its sizes under names of their own."""
        if isinstance(value, Tensor):
            record = self.record
            first = not record.inputs
            taken = set(record.symbols)
            dims = []
            axes = _AXES.get(len(value.shape), ())
            for axis, extent in enumerate(value.shape):
                word = axes[axis] if axes else f"size{axis}"
                symbol = safe_name(f"in_{word}" if first else f"{name.id}_{word}")
                while symbol in taken:
                    symbol += "_"
                dims.append(
                    extent if isinstance(extent, Size) else self.home.symbol(symbol, extent)
                )
            value = Tensor(value.name, tuple(dims), value.span)
            record.inputs[name.id] = value.name
            record.shapes[name.id] = value.shape
        super().bind_input(name, value)


class _Outside:
    """Sizes of a block's results in the terms of its caller."""

    def __init__(self, dims: Mapping[str, int]) -> None:
        self.local = {
            name: value.local for name, value in dims.items() if isinstance(value, Traced)
        }
        self.numbers = {n: int(v) for n, v in dims.items() if not isinstance(v, Traced)}

    def size(self, dim: int) -> int:
        """One size."""
        if not isinstance(dim, Traced):
            return dim
        local = dim.local
        if isinstance(local, Size):
            local = local.at(cast(Any, {**self.local, **self.numbers}))
        if isinstance(local, int) and isinstance(outer_of(dim), int):
            return int(dim)
        return Traced(int(dim), local, outer_of(dim))
