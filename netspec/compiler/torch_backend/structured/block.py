"""The structure of a block: one class for all of its calls, recorded with each of them.

The block is built by itself for each call in the file, and with other values for its arguments. An
argument with which it does something else has only the values that occur in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from netspec.compiler.elaborate.body import Body
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.net_builder import Assembly, StopBuildingError
from netspec.compiler.elaborate.values import UNKNOWN, Input, Result, Tensor
from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.long_lists import OfLongLists
from netspec.compiler.ir.sizes import Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.passes.eliminate_dead import eliminate_dead
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import NumberType
from netspec.compiler.torch_backend.docstrings import plain_text
from netspec.compiler.torch_backend.naming import quote, safe_name
from netspec.compiler.torch_backend.python_constants import python_name
from netspec.compiler.torch_backend.python_layout import INDENT, Doc, Group, statement
from netspec.compiler.torch_backend.structured.calls import BlockCall, Ran, Symbols
from netspec.compiler.torch_backend.structured.cases import is_met, unmet_names, without_unmet
from netspec.compiler.torch_backend.structured.constructor import (
    Constructor,
    Counted,
    buffer_lines,
    constant_text,
    default_values,
)
from netspec.compiler.torch_backend.structured.flow import chain_end, nested, steps_in
from netspec.compiler.torch_backend.structured.follower import (
    Carried,
    Places,
    RestartError,
    Results,
    StraightFollower,
    StructureFollower,
)
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.kinds import kind_of
from netspec.compiler.torch_backend.structured.layout import Placement
from netspec.compiler.torch_backend.structured.liveness import mark_unread
from netspec.compiler.torch_backend.structured.module import ModuleText, forward_head
from netspec.compiler.torch_backend.structured.other_values import (
    other_words,
    others_in_block,
    words_asked,
)
from netspec.compiler.torch_backend.structured.recording import Recording
from netspec.compiler.torch_backend.structured.structure import (
    Bind,
    Let,
    NotStructuredError,
    Placed,
    Recorder,
    Refuse,
    Return,
    Suite,
)
from netspec.compiler.torch_backend.structured.trial import FirstError
from netspec.compiler.torch_backend.symbolic_numbers import SymbolicInt, plain
from netspec.diagnostics import Span
from netspec.records import record

# So many other values of an argument are enough, and so many starts over.
_ENOUGH, _STARTS = 2, 12
# What a constructor of a chain has that makes its modules as arguments of `nn.Sequential`'s.
_IN_CHAINS = (Placed, Bind, Let, Refuse, Return)

_Used = tuple[tuple[str, ...], tuple[int, ...]]
Arguments = dict[str, Any]
Shapes = dict[str, tuple[Any, ...]]


class _Outside(Follower):
    """The body around a single call of a block."""

    def __init__(self, follower: StructureFollower) -> None:
        self.follower = follower

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """Let the follower follow the block."""
        return self.follower

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """The block has returned."""
        self.follower.returned(result)
        return result


@record
class _Call:
    """A call of the block: its arguments, and by their names the shapes of its inputs, and what these
    hold. Of inputs and results those are `used` that the net needs.
    """

    arguments: Arguments
    shapes: Shapes
    holds: Mapping[str, NumberType]
    used: _Used

    @property
    def use(self) -> str:
        """What it gives, by which calls of one class are told apart."""
        given = {name: _shown(value) for name, value in self.arguments.items()}
        return repr((given, self.shapes, self.holds))

    @property
    def key(self) -> str:
        """What tells calls apart."""
        return repr((self.use, self.used))


_TEXTS: OfLongLists[str] = OfLongLists()


def _shown(value: Any) -> str:
    """The text of an argument, which may be a table of thousands of numbers."""
    known = _TEXTS.get(value)
    if known is not None:
        return known
    return _TEXTS.keep(value, repr(value)) if isinstance(value, tuple) else repr(value)


class _Symbols:
    """The arguments of a block's class: those of the block, and the sizes of its inputs."""

    def __init__(self, block: syntax.Block) -> None:
        self._symbols = Symbols(block)
        self.own = self._symbols.own
        self.size = self._symbols.size

    def named(self, name: str, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """A shape whose sizes are arguments."""
        return tuple(
            dim
            if isinstance(dim, Size)
            else SymbolicInt(dim, cast(Any, Size.named(self.size(name, axis, len(shape)))), dim)
            for axis, dim in enumerate(shape)
        )

    def all(self, calls: Sequence[_Call]) -> list[str]:
        """The sizes of inputs, and the arguments."""
        found: dict[str, None] = {}
        for call in calls:
            for name, shape in call.shapes.items():
                for axis, dim in enumerate(shape):
                    if not isinstance(dim, Size):
                        found[self.size(name, axis, len(shape))] = None
        return list(found | dict.fromkeys(self.own))

    def value(self, call: _Call, symbol: str) -> Any:
        """What an argument is in a call; None if it is nothing there."""
        place = self._place(call, symbol)
        if place is not None:
            return call.shapes[place[0]][place[1]]
        value = call.arguments.get(self.own.get(symbol, ""))
        return None if value is None else plain(value)

    def changed(self, call: _Call, symbol: str, value: Any) -> _Call:
        """The call with another value for an argument."""
        place = self._place(call, symbol)
        if place is not None:
            name, axis = place
            shape = call.shapes[name]
            other = (*shape[:axis], value, *shape[axis + 1 :])
            return replace(call, shapes={**call.shapes, name: other})
        name = self.own.get(symbol, "")
        known = {name: value} if name in call.arguments else {}
        return replace(call, arguments={**call.arguments, **known})

    def _place(self, call: _Call, symbol: str) -> tuple[str, int] | None:
        if symbol in self.own:
            return None
        for name, shape in call.shapes.items():
            for axis in range(len(shape)):
                if self.size(name, axis, len(shape)) == symbol:
                    return name, axis
        return None


@dataclass
class Trials:
    """How many layers may still be built to try other values of arguments, of all blocks of a net.

    Where there are none left, an argument has the values that occur in the file.
    """

    left: int = 2_000

    def take(self, layers: int) -> bool:
        """Whether so many may be built."""
        self.left -= layers
        return self.left >= 0


class StructuredBlock:
    """Records a block, and writes its class.

    Args:
        calls: the calls of the block in the file.
        views: the layers that must be correct for views with permuted axes.
        homes: the classes of the blocks that it calls.
        trials: what may still be tried.
        is_flat: whether it is written one layer after another, not as in the file.

    Raises:
        NotStructuredError: if there is no such class.
    """

    def __init__(
        self,
        calls: Sequence[BlockCall],
        homes: Homes,
        views: Set[Span],
        trials: Trials,
        *,
        is_flat: bool = False,
    ) -> None:
        self.block, self.module, self.views = calls[0].block, calls[0].module, views
        self.homes, self.trials, self.is_flat = homes, trials, is_flat
        self.calls = list({each.key: each for each in map(_call_of, calls)}.values())
        self.kept = calls[0].kept
        if any(call.kept != self.kept for call in calls):
            raise NotStructuredError
        # What nothing computes in some call is not needed in any.
        self.taken_inputs = [
            name for name in calls[0].inputs if all(name in call.inputs for call in calls)
        ]
        self.names = _Symbols(self.block)
        self.symbols = self.names.all(self.calls)
        self.places = Places(self.block, self.module)
        if is_flat:
            self.places.names |= set(map(safe_name, self.places.names))
        else:
            self._require_plain_names()
        self.inputs = list(map(safe_name, self.taken_inputs))
        self.called = homes.classes([call.body for call in calls], by_path=is_flat)
        self.places.names |= set(self.symbols)
        modules = set[str]().union(*(call.body.attributes() for call in calls))
        self.attributes = Kept(self.symbols, modules)
        self.results = len(self.kept)
        self.sizes = Results()
        self.known: dict[str, list[Any]] = {}
        self.runs: list[list[Placement]] = []
        self.either = {name for name in self.names.own if self.lengths(name)}
        self.accepted: set[str] = set()
        self.values: dict[str, set[str]] = {}
        # The calls with which recordings began again.
        self.hard: list[_Call] = []
        self.carried = Carried(branches=False)
        try:
            self._record()
        except NotStructuredError:
            if is_flat:
                raise
            self.carried = Carried()
            self._record()

    def lengths(self, symbol: str) -> set[int]:
        """How long an argument is in the calls, one that is a number in some of them; else empty.

        A number has length 0.
        """
        values = [self.names.value(call, symbol) for call in self.calls]
        kinds = {type(value) for value in values}
        lengths = {len(value) if isinstance(value, tuple) else 0 for value in values}
        return lengths if kinds == {int, tuple} else set()

    def _require_plain_names(self) -> None:
        """Check that what the file names has these names in Python."""
        names = [name.id for name in self.block.inputs]
        parameters = [parameter.name.id for parameter in self.block.parameters]
        if any(python_name(name) != safe_name(name) for name in (*names, *parameters)):
            raise NotStructuredError
        if not self.places.names.isdisjoint(s for s in self.symbols if s not in parameters):
            raise NotStructuredError

    # -- recording

    def _record(self) -> None:
        for _ in range(_STARTS):
            self.recorder = Recorder(is_strict=self.is_flat)
            self.known.clear()
            self.runs.clear()
            try:
                for call in self.calls:
                    if not self._run(call):
                        raise NotStructuredError
                # What it writes must hold for other values too.
                text = self._written(is_checked=self.is_flat)
                self.layout = text.layout
                self._try_hard()
                self._try_others(text.needed)
                self.put_back = without_unmet(self.recorder.root, self.fixed())
                self.text = self._written()
                self.layout = self.text.layout
            except RestartError:
                continue
            self.accepted, self.values = set(), {}
            for call in self.calls:
                self._accept(call)
            return
        raise NotStructuredError

    def _run(self, call: _Call, *, is_trial: bool = False) -> bool:
        """Build the block. Return whether it can be built."""
        self.recorder.begin(is_trial=is_trial)
        follower = self._follower()
        sink = FirstError()
        assembly = Assembly(sink, as_written=False)
        body = Body(assembly, self.module, follower=_Outside(follower))
        inputs = []
        for name in self.block.inputs:
            shape = self.names.named(name.id, call.shapes[name.id])
            own = f"input {name.id}"  # no layer has such a name
            assembly.add_input(own, cast(Any, shape))
            inputs.append(Tensor(own, cast(Any, shape), name.span, call.holds[name.id]))
        result: Result = UNKNOWN
        spans = (self.block.name.span, self.block.name.span)
        try:
            result = body.blocks.call(
                self.block, self.module, call.arguments, inputs, spans, "", ""
            )
        except (StopBuildingError, RecursionError):
            return False
        except (NotStructuredError, RestartError):
            if sink.errors or assembly.failed:  # after an error anything can follow
                return False
            raise
        if result is UNKNOWN or sink.errors or assembly.failed:
            return False
        graph = eliminate_dead(self._graph(assembly, follower.run.given_back))
        live = {*graph.by_name, *graph.inputs}
        self.runs.append(follower.run.placements(live))
        if self.is_flat:
            self._require_classes(follower.run.calls.ran, live)
        return True

    def _follower(self) -> StructureFollower:
        run = Recording(
            self.recorder, self.homes, self.views, self.attributes, self.called,
            self.kept,
        )  # fmt: skip
        if self.is_flat:
            return StraightFollower(run, self.places)
        return StructureFollower(run, self.carried, self.places, self.sizes, self.either)

    def _graph(self, assembly: Assembly, results: Sequence[str]) -> Graph:
        outputs = {str(at): name for at, name in enumerate(results)}
        return Graph(
            self.block.name.id, dict(assembly.inputs), tuple(assembly.nodes), outputs,
            dict(assembly.parameters),
        )  # fmt: skip

    def _require_classes(self, ran: Ran, live: Set[str]) -> None:
        """Check that the classes of blocks that are called do what the calls do."""
        ran.cut(live)
        for call in ran.calls:
            home = self.called.of(call.block, call.span, call.path)
            if home is None:
                raise NotStructuredError
            home.structure.require(call)

    # -- other arguments

    def _try_others(self, needed: Set[str]) -> None:
        base = self.calls[0]
        own = set(self.names.own)
        held: dict[str, bool | None] = dict.fromkeys(self.symbols, True)
        # Sizes that nothing reads come last: they may lead to other cases.
        for symbol in sorted(self.symbols, key=lambda s: s not in needed | own):
            if symbol in needed | own or not is_met(self.recorder.root):
                held[symbol] = self._holds(base, (symbol,))
        for symbol in (s for s in self.symbols if held[s] is None):
            # The features of an input that is added to a result are as many as an argument says.
            size = self.names.value(base, symbol)
            alike = tuple(s for s in self.symbols if self.names.value(base, s) == size)
            if type(size) is int and len(alike) > 1:
                held[symbol] = self._holds(base, alike)
        together = tuple(symbol for symbol in self.symbols if held[symbol] is None)
        if together:
            held |= dict.fromkeys(together, self._holds(base, together))
        # No value that was tried shows the other case of these, so that it cannot be written.
        unmet = unmet_names(self.recorder.root)
        for symbol in self.symbols:
            values = [self.names.value(call, symbol) for call in self.calls]
            found = list({_shown(value): value for value in values}.values())
            # What cannot be tried by itself is known by the calls in the file, if they differ.
            is_every = len(found) == 2 and all(isinstance(value, bool) for value in found)
            if (held[symbol] is False and not is_every) or (
                len(found) == 1 and (held[symbol] is None or symbol in unmet)
            ):
                self.known[symbol] = found

    def _holds(self, base: _Call, symbols: tuple[str, ...]) -> bool | None:
        """Whether the statements hold for other values; None if with none of them it builds."""
        held = 0
        enough = 1 if all(map(self._differs, symbols)) else _ENOUGH
        for other in self._others(base, symbols):
            if not self.trials.take(1 + len(self.runs[0])):
                return False
            try:
                held += self._tried(other)
            except NotStructuredError:
                return False
            if held >= enough and not self._may_show_more(symbols):
                return True
        return True if held else None

    def _may_show_more(self, symbols: Sequence[str]) -> bool:
        """Whether other values of these arguments may lead to a case that was not met."""
        if is_met(self.recorder.root):
            return False
        unmet = unmet_names(self.recorder.root)
        # Other names are made of arguments.
        return not unmet <= set(self.symbols) or not unmet.isdisjoint(symbols)

    def _tried(self, other: _Call) -> bool:
        """Whether the block can be built so. What does not hold is forgotten.

        Raises:
            NotStructuredError: if the statements do not hold.
            RestartError: if more must be carried.
        """
        kept = len(self.runs)
        try:
            is_built = self._run(other, is_trial=True)
            if is_built:
                self._require_written()
            else:
                self.recorder.forget()
        except NotStructuredError:
            self.recorder.forget()
            del self.runs[kept:]
            raise
        except RestartError:
            self.hard.append(other)
            raise
        return is_built

    def _try_hard(self) -> None:
        """Run what made recordings begin again, for it is likely to do so once more."""
        for other in self.hard:
            with suppress(NotStructuredError):
                self._tried(other)

    def fixed(self) -> set[str]:
        """The arguments that have one value, with which the class was made."""
        return {symbol for symbol, values in self.known.items() if len(values) == 1}

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The words that the file asks for."""
        return words_asked(self.module)

    def _others(self, base: _Call, symbols: Sequence[str]) -> Iterator[_Call]:
        """The call with other values for arguments."""
        values = [self.names.value(base, symbol) for symbol in symbols]
        each = (
            other_words(v, self.words) if isinstance(v, str) else others_in_block(v) for v in values
        )
        for others in zip(*each, strict=False):
            pairs = zip(values, others, strict=True)
            if any(_shown(value) == _shown(other) for value, other in pairs):
                continue
            call = base
            for symbol, other in zip(symbols, others, strict=True):
                call = self.names.changed(call, symbol, other)
            yield call

    def _differs(self, symbol: str) -> bool:
        """Whether calls in the file have different values for an argument."""
        return len({_shown(self.names.value(call, symbol)) for call in self.calls}) > 1

    def require(self, given: BlockCall) -> None:
        """Check that the class does what this call does.

        Raises:
            NotStructuredError: if it does not.
        """
        call = _call_of(given)
        if call.used[1] != self.kept or not set(self.taken_inputs) <= set(call.used[0]):
            raise NotStructuredError
        if call.use in self.accepted or self._has_known_values(call):
            return
        for symbol, values in self.known.items():
            if self.names.value(call, symbol) not in values:
                raise NotStructuredError
        self.put_back()
        try:
            self._require_recorded(call)
        finally:
            self.put_back = without_unmet(self.recorder.root, self.fixed())
        self._accept(call)

    def _require_recorded(self, call: _Call) -> None:
        kept = len(self.runs)
        try:
            if not self._run(call, is_trial=True):
                raise NotStructuredError
            self._require_written()
        except (NotStructuredError, RestartError):
            # The class is still that of the calls before.
            self.recorder.forget()
            del self.runs[kept:]
            raise NotStructuredError from None

    def _accept(self, call: _Call) -> None:
        """The class does what this call does."""
        self.accepted.add(call.use)
        for symbol, value in self._read_values(call):
            self.values.setdefault(symbol, set()).add(value)

    def _has_known_values(self, call: _Call) -> bool:
        """Whether each argument has a value that some call before had, if not all in one call.

        Statements are the same for all arguments, and their cases have been met. So it is values that
        show whether an expression is the right one.
        """
        if self.is_flat:
            return False
        read = self._read_values(call)
        return all(value in self.values.get(symbol, ()) for symbol, value in read)

    def _read_values(self, call: _Call) -> list[tuple[str, str]]:
        """What a call gives: arguments, sizes, and what its inputs are."""
        inputs = [
            (name, repr((len(shape), call.holds.get(name)))) for name, shape in call.shapes.items()
        ]
        return [
            *inputs,
            *((symbol, _shown(self.names.value(call, symbol))) for symbol in self.symbols),
        ]

    def _require_written(self) -> None:
        """Check that what is written also says what the last run did."""
        self.recorder.require_said(written=True)
        if self.is_flat:
            return
        if self.recorder.has_grown:  # what is read, and where modules lie, may be another now
            self.layout = self._written(is_checked=False).layout
        self.layout.check(self.runs[-1])

    # -- the class

    def _written(self, *, is_checked: bool = True) -> _Written:
        body = nested(self.recorder.root)
        taken = set(self.taken_inputs)
        mark_unread(body, [n.id for n in self.block.inputs if n.id not in taken])
        start = frozenset(self.inputs[:1])
        labelled = [s.label for s in steps_in(body) if isinstance(s, Placed) and s.label]
        is_chain = (
            len(self.inputs) == 1
            and bool(labelled)
            and all(label[0][:1] in "0123456789{" for label in labelled)
            and chain_end(body.steps or (), start) is not None
        )
        module = ModuleText(
            body,
            self.places.names,
            self.attributes,
            set(self.symbols),
            self.inputs,
            is_chain=is_chain,
        )
        for placements in self.runs:
            if not self.is_flat:
                module.layout.check(placements)
        return _Written(self, module, is_checked=is_checked)

    def class_lines(
        self, error: str, functional: str, sequence: str, starts: Mapping[Placed, Sequence[Doc]]
    ) -> list[str]:
        """All of the class but its head and its docstring; `starts` set initial values of layers."""
        self.text = self._written(is_checked=False)
        return self.text.lines(error, functional, sequence, starts)

    def place_of(self, path: str) -> Placed | None:
        """The only layer that makes a parameter, by its path in all objects of the class."""
        counted = Counted(self.text.body, self.text.layout)
        for step in steps_in(self.text.body):
            if not isinstance(step, Placed) or not step.held or step.again:
                continue
            name = ".".join(step.label or ())
            if step.label is None and not counted.is_counted(step):
                name = counted.names.get(step, "")
            if name and "{" not in name and f"{path}.".startswith(f"{name}."):
                return step
        return None

    def facts(self) -> list[str]:
        """What the docstring says of the arguments that the class does not honour."""
        lines = []
        own = self.names.own
        needed = {s: v for s, v in self.known.items() if s in self.text.needed or s in own}
        fixed = {s: values[0] for s, values in needed.items() if len(values) == 1}
        if fixed:
            lines += ["", "Fixed when this was generated, for the layers depend on them:"]
            lines += [f"{INDENT}{s} = {plain_text(show(value))}" for s, value in fixed.items()]
        bounded = {s: values for s, values in needed.items() if len(values) > 1}
        if bounded:
            lines += ["", "The layers depend on these, so they have no other values:"]
            for symbol, values in bounded.items():
                shown = " or ".join(plain_text(show(value)) for value in values)
                lines.append(f"{INDENT}{symbol} = {shown}")
        return lines

    @cached_property
    def lists(self) -> set[str]:
        """The parameters, buffers and constants whose lists of numbers the constructor has."""
        arrays = (s for s in steps_in(self.recorder.root) if isinstance(s, Placed) and s.is_array)
        return {s.label[0] for s in arrays if s.label and s.numbers is not None}

    @property
    def taken(self) -> list[str]:
        """The arguments of the class."""
        needed = self.text.needed
        fixed = self.fixed()
        return [symbol for symbol in self.symbols if symbol in needed and symbol not in fixed]


class _Written:
    """The text of a block's class, with the statements as they are now."""

    def __init__(self, of: StructuredBlock, module: ModuleText, *, is_checked: bool) -> None:
        self.of = of
        self.module = module
        self.is_chain = module.is_chain
        self.layout = module.layout
        self.body = module.body
        self.attributes = module.attributes
        self.arguments = {module.kept.argument(name) for name in module.attributes}
        self.needed = self._constructor("ValueError").needed
        if is_checked:
            self.lines("ValueError", "F", "Sequence")

    def _constructor(
        self, error: str, starts: Mapping[Placed, Sequence[Doc]] | None = None
    ) -> Constructor:
        return Constructor(
            self.body,
            self.layout,
            error,
            self.arguments,
            self.module.flags,
            starts=starts,
            arguments=self.of.symbols,
        )

    def lines(
        self,
        error: str,
        functional: str,
        sequence: str,
        starts: Mapping[Placed, Sequence[Doc]] | None = None,
    ) -> list[str]:
        """The constructor, and `forward`."""
        writer = self._constructor(error, starts)
        lines = [*self._signature(sequence)]
        before = [*self._fixed(error)]
        if self.is_chain and all(isinstance(s, _IN_CHAINS) for s in self._steps()):
            lets = Suite([s for s in self._steps() if isinstance(s, (Let, Refuse))])
            variables, modules = writer.chain(self._steps(), "super().__init__(")
            before += [
                *Constructor(lets, self.layout, error, writer.needed, {}).lines(),
                *variables,
            ]
            return [*lines, *before, *statement(modules, 2), *writer.started(self._steps(), 2)]
        lines += [f"{INDENT * 2}super().__init__()", *before]
        lines += self.module.kept_lines()
        lines += writer.lines()
        if self.is_chain:
            return lines
        # A constructor that does no more than that of `nn.Module` is left out.
        made = [*buffer_lines(self.body), *lines, ""] if len(lines) > 2 else []
        head = forward_head(self.of.inputs, self.of.results)
        return [*made, *head, *self.module.forward(functional).lines()]

    def _steps(self) -> list[Any]:
        return list(self.body.steps or ())

    def _taken(self) -> list[str]:
        fixed = self.of.fixed()
        return [s for s in self.of.symbols if s in self.needed and s not in fixed]

    def _signature(self, sequence: str) -> list[str]:
        items: list[Doc] = ["self"]
        taken = self._taken()
        defaults = default_values(self.of.block, taken)
        for symbol in taken:
            values = [self.of.names.value(call, symbol) for call in self.of.calls]
            kinds = {type(v) for v in values}
            value = next((v for v in values if isinstance(v, float)), values[0])
            if type(None) in kinds:
                raise NotStructuredError
            default = f" = {constant_text(defaults[symbol])}" if symbol in defaults else ""
            kind = kind_of(value, sequence)
            if symbol in self.of.either:
                _, *lengths = sorted(self.of.lengths(symbol))
                kind = " | ".join(["int", *(f"tuple[{', '.join(['int'] * n)}]" for n in lengths)])
            items.append(f"{symbol}: {kind}{default}")
        return statement(Group("def __init__(", tuple(items), ") -> None"), 1, after=":")

    def _fixed(self, error: str) -> list[str]:
        """The values of arguments that the class does not take, and checks of the others."""
        lines: list[str] = []
        for symbol, values in self.of.known.items():
            if symbol not in self.needed:
                continue
            if len(values) == 1:
                lines += statement(f"{symbol} = {constant_text(values[0])}", 2)
                continue
            found: tuple[Doc, ...] = tuple(map(constant_text, values))
            lines += statement(Group(f"if {symbol} not in (", found, ")"), 2, after=":")
            message = quote(f"made for other values of {symbol}")
            lines += statement(Group(f"raise {error}(", (message,)), 3)
        return lines


# -------------------------------------------------------------------------------- calls and symbols


def _call_of(call: BlockCall) -> _Call:
    used = tuple(call.inputs), call.kept
    return _Call(call.arguments, dict(call.shapes), dict(call.holds), used)
