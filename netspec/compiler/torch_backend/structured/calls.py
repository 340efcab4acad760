"""The calls of blocks in one build of a net: with what each block is called, and what of it is needed.

A net and its blocks have followers that note the calls of their bodies. The caller's numbers know how it
writes them; a block's arguments and the sizes of its inputs are numbers of its own, in which the sizes of
its results are said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from netspec.compiler.elaborate.constant_loops import Outcomes
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.repeated_blocks import BlockOutcomes
from netspec.compiler.elaborate.values import UNKNOWN, Input, Result, Tensor, Tensors, Unknown
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import ParameterSpec
from netspec.compiler.ir.sizes import Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import NumberType
from netspec.compiler.torch_backend.naming import axis_names, safe_name
from netspec.compiler.torch_backend.symbolic_numbers import (
    SymbolicFloat,
    SymbolicInt,
    outside,
    plain,
    rename,
)
from netspec.diagnostics import Span
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.torch_backend.block_class import BlockClass


@record
class Made:
    """A layer of a body: its value, where it stands, and the attribute that holds it."""

    value: str
    span: Span
    attribute: str


@dataclass(eq=False)
class Ran:
    """What one run of a body did.

    Attributes:
        calls: the blocks that it called.
        unread: the calls of blocks that gave nothing that is read, by their paths.
        layers: its own layers, in the first build.
        unread_layers: where those stand that gave nothing that is read.
        names: the names that it gave to values, in the first build.
    """

    calls: list[BlockCall] = field(default_factory=list)
    unread: dict[str, Span] = field(default_factory=dict)
    layers: list[Made] = field(default_factory=list)
    unread_layers: set[Span] = field(default_factory=set)
    names: list[str] = field(default_factory=list)

    def cut(self, live: Set[str]) -> None:
        """Leave out what gives no value that something depends on."""
        self.unread_layers |= {layer.span for layer in self.layers if layer.value not in live}
        self.layers = [layer for layer in self.layers if layer.value in live]
        calls, self.calls = self.calls, []
        for call in calls:
            call.cut(live)
            # A block may return no more than its inputs.
            if {call.results[at] for at in call.kept} <= set(call.inputs.values()):
                self.unread[call.path] = call.span
            else:
                self.calls.append(call)

    def attributes(self) -> set[str]:
        """The attributes that hold its layers and blocks."""
        called = {call.path.partition(".")[0] for call in self.calls}
        return called | {layer.attribute for layer in self.layers}

    def all(self) -> list[Ran]:
        """The run, and those of the blocks within it."""
        return [self, *(ran for call in self.calls for ran in call.body.all())]


@dataclass(eq=False)
class BlockCall:
    """A call of a block.

    Attributes:
        block, module: the block.
        full_path: its path in the net.
        path: its path in the body that calls it.
        arguments: its arguments, by their names in the file, as plain numbers.
        given: those arguments of its class that are numbers, as its caller has them.
        inputs: the values of its inputs, by their names in the block.
        shapes, holds: the shapes of its inputs, and what these hold.
        results: the values that it returns.
        kept: which of them something depends on, by their places.
        body: what its body did.
    """

    block: syntax.Block
    module: Module
    full_path: str
    path: str
    span: Span
    arguments: dict[str, Any] = field(default_factory=dict)
    given: dict[str, int | float] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    holds: dict[str, NumberType] = field(default_factory=dict)
    results: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()
    body: Ran = field(default_factory=Ran)

    def cut(self, live: Set[str]) -> None:
        """Leave out what no value depends on."""
        self.body.cut(live)
        self.kept = tuple(at for at, value in enumerate(self.results) if value in live)
        self.inputs = {name: value for name, value in self.inputs.items() if value in live}

    def is_one_object(self, home: BlockClass, known: dict[str, list[Any]]) -> bool:
        """Whether the calls of a shared block so far need the same object.

        Args:
            home: the block's class.
            known: what the objects were made with, by their paths.
        """
        arguments = {safe_name(name): value for name, value in self.arguments.items()}
        arguments |= {name: plain(value) for name, value in self.given.items()}
        made = [home, *(arguments.get(symbol) for symbol in home.symbols)]
        return known.setdefault(self.path, made) == made

    def renamed(self, rename: Callable[[str], str]) -> BlockCall:
        """The same call with other names for values and layers."""
        return replace(
            self,
            full_path=rename(self.full_path),
            inputs={name: rename(value) for name, value in self.inputs.items()},
            results=tuple(map(rename, self.results)),
            body=Ran([call.renamed(rename) for call in self.body.calls]),
        )


@dataclass(eq=False)
class Known:
    """What bodies did that nothing follows, in all builds of a net.

    Attributes:
        loops: the loops over constants.
        blocks: the blocks.
        is_first: whether the net is built for the first time, and layers and names are noted.
    """

    loops: dict[syntax.For, Outcomes] = field(default_factory=dict)
    blocks: BlockOutcomes = field(default_factory=BlockOutcomes)
    is_first: bool = False


class CallWatcher(Follower):
    """Notes the calls of blocks in a body.

    Args:
        ran: what is noted.
        known: what need not be done again.
        prefix: the path of the body.
        is_sized: whether the sizes of what blocks within it return are said in its own numbers.
    """

    keeps_outcomes = True

    def __init__(self, ran: Ran, known: Known, prefix: str = "", *, is_sized: bool = False) -> None:
        self.ran = ran
        self.known_before = known
        self.prefix = prefix
        self.is_sized = is_sized

    def outcomes(self, loop: syntax.For, names: Sequence[str]) -> Outcomes:
        """Nothing is noted of a loop over constants but what it gives."""
        return self.known_before.loops.setdefault(loop, Outcomes())

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """Note a layer of the first build."""
        if self.known_before.is_first:
            attribute = self._local(path).partition(".")[0]
            self.ran.layers.append(Made(node.name, node.origin.span, attribute))

    def named(self, name: str, value: Tensor) -> None:
        """Note a name of the first build."""
        if self.known_before.is_first:
            self.ran.names.append(name)

    def fixing(self, values: Sequence[Constant | Unknown]) -> Sequence[Constant | Unknown]:
        """Constants that are written as numbers."""
        return tuple(map(plain, values))

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """Return what watches a block's body."""
        call = self.call(block, module, path)
        return (SizedBlock if self.is_sized else BlockWatcher)(call, self.known_before)

    def call(self, block: syntax.Block, module: Module, path: str) -> BlockCall:
        """A call of a block that begins."""
        return BlockCall(block, module, path, self._local(path), block.span)

    def inlining(self, block: syntax.Block, module: Module, span: Span) -> Follower:
        """Return what watches an inline block's body: its calls are those of this one."""
        return CallWatcher(self.ran, self.known_before, self.prefix, is_sized=self.is_sized)

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """Note the call."""
        assert isinstance(inner, BlockWatcher)
        results = result.items if isinstance(result, Tensors) else (result,)
        names = [value.name for value in results if isinstance(value, Tensor)]
        if len(names) < len(results) or not all(isinstance(v, Tensor) for v in inputs):
            return UNKNOWN
        call = inner.call_of
        call.span, call.results, call.kept = span, tuple(names), tuple(range(len(names)))
        self.ran.calls.append(call)
        return inner.outside(result)

    def _local(self, path: str) -> str:
        return path[len(self.prefix) + 1 :] if self.prefix else path


