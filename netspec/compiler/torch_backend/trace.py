"""Traces a net: builds it again and records what each body does, in terms of the body's own
arguments.

The net is built in the ordinary way, but with numbers that record how they were computed. The trace
of a body has one event for each layer, each call of a block, and each name that a value gets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from netspec.compiler.elaborate.constant_loops import Outcomes
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.repeated_blocks import BlockOutcomes
from netspec.compiler.elaborate.values import (
    UNKNOWN,
    Input,
    Result,
    Tensor,
    Tensors,
    Unknown,
)
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import Op, ParameterSpec, Torch
from netspec.compiler.ir.sizes import Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import NumberType
from netspec.compiler.torch_backend.naming import safe_name
from netspec.compiler.torch_backend.traced_numbers import (
    Traced,
    TracedFloat,
    outer_of,
    plain,
    rename,
)
from netspec.diagnostics import Span

_AXES = {
    1: ("features",),
    2: ("length", "features"),
    3: ("channels", "height", "width"),
    4: ("channels", "depth", "height", "width"),
}


def axis_names(rank: int) -> tuple[str, ...]:
    """Return the names of the axes of a value among a class's arguments."""
    return _AXES.get(rank) or tuple(f"size{axis}" for axis in range(rank))


@dataclass(eq=False)
class Applied:
    """A layer: its node, the shapes of its inputs and its parameters, as traced numbers.

    `of_views` says that the PyTorch expression must also be correct for views with permuted axes.
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
        """Return the layer as a PyTorch expression."""
        return torch_form(self.op, self.shapes, self.of_views)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the input values."""
        return self.node.inputs

    @property
    def results(self) -> tuple[str, ...]:
        """The name of the layer's value."""
        return (self.node.name,)


@dataclass(eq=False)
class Called:
    """A call of a block: the trace of its body, and the arguments of the call."""

    body: Trace
    inputs: tuple[str, ...]
    results: tuple[str, ...]
    given: Mapping[str, Any]
    path: str
    span: Span
    reused: bool = False

    def is_one_object(self, symbols: Sequence[str], known: dict[str, list[Any]]) -> bool:
        """Whether the calls of a shared block so far need the same object.

        Args:
            symbols: the arguments of the block's class.
            known: what the objects were made with, by their paths.
        """
        arguments = {safe_name(name): value for name, value in self.body.arguments.items()}
        arguments |= {name: plain(value) for name, value in self.given.items()}
        made = [arguments.get(symbol) for symbol in symbols]
        return known.setdefault(self.path, made) == made


@dataclass(eq=False)
class Named:
    """A name that the file gives to a value."""

    name: str
    value: str


def torch_form(op: Op, shapes: tuple[Shape, ...], of_views: bool) -> Torch:
    """Return an op as a PyTorch expression, also correct for views with permuted axes if so
    requested.
    """
    return op.torch_of_views(*shapes) if of_views else op.torch(*shapes)


Event = Applied | Called | Named


@dataclass(eq=False)
class Trace:
    """The record of what a body did.

    Attributes:
        definition: the net or the block.
        module: the module that defines a block.
        arguments: the arguments of a block, by their names in the file, as plain numbers.
        symbols: the values of those arguments of its class that are numbers.
        inputs: the input values, by their names in the body.
        kept: which of its results something reads, by their places.
    """

    definition: syntax.Net | syntax.Block
    prefix: str = ""
    module: Module | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    symbols: dict[str, int | float] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    holds: dict[str, NumberType] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    results: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()


@dataclass(eq=False)
class Repeated:
    """What bodies did that nothing follows, in all builds of a net.

    Attributes:
        loops: the loops over constants.
        blocks: the blocks.
    """

    loops: dict[syntax.For, Outcomes] = field(default_factory=dict)
    blocks: BlockOutcomes = field(default_factory=BlockOutcomes)


class Tracer(Follower):
    """Records what a body does: that of a net, or the body around a single call of a block."""

    keeps_outcomes = True

    def __init__(self, record: Trace, repeated: Repeated) -> None:
        self.record = record
        self.before = repeated

    def outcomes(self, loop: syntax.For, names: Sequence[str]) -> Outcomes:
        """Nothing is recorded of a loop over constants but what it gives."""
        return self.before.loops.setdefault(loop, Outcomes())

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """Record a layer."""
        span = node.origin.span
        self.record.events.append(
            Applied(node, node.op, tuple(shapes), tuple(specs), self._local(path), span)
        )

    def named(self, name: str, value: Tensor) -> None:
        """Record a name."""
        self.record.events.append(Named(name, value.name))

    def fixing(self, values: Sequence[Constant | Unknown]) -> Sequence[Constant | Unknown]:
        """Constants that are written as numbers."""
        return tuple(map(plain, values))

    # -- calls of blocks

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """Return the tracer of a block's body, which has a trace of its own."""
        return _BlockTracer(Trace(block, path, module), self.before)

    def inlining(self, block: syntax.Block, module: Module, span: Span) -> Follower:
        """Return the tracer of an inline block's body: its layers are the caller's."""
        return Tracer(self.record, self.before)

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """Record the call. The sizes of the results are converted to terms of the caller."""
        assert isinstance(inner, _BlockTracer)
        results = result.items if isinstance(result, Tensors) else (result,)
        values = [value for value in (*inputs, *results) if isinstance(value, Tensor)]
        if len(values) < len(inputs) + len(results):
            return UNKNOWN
        names = tuple(value.name for value in values)
        record = inner.record
        record.results = names[len(inputs) :]
        record.kept = tuple(range(len(record.results)))
        self.record.events.append(
            Called(
                record,
                names[: len(inputs)],
                record.results,
                inner.given,
                self._local(record.prefix),
                span,
            )
        )
        back = _Outside(inner.dims)
        outside = tuple(
            replace(v, shape=tuple(back.size(d) for d in v.shape)) for v in values[len(inputs) :]
        )
        return Tensors(outside) if isinstance(result, Tensors) else outside[0]

    def _local(self, path: str) -> str:
        prefix = self.record.prefix
        return path[len(prefix) + 1 :] if prefix else path