class BlockWatcher(CallWatcher):
    """Notes with what a block is called, and the blocks that it calls. Its body gets plain numbers."""

    def __init__(self, call: BlockCall, known: Known, *, is_sized: bool = False) -> None:
        super().__init__(call.body, known, call.full_path, is_sized=is_sized)
        self.call_of = call
        self.symbols = Symbols(call.block)

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """Note the arguments. Fractions may be initial values."""
        known = {name: value for name, value in values.items() if not isinstance(value, Unknown)}
        self.call_of.arguments = {name: plain(value) for name, value in known.items()}
        found: dict[str, Constant] = {}
        for name, value in known.items():
            own = rename(value, safe_name(name))
            if isinstance(own, (SymbolicInt, SymbolicFloat)):
                self.call_of.given[safe_name(name)] = cast(Any, value)
            found[name] = self._within(own)
        return found

    def input(self, name: str, value: Input) -> Input:
        """Note an input."""
        if not isinstance(value, Tensor):
            return value
        call, rank = self.call_of, len(value.shape)
        call.inputs[name], call.holds[name] = value.name, value.holds
        call.shapes[name] = cast(Shape, tuple(map(plain, value.shape)))
        dims = []
        for axis, size in enumerate(value.shape):
            if not isinstance(size, Size):
                own = self.symbols.size(name, axis, rank)
                call.given[own] = size
                size = self._within(rename(size, own))
            dims.append(size)
        return replace(value, shape=cast(Shape, tuple(dims)))

    def _within(self, own: Any) -> Any:
        """A number as the body gets it."""
        return own if isinstance(own, SymbolicFloat) else plain(own)

    def outside(self, result: Result) -> Result:
        """The result, its sizes in the caller's numbers."""
        if isinstance(result, Tensors):
            return Tensors(tuple(cast(Any, self.outside(item)) for item in result.items))
        if not isinstance(result, Tensor):
            return result
        return replace(result, shape=cast(Shape, tuple(map(self._size, result.shape))))

    def _size(self, size: Any) -> Any:
        if not isinstance(size, SymbolicInt):
            return size
        given = self.call_of.given
        here = {n: v.local if isinstance(v, SymbolicInt) else v for n, v in given.items()}
        own = size.local.at(cast(Any, here)) if isinstance(size.local, Size) else size.local
        outer = outside(size.outer, given)
        if isinstance(own, int) and isinstance(outer, int):
            return int(size)
        return SymbolicInt(int(size), own, outer)

    def block_outcomes(self) -> BlockOutcomes | None:
        """Nothing is noted of a body but the blocks that it calls."""
        return None if self.known_before.is_first else self.known_before.blocks

    def block_followed(self) -> tuple[BlockCall, ...]:
        """The blocks that the body called."""
        return tuple(call.renamed(str) for call in self.ran.calls)

    def block_repeated(self, followed: object, rename: Callable[[str], str]) -> None:
        """Note the blocks that the body calls."""
        self.ran.calls += [call.renamed(rename) for call in cast(tuple[BlockCall, ...], followed)]


class SizedBlock(BlockWatcher):
    """Watches a block whose body gets numbers of its own, in which the sizes of its results are said."""

    def __init__(self, call: BlockCall, known: Known) -> None:
        super().__init__(call, known, is_sized=True)

    def _within(self, own: Any) -> Any:
        return own


class Symbols:
    """What the arguments of a block's class are called that are no arguments of the block: the sizes of
    its inputs.
    """

    def __init__(self, block: syntax.Block) -> None:
        self.own = {safe_name(p.name.id): p.name.id for p in block.parameters}
        self._first = next((name.id for name in block.inputs), "")
        self._sizes: dict[tuple[str, int, int], str] = {}

    def size(self, name: str, axis: int, rank: int) -> str:
        """What the size of an input is called."""
        known = self._sizes.get((name, axis, rank))
        if known is None:
            word = axis_names(rank)[axis]
            known = safe_name(f"in_{word}" if name == self._first else f"{name}_{word}")
            while known in self.own or known in self._sizes.values():
                known += "_"
            self._sizes[name, axis, rank] = known
        return known