class _BlockTracer(Tracer):
    """Traces the body of a block.

    Its arguments and the sizes of its inputs become symbols of its own.
    """

    def __init__(self, record: Trace, repeated: Repeated) -> None:
        super().__init__(record, repeated)
        self.given: dict[str, int | float] = {}
        self.dims: dict[str, int] = {}

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """Return the arguments as numbers with symbols of their own."""
        known = {name: value for name, value in values.items() if not isinstance(value, Unknown)}
        self.record.arguments = {name: plain(value) for name, value in known.items()}
        return {name: self._symbol(safe_name(name), value) for name, value in known.items()}

    def input(self, name: str, value: Input) -> Input:
        """Return an input whose sizes have symbols of their own."""
        if not isinstance(value, Tensor):
            return value
        record = self.record
        first = not record.inputs
        taken = set(record.symbols)
        dims = []
        for word, extent in zip(axis_names(len(value.shape)), value.shape, strict=True):
            symbol = safe_name(f"in_{word}" if first else f"{name}_{word}")
            while symbol in taken:
                symbol += "_"
            dims.append(extent if isinstance(extent, Size) else self._symbol(symbol, extent))
        shape = cast(Shape, tuple(dims))
        record.inputs[name] = value.name
        record.shapes[name] = shape
        record.holds[name] = value.holds
        return replace(value, shape=shape)

    def _symbol(self, name: str, value: Constant) -> Constant:
        """Return a number with a symbol of its own."""
        inner: Constant = rename(value, name)
        if isinstance(inner, (Traced, TracedFloat)):
            assert isinstance(value, (int, float))
            self.record.symbols[name] = value
            self.given[name] = value
            if isinstance(value, int):
                self.dims[name] = value
        return inner


class BlockWatcher(_BlockTracer):
    """Records with what a block is called, and the blocks that it calls, but not what it does."""

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """Record the arguments. The body gets plain numbers; fractions may be initial values."""
        known = super().arguments(values)
        return {n: v if isinstance(v, TracedFloat) else plain(v) for n, v in known.items()}

    def input(self, name: str, value: Input) -> Input:
        """Record an input. The body gets plain sizes."""
        found = super().input(name, value)
        return plain_tensor(found) if isinstance(found, Tensor) else found

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """A layer is not recorded."""

    def named(self, name: str, value: Tensor) -> None:
        """A name is not recorded."""

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """Watch the blocks that it calls, too."""
        return BlockWatcher(Trace(block, path, module), self.before)

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """Record the call."""
        super().called(inner, inputs, result, span)
        return result

    def block_outcomes(self) -> BlockOutcomes:
        """Nothing is recorded of a body but the blocks that it calls."""
        return self.before.blocks

    def block_followed(self) -> tuple[Called, ...]:
        """The blocks that the body called."""
        return _calls(self.record.events, str)

    def block_repeated(self, followed: object, rename: Callable[[str], str]) -> None:
        """Record the blocks that the body calls."""
        self.record.events += _calls(cast(tuple[Called, ...], followed), rename)


def _calls(events: Sequence[Event], rename: Callable[[str], str]) -> tuple[Called, ...]:
    """Copies of the calls of blocks, which are cut to what is live, with other names."""
    return tuple(_renamed(event, rename) for event in events if isinstance(event, Called))


def _renamed(called: Called, rename: Callable[[str], str]) -> Called:
    body = called.body
    results = tuple(map(rename, called.results))
    copy = replace(
        body,
        prefix=rename(body.prefix),
        inputs={name: rename(value) for name, value in body.inputs.items()},
        events=list(_calls(body.events, rename)),
        results=results,
    )
    inputs = tuple(map(rename, called.inputs))
    return Called(copy, inputs, results, called.given, called.path, called.span)


def plain_tensor(value: Tensor) -> Tensor:
    """A value with plain sizes."""
    return replace(value, shape=cast(Shape, tuple(map(plain, value.shape))))


class _Outside:
    """Converts sizes of a block's results to terms of its caller."""

    def __init__(self, dims: Mapping[str, int]) -> None:
        self.local = {
            name: value.local for name, value in dims.items() if isinstance(value, Traced)
        }
        self.numbers = {n: int(v) for n, v in dims.items() if not isinstance(v, Traced)}

    def size(self, dim: int) -> int:
        """Convert one size."""
        if not isinstance(dim, Traced):
            return dim
        local = dim.local
        if isinstance(local, Size):
            local = local.at(cast(Any, {**self.local, **self.numbers}))
        if isinstance(local, int) and isinstance(outer_of(dim), int):
            return int(dim)
        return Traced(int(dim), local, outer_of(dim))
