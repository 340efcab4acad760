"""Follows the body of a net or a block while it is built, and records its structure.

The building is the ordinary one. Every number carries two Python expressions: one for the constructor,
and one for `forward`, where sizes are read from the tensors. They are a name for what has a name in the
file, the file's own expression for what functions and powers compute, and a formula where sizes are
made of these. The turns of a loop must record the same, and so must runs with other arguments; what
changes from turn to turn is carried by a name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

from netspec.compiler.elaborate.constant_loops import Outcomes, given_in
from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.names import SPLIT, Names
from netspec.compiler.elaborate.values import (
    Evaluate,
    Input,
    Result,
    SharedLayer,
    Tensor,
    TensorList,
    Tensors,
    Unknown,
    Value,
)
from netspec.compiler.ir import initializers
from netspec.compiler.ir.constants import FUNCTIONS, Constant
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.net_facts import NET_FACTS
from netspec.compiler.ir.op import Op, ParameterSpec, Torch, X
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.local_sizes import Extents, Symbol, local
from netspec.compiler.torch_backend.naming import axis_names, number, safe_name
from netspec.compiler.torch_backend.python_constants import (
    MOST_IN_A_ROW,
    PythonConstants,
    bracketed,
    names_of,
    no_value,
    python_name,
    words_in,
)
from netspec.compiler.torch_backend.python_layout import unbracketed
from netspec.compiler.torch_backend.structured.calls import BlockCall, SizedBlock
from netspec.compiler.torch_backend.structured.homes import several_objects
from netspec.compiler.torch_backend.structured.kinds import kind_of
from netspec.compiler.torch_backend.structured.liveness import NOWHERE
from netspec.compiler.torch_backend.structured.numbers import History
from netspec.compiler.torch_backend.structured.recording import Recording, names_of_values
from netspec.compiler.torch_backend.structured.structure import (
    UNSAID,
    Bind,
    Block,
    Branch,
    Carry,
    Gather,
    Let,
    Loop,
    NotStructuredError,
    Number,
    Placed,
    Read,
    Refuse,
    Return,
    Source,
    Step,
    Suite,
)
from netspec.compiler.torch_backend.symbolic_numbers import (
    SymbolicFloat,
    SymbolicInt,
    local_of,
    plain,
)
from netspec.diagnostics import Span
from netspec.records import record
from netspec.text.snake_case import snake_case

# The items of longer lists are values, such as positions, and no sizes of layers.
_FOLLOWED = 256
# So many items of lists are followed in one body.
_FOLLOWED_IN_ALL = 30_000

At = tuple[Span, ...]
"""A statement, behind the calls of the inline blocks that it is in."""

Axis = tuple[str, int]
"""A name of the file for a value, and an axis of it."""


class RestartError(Exception):
    """More is known now of what must be carried: the recording begins again."""


@dataclass
class Carried:
    """Which sizes change: by the loop or condition, the axes.

    `unknown` are those that no expression says; they are no size that a layer may depend on. `made` says
    what the sizes of values are to which the case of a condition first gave a name.
    `branches` says whether conditions hand sizes on too: else what follows says them for all cases.
    """

    branches: bool = True

    axes: dict[At, set[Axis]] = field(default_factory=dict)
    unknown: set[tuple[At, str, int]] = field(default_factory=set)
    made: dict[tuple[At, str, int], str] = field(default_factory=dict)
    names: dict[Axis, str] = field(default_factory=dict)

    def state(self) -> tuple[dict[At, set[Axis]], set[tuple[At, str, int]]]:
        """What `restore` goes back to."""
        return {at: set(axes) for at, axes in self.axes.items()}, set(self.unknown)

    def restore(self, state: tuple[dict[At, set[Axis]], set[tuple[At, str, int]]]) -> None:
        """Forget what was found since."""
        self.axes, self.unknown = state

    def name(self, place: Axis, rank: int, taken: Set[str]) -> str:
        """The name that carries an axis of what a name of the file stands for."""
        known = self.names.get(place)
        if known is None:
            word = axis_names(rank)[place[1]]
            known = f"in_{word}"
            if known in {*taken, *self.names.values()}:
                known = f"{place[0]}_{word}"
            while known in {*taken, *self.names.values()}:
                known += "_"
            self.names[place] = known
        return known


@dataclass
class Results:
    """What the sizes of blocks' results are made of: an expression that holds for all calls so far.

    A block may return `x + y` here, and `y` there, of the same sizes.
    """

    chosen: dict[tuple[syntax.Block, int, int], Dim] = field(default_factory=dict)
    seen: dict[tuple[syntax.Block, int, int], list[tuple[Mapping[str, int], int]]] = field(
        default_factory=dict
    )

    def size(
        self, place: tuple[syntax.Block, int, int], size: Any, numbers: Mapping[str, int]
    ) -> Any:
        """The size of an axis of a result, in the arguments of the block.

        Raises:
            RestartError: if what was chosen for the calls before does not hold for this one.
        """
        if not isinstance(size, int):
            return size
        mine: Dim = size.local if isinstance(size, SymbolicInt) else int(size)
        seen = self.seen.setdefault(place, [])
        seen.append((numbers, int(size)))
        known = self.chosen.setdefault(place, mine)
        if _at(known, numbers) == int(size):
            return (
                SymbolicInt(int(size), known, _outer(size))
                if isinstance(known, Size)
                else int(size)
            )
        if all(_at(mine, at) == number for at, number in seen):
            self.chosen[place] = mine
            raise RestartError
        return size


def _at(size: Dim, numbers: Mapping[str, Any]) -> Dim:
    return size.at(numbers) if isinstance(size, Size) else size


class Places:
    """Where things stand in a body's syntax; nothing does in a body that has none."""

    def __init__(
        self, net: syntax.Net | syntax.Block | None = None, module: Module | None = None
    ) -> None:
        self.stages: dict[Span, syntax.Stage] = {}
        self.declared: dict[Span, syntax.Declared] = {}
        self.calls: dict[Span, syntax.Call] = {}
        self.shares = False
        self.given: dict[Span, syntax.Expr] = {}
        self.whole: set[int] = set()
        self.names: set[str] = set()
        self.decides_layers: set[Span] = set()
        self.conditionals: dict[Span, syntax.Conditional] = {}
        self.texts: dict[object, str] = {}
        self._body: Sequence[syntax.Statement] = ()
        self._names: dict[int, tuple[str, ...] | None] = {}
        self._inner: dict[syntax.Block, Places] = {}
        self._variables: dict[tuple[syntax.Block, str], str] = {}
        if net is not None and module is not None:
            self._read(net, module)

    def _read(self, net: syntax.Net | syntax.Block, module: Module) -> None:
        self.names |= {parameter.name.id for parameter in net.parameters}
        self._body = net.body
        for part in syntax.parts(net.body):
            if isinstance(part, syntax.Stage):
                self.stages[part.span] = part
                self.calls[part.span] = part.call
            elif isinstance(part, syntax.Layer):
                self.shares = True
            elif isinstance(part, syntax.Declared):
                self.declared[part.span] = part
            elif isinstance(part, syntax.Name):
                self.names.add(part.id)
            elif isinstance(part, syntax.Call) and _is_layer(part, module):
                self.calls.setdefault(part.span, part)
                for argument in part.arguments:
                    self.given[argument.value.span] = argument.value
                    self.whole.add(id(argument.value))
            if isinstance(part, syntax.Conditional):
                self.conditionals[part.span] = part
            if isinstance(part, syntax.If) or (
                isinstance(part, syntax.Conditional)
                and any(
                    isinstance(p, syntax.Call) and _is_layer(p, module) for p in syntax.parts(part)
                )
            ):
                self.decides_layers.add(part.span)

    @cached_property
    def grown(self) -> set[str]:
        """The names of what may be lists that get longer: they are given sums."""
        sums = (p for p in syntax.parts(self._body) if isinstance(p, syntax.Assign))
        return {t.id for p in sums if isinstance(p.value, syntax.Chain) for t in p.targets}

    def inner(self, block: syntax.Block, module: Module) -> Places:
        """Where things stand in an inline block."""
        if block not in self._inner:
            self._inner[block] = Places(block, module)
        return self._inner[block]

    def variable(self, block: syntax.Block, name: str) -> str:
        """What a name of an inline block is called among those of the body around it."""
        known = self._variables.get((block, name))
        if known is None:
            known, number = python_name(name), 1
            while known in self.names:
                number += 1
                known = f"{python_name(name)}{number}"
            self.names.add(known)
            self._variables[block, name] = known
        return known

    def names_alone(self, expr: syntax.Expr) -> tuple[str, ...] | None:
        """The names of an expression whose text depends on nothing else; None if it may."""
        if id(expr) not in self._names:
            parts = list(syntax.parts(expr, syntax.NAMING))
            is_whole = any(isinstance(part, syntax.Access) for part in parts)
            names = {part.id for part in parts if isinstance(part, syntax.Name)}
            self._names[id(expr)] = None if is_whole else tuple(sorted(names))
        return self._names[id(expr)]


def _is_layer(call: syntax.Call, module: Module) -> bool:
    name = call.callee.id
    return name in module.blocks or (name not in FUNCTIONS and name not in initializers.RULES)


@record
class Surroundings:
    """The body that contains an expression: its names, and the function that evaluates it."""

    names: Names
    evaluate: Evaluate


@dataclass
class _Inlined:
    """An inline block whose statements are written into those of the body around it.

    Attributes:
        block: the block.
        call: the call of it.
        body, python, later, places: those of the body around it.
        names: the Python names of its values, and of constants that it makes.
        given: its arguments as the constructor and as `forward` writes them, by their names.
    """

    block: syntax.Block
    call: Span
    body: Surroundings
    python: PythonConstants
    later: PythonConstants
    places: Places
    names: dict[str, str] = field(default_factory=dict)
    given: dict[str, tuple[str, str]] = field(default_factory=dict)


@record
class _Followed:
    """What else a loop over constants did, once its statements were recorded.

    Attributes:
        names: the Python names to which it may give something.
        own: those of them that the body made itself.
        numbers: what names and expressions stand for after it.
        types: the lists that began without items, as statements, with the types of their items.
        empty: those of them that its names began as.
        counts: the constructor's lists of how many channels there are, by the names of empty lists.
        count: how many items of lists were followed.
    """

    names: frozenset[str]
    own: frozenset[str]
    numbers: Mapping[str, Any]
    types: tuple[tuple[Let, str], ...]
    empty: Mapping[str, Step]
    counts: Mapping[str, str]
    count: int


@record
class _Before:
    """What is known in front of a loop over constants.

    Attributes:
        count: how many items of lists were followed.
        empty: the lists without items, by their names.
        made: which of the loop's names the body has made.
    """

    count: int
    empty: Mapping[str, Step]
    made: frozenset[str]


@dataclass
class _Opened:
    """A loop, or the case of a condition, that the body is in."""

    span: Span
    step: Loop | Branch
    case: int
    before: dict[str, list[str]]
    made: dict[str, list[Source]]


class StructureFollower(Follower):
    """Records one run.

    Args:
        run: what is recorded of it.
        carried: what is known of sizes that change.
        places: where things stand in the body.
        results: what the sizes of blocks' results are made of.
        either: the arguments that are a number in some calls and a list in others.
    """

    keeps_outcomes = True
    skips_turns = True

    def __init__(
        self,
        run: Recording,
        carried: Carried,
        places: Places,
        results: Results,
        either: Set[str] = frozenset(),
    ) -> None:
        self.either = either
        self.run = run
        self.carried = carried
        self.places = places
        self.results = results
        self.numbers = History()
        self.inner: dict[str, Any] = {}
        self.shapes: dict[str, list[Any]] = {}
        # The words of all sizes that there ever were: most names are in none.
        self._size_words: set[str] = set()
        # The axes of values whose sizes are made of words that stand for something else by now.
        self._stale: dict[str, set[int]] = {}
        self._objects: dict[str, list[Any]] = {}
        self._own: set[str] = set()
        # Names that stand for what the constructor cannot say.
        self._untold: set[str] = set()
        self._empty: dict[str, Step] = {}
        self._before_loop = _Before(0, {}, frozenset())
        self._holds: dict[str, str] = {}
        self._made: dict[str, list[Source]] = {}
        self._turns: list[int] = []
        self._inlined: list[_Inlined] = []
        # The names of lists of values.
        self._lists: set[str] = set()
        # How many channels or features the values in lists have: the constructor's names for that.
        self._counts: dict[str, str] = {}
        self._followed = 0
        self._opened: list[_Opened | None] = []
        self._closed: _Opened | None = None

    def _add(self, step: Step) -> Step:
        return self.run.recorder.add(step, self.numbers.now())

    # -- the head

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """Let the arguments of a block stand for themselves."""
        found = {}
        if any(isinstance(value, Unknown) for value in values.values()):
            raise NotStructuredError
        if self._inlined:
            self._default(self._inlined[-1])
            return {}
        for name, value in values.items():
            assert not isinstance(value, Unknown)
            found[name] = self.argument(name, value)
        return found

    def argument(self, name: str, value: Constant) -> Any:
        """An argument of the class: a name in the constructor, an attribute in `forward`."""
        own = python_name(name)
        return self.known(own, plain(value), self.run.kept.attribute(own))

    def input(self, name: str, value: Input) -> Input:
        """The sizes of a block's input are arguments of its class."""
        if isinstance(value, Tensor) and self._inlined:
            held = [text for text in self._sources(value.name) if isinstance(text, str)]
            if held and "[" not in held[0]:
                self._inlined[-1].names[name] = held[0]
            else:
                self.named(name, value)
        elif isinstance(value, Tensor):
            self._have(name, value)
            for size in self.shapes[python_name(name)]:
                if isinstance(size, SymbolicInt) and isinstance(size.local, Size):
                    self.numbers[size_text(size.local)] = int(size)
        return value

    def _sizes(self, own: str) -> list[Any]:
        """The sizes of a value as they can be read now."""
        stale = self._stale.get(own, set())
        return [_forgotten(s) if axis in stale else s for axis, s in enumerate(self.shapes[own])]

    def _have(self, name: str, value: Tensor) -> None:
        """A name stands for a value from here on."""
        own = self._python(name)
        self._holds[own] = value.name
        self._own.discard(own)
        self._stale.pop(own, None)
        self.shapes[own] = [self._sized(own, axis, dim) for axis, dim in enumerate(value.shape)]
        for size in self.shapes[own]:
            self._size_words |= words_in(_text(size))

    def _sized(self, own: str, axis: int, dim: Any) -> Any:
        """A size of a value that has a name: `forward` reads it from the value."""
        if isinstance(dim, Size):
            return dim
        later = f"{own}.shape[{axis + 1}]"
        self.numbers[later] = int(dim)
        return SymbolicInt(int(dim), local_of(dim), cast(Dim, Size.named(later)))

    # -- expressions

    def follow(self, names: Names, evaluate: Evaluate) -> Evaluate:
        """Let numbers remember how they are written."""

        def followed_value(expr: syntax.Expr) -> Value:
            value = evaluate(expr)
            if isinstance(value, (Tensor, Tensors, int, float)):
                return self._remembered(expr, value)
            return value

        self.body = Surroundings(names, followed_value)
        self.python = PythonConstants(self._attribute, self._is_list, self._constant)
        self.later = PythonConstants(self._read, self._is_list, self._reach, is_scripted=True)
        return followed_value

    def _constant(self, name: str) -> str:
        """A constant in the constructor.

        Raises:
            NotStructuredError: for a list of values, whose length the constructor does not know.
        """
        if self._python(name) in self._lists:
            raise NotStructuredError
        given = self._inlined[-1].given.get(name) if self._inlined else None
        return self._python(name) if given is None else bracketed(given[0])

    def _reach(self, name: str) -> str:
        """A constant in `forward`: the object keeps the arguments."""
        own = self._constant(name)
        if self._inlined and name in self._inlined[-1].given:
            return bracketed(self._inlined[-1].given[name][1])
        return own if own in self._own else self.run.kept.attribute(own)

    # -- names in inline blocks

    def _python(self, name: str) -> str:
        """What a name of the body is called."""
        own = self._inlined[-1].names.get(name) if self._inlined else None
        return python_name(name) if own is None else own

    def _given_name(self, name: str) -> str:
        """What a name is called that gets a value here."""
        if not self._inlined:
            return python_name(name)
        inlined, root = self._inlined[-1], self._inlined[0].places
        inlined.given.pop(name, None)
        inlined.names[name] = root.variable(inlined.block, name)
        return inlined.names[name]

    def _at(self, span: Span) -> At:
        return (*(inlined.call for inlined in self._inlined), span)

    def inlining(self, block: syntax.Block, module: Module, span: Span) -> Follower:
        """The statements of an inline block are written here."""
        if any(inlined.block is block for inlined in self._inlined):
            raise NotStructuredError
        exprs = self._arguments_of(block, span)
        given = {name: (self.python.text(e), self.later.text(e)) for name, e in exprs.items()}
        outer = self.body, self.python, self.later, self.places
        self._inlined.append(_Inlined(block, span, *outer, {}, given))
        self.places = self.places.inner(block, module)
        return self

    def inlined(self) -> None:
        """The statements that follow are those of the body around the block."""
        inlined = self._inlined.pop()
        self.body, self.python = inlined.body, inlined.python
        self.later, self.places = inlined.later, inlined.places

    def _default(self, inlined: _Inlined) -> None:
        """Know how the defaults of arguments that are not given are written."""
        for parameter in inlined.block.parameters:
            name, default = parameter.name.id, parameter.default
            if default is not None and name not in inlined.given:
                inlined.given[name] = self.python.text(default), self.later.text(default)

    def _is_list(self, name: str) -> bool:
        binding = self.body.names.scope.get(name)
        return binding is not None and isinstance(binding.value, (tuple, range))

    def _attribute(self, access: syntax.Access) -> str | None:
        """A size of a value, in the constructor."""
        return self._facts(access, _text)

    def _read(self, access: syntax.Access) -> str | None:
        """A size of a value, in `forward`."""
        return self._facts(access, _later_text)

    def _facts(self, access: syntax.Access, text: Callable[[Any], str]) -> str | None:
        if not self._is_tensor(access.base):
            return None
        value = self.body.evaluate(access)
        if isinstance(value, tuple):
            return f"[{', '.join(map(text, value))}]"
        if isinstance(value, bool) or not isinstance(value, int):
            raise NotStructuredError
        return bracketed(text(value))

    def _is_tensor(self, expr: syntax.Expr) -> bool:
        if not isinstance(expr, syntax.Name):
            return False
        binding = self.body.names.scope.get(expr.id)
        return binding is not None and isinstance(binding.value, Tensor)

    def _reads_values(self, expr: syntax.Expr) -> bool:
        """Whether an expression is a value of the net, or makes one of such."""
        if isinstance(expr, syntax.Name):
            return self._is_tensor(expr)
        if isinstance(expr, syntax.Access):
            return False
        if isinstance(expr, syntax.Conditional):
            parts = (*(value for value, _ in expr.cases), expr.otherwise)
            return any(map(self._reads_values, parts))
        inner = list(syntax.parts(expr, syntax.NAMING))
        known = {id(part.base) for part in inner if isinstance(part, syntax.Access)}
        return any(self._is_tensor(p) for p in inner if id(p) not in known and p is not expr)

    def _words(self, expr: syntax.Expr, python: PythonConstants, *, iterated: bool = False) -> Any:
        """An expression as it is written; unsaid where it asks for a size that nothing says."""
        try:
            text = self._said(expr, python, iterated=iterated)
        except NotStructuredError:
            return Number(None, UNSAID)
        return Number(text, Symbol(text))

    def _in_constructor(self, expr: syntax.Expr, *, iterated: bool = False) -> Any:
        if self._asks_for_unknown(expr):
            return Number(None, UNSAID)
        return self._words(expr, self.python, iterated=iterated)

    def _asks_for_unknown(self, expr: syntax.Expr) -> bool:
        """Whether an expression reads a size of a value that only `forward` can tell."""
        if self.places.names_alone(expr) is not None:
            return False
        for part in syntax.parts(expr, syntax.NAMING):
            if isinstance(part, syntax.Access) and self._is_tensor(part.base):
                value = self.body.evaluate(part)
                sizes = value if isinstance(value, tuple) else (value,)
                if any(isinstance(s, SymbolicInt) and not isinstance(s.local, Size) for s in sizes):
                    return True
        return False

    def _remembered(self, expr: syntax.Expr, value: Value) -> Value:
        inner = expr
        while isinstance(inner, syntax.Parens):
            inner = inner.inner
        if isinstance(value, Tensor):
            return self._value(inner, value)
        if isinstance(value, Tensors) and isinstance(inner, syntax.Conditional):
            raise NotStructuredError
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        if isinstance(inner, (syntax.Literal, syntax.Name)) or self.places.names_alone(inner) == ():
            return value
        if isinstance(inner, syntax.Access) and self._is_tensor(inner.base):
            return value
        is_formula = isinstance(inner, syntax.Chain) and isinstance(value, SymbolicInt)
        if is_formula and id(expr) not in self.places.whole:
            return value
        try:
            later = self._said(inner, self.later)
        except NotStructuredError:
            return value
        text = None if self._asks_for_unknown(inner) else self._said(inner, self.python)
        if is_formula and _text(value) == text and _later_text(value) == later:
            return value
        return self._number(value, text, later)

    def _said(self, expr: syntax.Expr, python: PythonConstants, *, iterated: bool = False) -> str:
        """An expression as it is written; a loop comes by the same ones again and again."""
        names = self.places.names_alone(expr)
        if names is None:
            return python.text(expr, iterated=iterated)
        key = (
            id(expr),
            python.is_scripted,
            iterated,
            *((python.name(name), python.lists(name)) for name in names),
        )
        known = self.places.texts.get(key)
        if known is None:
            known = self.places.texts[key] = python.text(expr, iterated=iterated)
        return known

    def _value(self, expr: syntax.Expr, value: Tensor) -> Tensor:
        if isinstance(expr, syntax.Name):
            own = self._python(expr.id)
            if own not in self.shapes:  # an input of the net
                self._have(expr.id, value)
            return replace(value, shape=cast(Shape, tuple(self._sizes(own))))
        if isinstance(expr, syntax.Access):
            return self._item(expr, value)
        opened = self._closed
        if isinstance(expr, syntax.Conditional) and opened and opened.span == expr.span:
            self._closed = None
            assert isinstance(opened.step, Branch)
            self.run.recorder.give(opened.step, opened.case, Read(self._sources(value.name)))
            outside = list(opened.made.get(value.name, ()))
            self._made = opened.made
            self._made[value.name] = [(opened.step, 0), *outside]
        return value

    def _item(self, access: syntax.Access, value: Tensor) -> Tensor:
        """An item of a list of values; its sizes are read from it."""
        (trailer, *others), base = access.trailers, access.base
        if others or not isinstance(trailer, syntax.Index) or not isinstance(base, syntax.Name):
            return value
        own = self._python(base.id)
        if own not in self._lists:
            return value
        text = f"{own}[{self.later.text(trailer.at)}]"
        self._holds[text] = value.name
        changing = self._own | set(self.carried.names.values())
        shape = [
            self._sized(
                text, axis, dim if words_in(_text(dim)).isdisjoint(changing) else _forgotten(dim)
            )
            for axis, dim in enumerate(value.shape)
        ]
        size = shape[0]
        if own in self._counts and isinstance(size, SymbolicInt) and isinstance(size.local, int):
            known = f"{self._counts[own]}[{self.python.text(trailer.at)}]"
            self.numbers[known] = int(size)
            shape[0] = SymbolicInt(int(size), cast(Dim, Size.named(known)), size.outer)
        return replace(value, shape=cast(Shape, tuple(shape)))

    def _forget(self, names: Sequence[str]) -> None:
        """Names stand for something else: so do the items of lists that they say."""
        items = [text for text in self._holds if "[" in text]
        for text in items:
            if not words_in(text).isdisjoint(names):
                del self._holds[text]

    def _number(self, value: float, text: str | None, later: str) -> SymbolicInt | SymbolicFloat:
        """A number, and how Python writes it; without a text the constructor has the number."""
        if isinstance(value, int):
            here = local_of(value) if text is None else cast(Dim, Size.named(bracketed(text)))
            self.numbers[bracketed(text or later)] = int(value)
            self.numbers[bracketed(later)] = int(value)
            return SymbolicInt(int(value), here, cast(Dim, Size.named(bracketed(later))))
        self.numbers[text or later] = self.numbers[later] = float(value)
        return SymbolicFloat(value, text or number(float(value)), later)

    def known(self, own: str, value: Any, later: str) -> Any:
        """What a Python name stands for, whose value this is."""
        self.numbers[own] = self.numbers[later] = value
        if value is None or isinstance(value, (bool, str, range)):
            return value
        if isinstance(value, tuple):
            self._followed += len(value)
            if len(value) > _FOLLOWED or self._followed > _FOLLOWED_IN_ALL:
                return value
            return tuple(
                self.known(f"{own}[{at}]", item, f"{later}[{at}]") if type(item) is int else item
                for at, item in enumerate(value)
            )
        if isinstance(value, (int, float)):
            return self._number(value, own, later)
        raise NotStructuredError

    # -- names

    def assigning(
        self, names: Sequence[str], expr: syntax.Expr, values: Sequence[Value]
    ) -> Sequence[Value]:
        """Write the assignment down; the names stand for themselves."""
        if any(isinstance(value, Unknown) for value in values):
            return values
        if any(isinstance(value, SharedLayer) for value in values):
            raise NotStructuredError
        text, later = self._in_constructor(expr), self._words(expr, self.later)
        own = tuple(map(self._given_name, names))
        self._lists -= set(own)
        self._forget(own)
        self._keep(own, self._at(expr.span))
        is_empty = isinstance(expr, syntax.ListExpr) and not expr.items
        is_told = text.expression is not UNSAID
        given = [plain(cast(Any, value)) for value in values]
        step = self._add(Let(own, text, later, "list[int]" if is_empty else ""))
        self._counts = {name: count for name, count in self._counts.items() if name not in own}
        if is_empty:
            self._empty[own[0]] = step
            if names[0] in self.places.grown:
                self._count(own[0], "[]", (), self._at(expr.span))
        elif own[0] in self._empty:
            self._fill(self._empty[own[0]], given[0])
        self._own.update(own)
        self._untold -= set(own)
        if not is_told:
            self._untold.update(own)
        return [self._assigned(name, value) for name, value in zip(own, given, strict=True)]

    def _fill(self, empty: Step, value: Any) -> None:
        """A list that began without items has the type of those that it gets."""
        assert isinstance(empty, Let)
        if isinstance(value, tuple) and value:
            empty.annotation = kind_of(value, "list")

    def _assigned(self, own: str, value: Any) -> Any:
        known = self.known(own, value, own)
        if isinstance(known, SymbolicInt) and own in self._untold:
            return SymbolicInt(int(known), int(known), known.outer)
        return known

    def named(self, name: str, value: Tensor) -> None:
        """Write down that a name gets a value."""
        sources = self._sources(value.name)
        own = self._given_name(name)
        self._lists.discard(own)
        self._forget((own,))
        self._keep((own,), self._at(value.span))
        self._add(Bind(own, Read(sources)))
        self._have(name, value)

    def listed(self, name: str, expr: syntax.Expr, values: TensorList) -> TensorList:
        """Write down that a name gets a list of values."""
        given = [value for value in values.items if isinstance(value, Tensor)]
        if len(given) < len(values.items):
            raise NotStructuredError
        parts: list[Read | str] = []
        counts: list[str | None] = []
        left = list(given)
        items: list[Tensor] = []
        for item, count in self._list_parts(expr):
            some, left = left[:count], left[count:]
            items += some if item is not None else map(self._put_aside, some)
            if item is not None:
                parts.append(self._python(item))
                counts.append(self._counts.get(self._python(item)))
            else:
                parts += [Read(self._sources(value.name)) for value in some]
                counts.append(f"[{', '.join(unbracketed(_text(v.shape[0])) for v in some)}]")
        own = self._given_name(name)
        if left or own in self.shapes:
            raise NotStructuredError
        empty = self._empty.get(own)
        if isinstance(empty, Let):
            empty.annotation = "list[torch.Tensor]"
        self._keep((own,), self._at(expr.span))
        self._add(Gather(own, tuple(parts)))
        self._forget((own,))
        self._lists.add(own)
        self._own.add(own)
        if None not in counts and all(isinstance(value.shape[0], int) for value in given):
            text = " + ".join(filter(None, counts))
            self._count(own, text, [int(v.shape[0]) for v in given], self._at(expr.span))
        else:
            self._counts.pop(own, None)
        return TensorList(tuple(items))

    def _count(self, own: str, text: str, counts: Sequence[int], at: At) -> None:
        """Write down how many channels or features the values in a list have, for the constructor."""
        name = f"{own}_channels"
        places = (self._inlined[0] if self._inlined else self).places
        while name in places.names:
            name += "_"
        self._keep((name,), at)
        kind = "list[int]" if text == "[]" else ""
        self._add(Let((name,), Number(text, Symbol(text)), Number(None, UNSAID), kind))
        self._counts[own] = name
        self.numbers[name] = tuple(counts)

    def _put_aside(self, value: Tensor) -> Tensor:
        """A value in a list: what its sizes are made of may stand for something else by then."""
        changing = self._own | set(self.carried.names.values())
        shape = tuple(
            _unread(size if words_in(_text(size)).isdisjoint(changing) else _forgotten(size))
            for size in value.shape
        )
        return replace(value, shape=cast(Shape, shape))

    def _list_parts(self, expr: syntax.Expr) -> Iterator[tuple[str | None, int]]:
        """What a list of values is joined of: the name of a list, or None, and the number of values.

        Raises:
            NotStructuredError: for anything else.
        """
        while isinstance(expr, syntax.Parens):
            expr = expr.inner
        if isinstance(expr, syntax.ListExpr):
            yield None, len(expr.items)
        elif isinstance(expr, syntax.Chain) and all(operator == "+" for operator, _ in expr.rest):
            for operand in (expr.first, *(operand for _, operand in expr.rest)):
                yield from self._list_parts(operand)
        elif isinstance(expr, syntax.Name):
            binding = self.body.names.scope.get(expr.id)
            value = None if binding is None else binding.value
            if value != () and not (
                isinstance(value, TensorList) and self._python(expr.id) in self._lists
            ):
                raise NotStructuredError
            yield expr.id, len(value.items) if isinstance(value, TensorList) else 0
        else:
            raise NotStructuredError

    def _sources(self, node: str) -> list[Source]:
        if node not in self._made and node not in self._holds.values():
            self._begin()  # an input of the net, of which nothing has been read so far
        found = [name for name, held in self._holds.items() if held == node]
        made = self._made.get(node, [])
        items = [text for text in found if "[" in text]
        return [*(name for name in found if "[" not in name), *made, *items]

    def asserting(self, statement: syntax.Assert) -> None:
        """Write down an assert over arguments.

        What is asked of the whole net, its parameters or receptive field, is left to the compiler:
        a constructor that is still at work cannot say it.
        """
        condition = statement.condition
        facts = names_of(condition).intersection(NET_FACTS) - set(self.body.names.scope.names())
        if facts or any(
            isinstance(part, syntax.Attribute) and part.name == "receptive_field"
            for part in syntax.parts(condition, syntax.NAMING)
        ):
            return
        if names_of(condition) and not self._asks_for_unknown(condition):
            message = statement.message or f"{condition.span.text} does not hold"
            self._add(Refuse(self.python.negated(condition), message))

    # -- loops and conditions

    def looping(self, loop: syntax.For) -> None:
        """Write the loop down, and what it carries in front."""
        self._begin()
        text = self._in_constructor(loop.iterable, iterated=True)
        later = self._words(loop.iterable, self.later, iterated=True)
        targets = tuple(self._given_name(target.id) for target in loop.targets)
        at = self._at(loop.span)
        self._keep(targets, at)
        for place in sorted(self.carried.axes.get(at, ())):
            self._carry(place, at)
        step = self._add(Loop(targets, text, later, loop.span))
        assert isinstance(step, Loop)
        self._own.update(targets)
        self._opened.append(_Opened(loop.span, step, 0, {}, {}))
        self._turns.append(-1)

    def turn(self, loop: syntax.For, values: Sequence[Constant]) -> Sequence[Constant]:
        """The loop's names stand for themselves."""
        opened = self._opened[-1]
        assert opened is not None
        assert isinstance(opened.step, Loop)
        self.run.recorder.enter(opened.step.body)
        self._turns[-1] += 1
        self._note(opened)
        self._forget(opened.step.targets)
        found = zip(opened.step.targets, values, strict=True)
        self._untold -= set(opened.step.targets)
        return [self.known(name, plain(value), name) for name, value in found]

    def turned(self, loop: syntax.For) -> None:
        """Hand on what changed."""
        self._close()

    def outcomes(self, loop: syntax.For, names: Sequence[str]) -> Outcomes | None:
        """A loop over constants is recorded once for the same constants.

        What it did is forgotten with its statements. A loop that changes sizes of values is followed.
        """
        opened, at = self._opened[-1], self._at(loop.span)
        assert opened is not None
        assert isinstance(opened.step, Loop)
        changes = not self._size_words.isdisjoint(_given(loop))
        carries = self.carried.axes.get(at) or any(p[0] == at for p in self.carried.unknown)
        if self._inlined or changes or carries:
            return None
        names_made = _python_names(names) & self._own
        # Only so many items of lists are followed; that may be so in front of the loop, or within it.
        is_near = self._followed + opened.step.counts.get(names_made, 0) > _FOLLOWED_IN_ALL
        state = names_made, self._followed if is_near else 0
        self._before_loop = _Before(self._followed, dict(self._empty), names_made)
        return opened.step.outcomes.setdefault(state, Outcomes(self.run.recorder.may_forget))

    def watching(self) -> None:
        """Note what the loop's names come to stand for."""
        self.numbers.begin_log()

    def watched(self, loop: syntax.For) -> _Followed:
        """What must be known after the loop."""
        numbers = self.numbers.end_log()
        before, opened, given = self._before_loop, self._opened[-1], _given(loop)
        assert opened is not None
        assert isinstance(opened.step, Loop)
        count = self._followed - before.count
        # Where the limit was reached within the loop, it does the same from equal counts alone.
        is_over = self._followed > _FOLLOWED_IN_ALL
        most = max(count, opened.step.counts.get(before.made, 0))
        opened.step.counts[before.made] = _FOLLOWED_IN_ALL + 1 if is_over else most
        empty = {name: step for name, step in self._empty.items() if name in given}
        filled = [*before.empty.values(), *empty.values()]
        types = tuple((step, step.annotation) for step in filled if isinstance(step, Let))
        counts = {name: known for name, known in self._counts.items() if name in given}
        return _Followed(given, given & self._own, numbers, types, empty, counts, count)

    def skipped(self, names: Sequence[str], values: Sequence[Value]) -> Sequence[Value]:
        """The names stand for themselves, as after the turns that were followed."""
        own = map(self._python, names)
        given = [plain(cast(Any, value)) for value in values]
        return [self._assigned(name, value) for name, value in zip(own, given, strict=True)]

    def repeated(self, loop: syntax.For, followed: object) -> None:
        """Know what is known after the loop."""
        assert isinstance(followed, _Followed)
        self._forget(tuple(followed.names))
        self._own |= followed.own
        for name, value in followed.numbers.items():
            self.numbers[name] = value
        for step, annotation in followed.types:
            step.annotation = annotation
        self._empty.update(followed.empty)
        others = {name: c for name, c in self._counts.items() if name not in followed.names}
        self._counts = {**others, **followed.counts}
        self._followed += followed.count

    def looped(self, loop: syntax.For) -> None:
        """Go on behind the loop."""
        self._opened.pop()
        self._turns.pop()

    def deciding(self) -> None:
        """Conditions are no more than other expressions."""

    def decided(self, conditions: Sequence[syntax.Expr], case: int | None, span: Span) -> None:
        """Write the condition down, if values depend on it."""
        if case is None:
            return
        decides = span in self.places.decides_layers or self._decides(span)
        if not decides or (self._inlined and not any(map(self._varies, conditions))):
            self._opened.append(None)
            return
        self._open(conditions, case, span)

    def _varies(self, condition: syntax.Expr) -> bool:
        """Whether a condition may be another one in other runs; numbers and words are the same."""
        text = self._words(condition, self.later).value
        return text is None or not words_in(text) <= {"True", "False", "None"}

    def _open(self, conditions: Sequence[syntax.Expr], case: int, span: Span) -> _Opened:
        """Write a condition down, and that what follows is one of its cases."""
        if len(conditions) > MOST_IN_A_ROW:
            raise NotStructuredError
        self._begin()
        texts = tuple(map(self._in_constructor, conditions))
        later = tuple(self._words(condition, self.later) for condition in conditions)
        step = self._add(Branch(texts, later, span))
        assert isinstance(step, Branch)
        while len(step.cases) <= len(texts):
            step.cases.append(Suite())
            step.values.append(None)
        opened = _Opened(span, step, case, {}, {})
        self._note(opened)
        self._opened.append(opened)
        self.run.recorder.enter(step.cases[case])
        return opened

    def _decides(self, span: Span) -> bool:
        expr = self.places.conditionals.get(span)
        return expr is not None and self._reads_values(expr)

    def done(self) -> None:
        """Hand on what the case changed."""
        opened = self._opened[-1]
        if opened is not None:
            self._close()
            self._closed = opened
            if opened.span not in self.places.conditionals:
                self._made = opened.made
        self._opened.pop()

    def _note(self, opened: _Opened) -> None:
        opened.before = {name: list(map(_text, shape)) for name, shape in self.shapes.items()}
        opened.made = {name: list(sources) for name, sources in self._made.items()}

    def _close(self) -> None:
        opened = self._opened[-1]
        assert opened is not None
        if isinstance(opened.step, Branch) and not self.carried.branches:
            self.run.recorder.leave()
            return
        at = self._at(opened.span)
        axes = self.carried.axes.setdefault(at, set())
        known = len(axes)
        for name, before in opened.before.items():
            shape = self.shapes[name]
            if len(shape) != len(before):
                self.shapes[name] = list(map(_forgotten, shape))
                continue
            for axis, old in enumerate(before):
                self._compare((name, axis), old, at)
        made = self._compare_new(opened)
        if len(axes) > known:
            raise RestartError
        for carried in sorted(axes):
            if carried[0] in opened.before or carried[0] in made:
                self._carry(carried, at)
        self.run.recorder.leave()
        if isinstance(opened.step, Loop):
            self._made = opened.made

    def _compare_new(self, opened: _Opened) -> Set[str]:
        """Compare the sizes of values to which other cases of a condition give the same names."""
        if not isinstance(opened.step, Branch):
            return frozenset()
        made, at = self.shapes.keys() - opened.before.keys(), self._at(opened.span)
        for name in made:
            for axis, size in enumerate(self.shapes[name]):
                first = self.carried.made.setdefault((at, name, axis), _text(size))
                self._compare((name, axis), first, at)
        return made

    def _compare(self, place: Axis, old: str, at: At) -> None:
        """Find out whether a size has changed since a loop or a case began."""
        name, axis = place
        size = self.shapes[name][axis]
        if not isinstance(size, int):
            return
        axes, unknown = self.carried.axes[at], self.carried.unknown
        if place not in axes and _text(size) != old:
            # A picture's height, which shrinks, is rarely a number that a layer needs; its channels,
            # which grow, often are.
            grows = old.isdigit() and int(size) > int(old)
            if axis > 0 and not grows and not isinstance(local_of(size), Size):
                unknown.add((at, name, axis))
            else:
                axes.add(place)
        if (at, name, axis) in unknown:
            self.shapes[name][axis] = _forgotten(size)

    def _keep(self, names: Sequence[str], at: At) -> None:
        """These names are about to stand for something else: sizes made of them get their own."""
        if self._size_words.isdisjoint(names):
            return
        for name, shape in self.shapes.items():
            for axis, size in enumerate(shape):
                if name not in names and not words_in(_text(size)).isdisjoint(names):
                    self._carry((name, axis), at)

    def _carry(self, carried: Axis, at: At) -> None:
        name, axis = carried
        shape = self.shapes.get(name)
        if shape is None or axis >= len(shape) or not isinstance(shape[axis], int):
            return
        place, size = (at, name, axis), shape[axis]
        known = self.run.recorder.expected()
        is_next = isinstance(known, Carry) and known.place == place
        if place in self.carried.unknown:
            shape[axis] = _forgotten(size)
            return
        own = self.carried.name(carried, len(shape), self.places.names)
        if is_next or (known is None and _text(size) != own):
            step = self._add(Carry(own, written(size, local), place))
            assert isinstance(step, Carry)
            if not step.size.known:
                self.carried.unknown.add(place)
                raise RestartError
        elif _text(size) != own:
            self.carried.unknown.add(place)
            raise RestartError
        self._outdate(own, carried)
        self.numbers[own] = int(size)
        shape[axis] = SymbolicInt(int(size), cast(Dim, Size.named(own)), _outer(size))
        self._size_words.add(own)

    def _outdate(self, own: str, carried: Axis) -> None:
        """A word is given another value; what was put aside in an earlier turn has the old one."""
        for name, shape in self.shapes.items():
            for axis, size in enumerate(shape):
                text = _text(size)
                if (name, axis) != carried and own in text and own in words_in(text):
                    self._stale.setdefault(name, set()).add(axis)
        self._stale.get(carried[0], set()).discard(carried[1])

    # -- layers

    def _begin(self) -> None:
        """Know the inputs before anything is read from them."""
        if self._inlined:
            return  # the inputs of the net are values of the body around it
        scope = self.body.names.scope
        for name in scope.names():
            binding = scope.get(name)
            value = None if binding is None else binding.value
            if isinstance(value, Tensor) and python_name(name) not in self.shapes:
                self._have(name, value)

    def _give(self, step: Step, names: Sequence[str]) -> None:
        for at, name in enumerate(names):
            self._made[name] = [(step, at)]

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """Write a layer down.

        The first use of a shared layer that something reads makes its module.
        """
        if self.run.classes.is_unread(node.origin.span) and self._is_shared(path):
            self._made[node.name] = [NOWHERE]
            return
        decides = None if specs else self._decides_form(node, tuple(shapes))
        if decides is None:
            self._layer(node, shapes, specs, path)
            return
        opened = self._open((decides,), 0 if self.body.evaluate(decides) else 1, decides.span)
        self._layer(node, shapes, specs, path)
        assert isinstance(opened.step, Branch)
        self.run.recorder.give(opened.step, opened.case, Read(self._sources(node.name)))
        self._close()
        self._opened.pop()
        self._made = opened.made
        self._made[node.name] = [(opened.step, 0)]

    def _decides_form(self, node: Node, shapes: tuple[Shape, ...]) -> syntax.Expr | None:
        """The condition that decides which functions compute a layer, of those that it is given."""
        for name, span in node.origin.attributes.items():
            expr, value = self.places.given.get(span), getattr(node.op, name)
            if expr is None or not isinstance(value, bool) or not names_of(expr):
                continue
            of_views = node.origin.span in self.run.views
            forms = [
                _form(replace(cast(Any, node.op), **{name: case}), shapes, of_views)
                for case in (value, not value)
            ]
            if name not in forms[0].options and forms[0] != forms[1]:
                return expr
        return None

    def _layer(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        of_views = node.origin.span in self.run.views
        form = _form(node.op, tuple(shapes), of_views)
        reads, whole = self._reads(node)
        if whole:
            # The sizes of what is in a list cannot be read from it.
            form, shapes = _with_lists(form, len(node.inputs), len(reads)), ()
        for index, shape in enumerate(shapes):
            for axis, dim in enumerate(shape, start=1):
                self.numbers[f"{index}.{axis}"] = int(dim) if isinstance(dim, int) else dim
        own = {} if form.module is not None else {s.name: written(s.shape, local) for s in specs}
        held, span = bool(specs), node.origin.span
        label = self._label(path, span, self.python, is_held=held)
        step = Placed(
            self._worded(node, cast(Torch, written(form, local)), self.python),
            self._worded(node, self._later_form(node, form, shapes), self.later),
            own, label, "" if label else node.op.name, node.op.name, held,
            reads, 1, path in self.run.owners, of_views, span,
            self._cut(node), self._label(path, span, self.later, is_held=held),
            any(spec.role in ("statistic", "constant") for spec in specs) and bool(own),
            all(spec.role != "constant" for spec in specs),
            self._list(span), whole, tuple(1 + len(shape) for shape in shapes),
        )  # fmt: skip
        self._place(step, path, [node.name], [node.name])

    def _later_form(self, node: Node, form: Torch, shapes: Sequence[Shape]) -> Torch:
        """A layer as `forward` writes it; where a size is another number in other runs, it is read."""
        later = later_form(form, shapes)
        if all(isinstance(_outer(dim), Size) for shape in shapes for dim in shape):
            return later
        if not _has_numbers(form):
            return later
        read = tuple(
            tuple(_extent(dim, f"{index}.{axis}") for axis, dim in enumerate(shape, start=1))
            for index, shape in enumerate(shapes)
        )
        other = _form(node.op, cast(Any, read), node.origin.span in self.run.views)
        return cast(Torch, _or_read(later, other))

    def _list(self, span: Span) -> Number | None:
        """The list that a declared parameter, buffer or constant starts as."""
        declared = self.places.declared.get(span)
        value = None if declared is None else plain(self.body.evaluate(declared.initial))
        if declared is None or not isinstance(value, (tuple, range)):
            return None
        text = self._in_constructor(declared.initial)
        if text.expression is UNSAID:
            return None
        self.numbers[text.expression.name] = value
        return Number(value, text.expression)

    def _cut(self, node: Node) -> tuple[int, int] | None:
        """The number of equal parts, and the axis, of a value that is a part of another."""
        call = node.origin.call
        if call.callee.id != SPLIT:
            return None
        for argument in call.arguments:
            if self._reads_values(argument.value):
                continue
            if argument.name is None or argument.name.id == "parts":
                value = self.body.evaluate(argument.value)
                if isinstance(value, int):
                    return int(value), cast(Any, node.op).axis
        return None

    def _reads(self, node: Node) -> tuple[tuple[Read, ...], tuple[int, ...]]:
        """The inputs of a layer, and which of them are lists of values."""
        parts = self._given_parts(node) if self._lists else []
        if not any(name is not None for name, _ in parts):
            return self._inputs(node.inputs), ()
        reads: list[Read] = []
        whole: list[int] = []
        left = list(node.inputs)
        for name, count in [(None, len(left) - sum(count for _, count in parts)), *parts]:
            some, left = left[:count], left[count:]
            if name is not None:
                whole.append(len(reads))
                reads.append(Read([self._python(name)]))
            else:
                reads += self._inputs(some)
        return tuple(reads), tuple(whole)

    def _given_parts(self, node: Node) -> list[tuple[str | None, int]]:
        """The values among the arguments of a call: names of lists, or None, and how many they are."""
        parts: list[tuple[str | None, int]] = []
        for argument in node.origin.call.arguments:
            if self._is_values(argument.value):
                parts += self._list_parts(argument.value)
            elif self._reads_values(argument.value):
                if isinstance(argument.value, syntax.Group):
                    return []
                parts.append((None, 1))
        return parts

    def _is_values(self, expr: syntax.Expr) -> bool:
        """Whether an expression is a list of values that has a name, or is joined of such."""
        while isinstance(expr, syntax.Parens):
            expr = expr.inner
        if isinstance(expr, syntax.Chain):
            return any(self._is_values(part) for part in (expr.first, *(e for _, e in expr.rest)))
        if not isinstance(expr, syntax.Name):
            return False
        binding = self.body.names.scope.get(expr.id)
        return binding is not None and isinstance(binding.value, TensorList)

    def _inputs(self, names: Sequence[str]) -> tuple[Read, ...]:
        reads = tuple(Read(self._sources(name)) for name in names)
        if self.run.recorder.is_first and not all(read.sources for read in reads):
            raise NotStructuredError  # no later run finds what holds it
        return reads

    def _worded(self, node: Node, form: Torch, python: PythonConstants) -> Torch:
        """A layer with the file's expressions for what is true or false."""
        options = dict(form.options)
        for name, span in node.origin.attributes.items():
            value, expr = options.get(name), self.places.given.get(span)
            if expr is None or not isinstance(value, bool) or not names_of(expr):
                continue
            if isinstance(self.body.evaluate(expr), bool):
                if value != getattr(node.op, name):
                    raise NotStructuredError
                options[name] = self._of(expr, value, python)
        if form.pairs and self.either:
            options = {name: self._as_given(value, python) for name, value in options.items()}
        return form if options == form.options else replace(form, options=options)

    def _as_given(self, value: Any, python: PythonConstants) -> Any:
        """An extent of each axis, or the argument that says all of them, as a number or a list."""
        for name in self.either if isinstance(value, tuple) else ():
            own = python.name(name)
            for each in ([own] * len(value), [f"{own}[{at}]" for at in range(len(value))]):
                if [str(getattr(item, "expression", item)) for item in value] == each:
                    return Number(self.numbers.now()[own], Symbol(own))
        return value

    def _of(self, expr: syntax.Expr, value: Any, python: PythonConstants) -> Number:
        """A constant that is no number, and how it is written."""
        if not names_of(expr):
            return Number(value, value)
        if python is self.python and self._asks_for_unknown(expr):
            return Number(value, UNSAID)
        text = python.text(expr)
        self.numbers[text] = value
        return Number(value, Symbol(text))

    def fixing(self, values: Sequence[Constant | Unknown]) -> Sequence[Constant | Unknown]:
        """Constants that are written as numbers."""
        return self.run.calls.fixing(values)

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """A block says the sizes of its results in its own numbers."""
        return SizedBlock(self.run.calls.call(block, module, path), self.run.homes.known)

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """Write a call of a block down."""
        results = result.items if isinstance(result, Tensors) else (result,)
        sized = tuple(
            self._result(inner, at, item) if isinstance(item, Tensor) else item
            for at, item in enumerate(results)
        )
        result = self.run.calls.called(
            inner, inputs, Tensors(sized) if isinstance(result, Tensors) else sized[0], span
        )
        if isinstance(result, Unknown):
            return result
        call = self.run.calls.ran.calls[-1]
        inside = list(dict.fromkeys(call.inputs.values()))
        own = [name for name in call.results if name not in inside]
        self._made |= {name: [NOWHERE] for name in own}
        home = self.run.classes.of(call.block, span, call.path)
        if home is None:
            return result
        self._require_one_object(call, home)
        given = self._given(call, home.symbols, span)
        self._write(inside, own, lambda: self._call(call, home, given, own))
        return result

    def _write(self, reads: Sequence[str], gives: Sequence[str], write: Callable[[], None]) -> None:
        """Write something down that reads these values, and gives those."""
        write()

    def _call(
        self, call: BlockCall, home: BlockClass, given: Mapping[str, Any], values: Sequence[str]
    ) -> None:
        definition, path, span = home.definition, call.path, call.span
        label = self._label(path, span, self.python, is_held=True)
        taken = [call.inputs[name] for name in home.structure.taken_inputs]
        kept = [call.results[at] for at in home.structure.kept]
        step = Placed(
            Block(home, given), None, {}, label,
            snake_case(definition.name.id) if label is None else "", definition.name.id, True,
            self._inputs(taken), len(kept), path in self.run.owners, False, span,
            None, self._label(path, span, self.later, is_held=True),
        )  # fmt: skip
        self._place(step, path, kept, values)
        self.run.called(home, values, call.results)

    def _require_one_object(self, call: BlockCall, home: BlockClass) -> None:
        """Check that the calls of a shared block so far need the same object."""
        if not call.is_one_object(home, self._objects):
            raise NotStructuredError

    def _given(self, call: BlockCall, taken: Sequence[str], span: Span) -> dict[str, Any]:
        """What the class of a block is created with."""
        block = call.block
        names = [parameter.name.id for parameter in block.parameters]
        exprs = {p.name.id: p.default for p in block.parameters if p.default is not None}
        exprs |= self._arguments_of(block, span)
        found = {}
        others = {safe_name(name): value for name, value in call.arguments.items()}
        own = {safe_name(name): name for name in names}
        for symbol in taken:
            if symbol in call.given:
                found[symbol] = written(call.given[symbol], local)
            elif symbol in own and own[symbol] in exprs:
                expr = exprs[own[symbol]]
                is_default = own[symbol] in names and any(
                    parameter.default is expr for parameter in block.parameters
                )
                value = others[symbol]
                found[symbol] = (
                    Number(value, value) if is_default else self._of(expr, value, self.python)
                )
            else:
                raise NotStructuredError
        return found

    def _arguments_of(self, block: syntax.Block, span: Span) -> dict[str, syntax.Expr]:
        """The constants that a call gives to a block, by the block's names for them."""
        call = self.places.calls.get(span)
        names = [parameter.name.id for parameter in block.parameters]
        exprs: dict[str, syntax.Expr] = {}
        at = 0
        for argument in () if call is None else call.arguments:
            if argument.name is not None:
                exprs[argument.name.id] = argument.value
            elif at < len(names) and not self._reads_values(argument.value):
                exprs[names[at]] = argument.value
                at += 1
        return exprs

    def _result(self, inner: Follower, at: int, result: Tensor) -> Tensor:
        """A result of a block, its sizes as in other calls."""
        assert isinstance(inner, SizedBlock)
        block, symbols = inner.call_of.block, inner.call_of.given
        numbers = {name: int(value) for name, value in symbols.items() if isinstance(value, int)}
        sizes = tuple(
            self.results.size((block, at, axis), size, numbers)
            for axis, size in enumerate(result.shape)
        )
        return replace(result, shape=sizes)

    def _place(
        self, step: Placed, path: str, results: Sequence[str], values: Sequence[str]
    ) -> None:
        known = self._add(step)
        assert isinstance(known, Placed)
        self.run.made(known, path, self._turns, values)
        self._give(known, results)

    def _label(
        self, path: str, span: Span, python: PythonConstants, *, is_held: bool
    ) -> tuple[str, ...] | None:
        """The parts of a label, each as it stands in an f-string."""
        if span in self.places.declared:
            return (self.places.declared[span].name.id,)
        stage = self.places.stages.get(span)
        if stage is not None and stage.label is not None:
            label = stage.label
            return tuple(
                "".join(p if isinstance(p, str) else _in_label(python.text(p)) for p in parts)
                for parts in label.segments
            )
        return tuple(path.split(".")) if self._is_shared(path) else None

    def _is_shared(self, path: str) -> bool:
        """Whether a layer was declared, and is used by its name."""
        if not self.places.shares:
            return False
        scope = self.body.names.scope
        # What was bound last is used most: there may be thousands of shared layers.
        bindings = map(scope.get, reversed(list(scope.names())))
        values = (None if binding is None else binding.value for binding in bindings)
        return any(isinstance(value, SharedLayer) and value.path == path for value in values)

    def returned(self, result: Result) -> None:
        """The body gives these values back."""
        self.gives(self.run.results_among(names_of_values(result)))

    def gives(self, names: Sequence[str]) -> None:
        """The body ends with these values."""
        self.run.given_back = list(names)
        self._add(Return(self._inputs(names)))
        self.run.recorder.leave_all()


def _python_names(names: Iterable[str]) -> frozenset[str]:
    """Those of names that can be Python names, as these."""
    return frozenset(python_name(name) for name in names if name not in (*FUNCTIONS, "math"))


def _given(loop: syntax.For) -> frozenset[str]:
    """The Python names to which a loop gives something."""
    return _python_names(name.id for name in given_in(loop))


def _in_label(text: str) -> str:
    """An expression in the text of an f-string: a number or a word that is given is itself."""
    bare = unbracketed(text)
    return bare.strip('"') if re.fullmatch(r'\d+|"\w+"', bare) else f"{{{text}}}"


def written(value: Any, side: Callable[[Any], Any]) -> Any:
    """A form with its numbers as they are written."""
    if isinstance(value, (int, float)):
        return value if isinstance(value, bool) else Number(plain(value), side(value))
    if isinstance(value, Torch):
        return _with(
            value,
            written(value.arguments, side),
            {name: written(item, side) for name, item in value.options.items()},
            written(value.inputs, side),
            {name: written(item, side) for name, item in value.call_options.items()},
            {name: written(item, side) for name, item in value.defaults.items()},
        )
    if isinstance(value, tuple):
        return tuple([written(item, side) for item in value])
    return side(value) if isinstance(value, Size) else value  # an open size


def _form(op: Op, shapes: tuple[Shape, ...], of_views: bool) -> Torch:
    """An op in PyTorch, also correct for views with permuted axes if that is asked."""
    return op.torch_of_views(*shapes) if of_views else op.torch(*shapes)


def _with_lists(form: Torch, count: int, reads: int) -> Torch:
    """A form that takes values one after another, as one that takes lists of them.

    Args:
        form: the form.
        count: how many values it takes.
        reads: how many values and lists these are.

    Raises:
        NotStructuredError: if it takes them in another way.
    """
    first, *rest = form.arguments or ((),)
    if first != tuple(map(X, range(count))) or form.is_module:
        raise NotStructuredError
    return replace(form, arguments=(tuple(map(X, range(reads))), *rest))


def later_form(form: Torch, shapes: Sequence[Shape]) -> Torch:
    """A layer as `forward` writes it: with the sizes of its inputs, where they are its numbers."""
    extents = Extents(cast(Any, shapes), _outer)

    def convert(value: Any) -> Any:
        if not isinstance(value, Torch):
            return written(value, extents.of)
        side = _outer if value.is_module or value.as_module is not None else extents.of

        def part(item: Any) -> Any:
            return convert(item) if isinstance(item, Torch) else written(item, side)

        return _with(
            value,
            tuple(map(part, value.arguments)),
            {name: part(item) for name, item in value.options.items()},
            tuple(map(convert, value.inputs)),
            {name: convert(item) for name, item in value.call_options.items()},
            {name: written(item, side) for name, item in value.defaults.items()},
        )

    return cast(Torch, convert(form))


def _has_numbers(form: Torch) -> bool:
    """Whether functions that compute a layer are given numbers."""
    values = form.inputs if form.is_module else (*form.arguments, *form.options.values())
    inner = [item for v in values for item in (v if isinstance(v, tuple) else (v,))]
    if any(isinstance(item, Torch) and _has_numbers(item) for item in inner):
        return True
    return not form.is_module and any(isinstance(item, (int, Size)) for item in inner)


def _extent(dim: Any, name: str) -> Any:
    """A size of an input, as `forward` reads it."""
    if not isinstance(dim, int):
        return dim
    return SymbolicInt(int(dim), local_of(dim), cast(Dim, Size.named(name)))


def _or_read(known: Any, other: Any) -> Any:
    """A form whose numbers may also be written as in the other, over the sizes of its inputs."""
    if isinstance(known, Number):
        is_other = type(other) is SymbolicInt and int(other) == known.value
        is_number = isinstance(known.expression, (int, Size))
        if not is_other or not is_number or _outer(other) == known.expression:
            return known
        return Number(known.value, known.expression, _outer(other))
    if isinstance(known, tuple) and isinstance(other, tuple) and len(known) == len(other):
        return tuple(_or_read(*pair) for pair in zip(known, other, strict=True))
    if not (isinstance(known, Torch) and isinstance(other, Torch)):
        return known
    inputs = _or_read(known.inputs, other.inputs)
    if known.is_module or known.as_module is not None:
        return replace(known, inputs=inputs)
    options = {
        name: _or_read(item, other.options.get(name)) for name, item in known.options.items()
    }
    arguments = _or_read(known.arguments, other.arguments)
    return replace(known, inputs=inputs, arguments=arguments, options=options)


def _with(
    form: Torch,
    arguments: tuple[object, ...],
    options: Mapping[str, object],
    inputs: tuple[object, ...],
    call_options: Mapping[str, object],
    defaults: Mapping[str, object],
) -> Torch:
    """A form with other parts. `replace` would take longer than all that makes these."""
    return Torch(
        form.target,
        arguments,
        options,
        inputs,
        call_options,
        defaults,
        form.pairs,
        form.as_module,
        form.defines,
    )


def _outer(value: Any) -> Any:
    """A number as `forward` writes it."""
    if isinstance(value, SymbolicInt):
        return value.outer
    if isinstance(value, SymbolicFloat):
        return Symbol(value.outer)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _text(size: Any) -> str:
    return size_text(local_of(size)) if isinstance(size, int) else str(size)


def _later_text(size: Any) -> str:
    return size_text(_outer(size)) if isinstance(size, int) else str(size)


def _unread(size: Any) -> Any:
    """A size that `forward` knows as a number alone."""
    return SymbolicInt(int(size), local_of(size), int(size)) if isinstance(size, int) else size


def _forgotten(size: Any) -> Any:
    """A size that the constructor knows as a number alone."""
    return SymbolicInt(int(size), int(size), _outer(size)) if isinstance(size, int) else size


# ------------------------------------------------------------------- without loops and conditions


@dataclass(eq=False)
class _Written:
    """Something that is written down once the body is known: the values that it reads and gives."""

    reads: tuple[str, ...]
    gives: tuple[str, ...]
    write: Callable[[], None]


@dataclass(eq=False)
class _Named:
    """A name that the file gives to a value."""

    name: str
    value: str


class StraightFollower(StructureFollower):
    """Records the layers of one run in their order, without loops and conditions.

    So is written what the statements of the file cannot say for all calls, such as a block that calls
    itself, and a step of a scan block. The numbers in the layers are still expressions over the arguments
    of the class, as far as polynomials say them.

    Args:
        run: what is recorded of it.
        places: where things stand in the body.
    """

    keeps_outcomes = False
    skips_turns = False

    def __init__(self, run: Recording, places: Places) -> None:
        super().__init__(run, Carried(), places, Results())
        self._refused: set[tuple[str, str]] = set()
        self._around: list[Surroundings] = []
        self._arguments: set[str] = set()
        self._noted: list[_Written | _Named] = []
        self._paths: Counter[str] = Counter()
        self.python = self.later = PythonConstants(no_value, lambda _: False, safe_name)

    # -- the head

    def follow(self, names: Names, evaluate: Evaluate) -> Evaluate:
        """Know the names of the body."""
        self.body = Surroundings(names, evaluate)
        return evaluate

    def arguments(self, values: Mapping[str, Constant | Unknown]) -> Mapping[str, Constant]:
        """Let the arguments of a block remember what they are."""
        known = {name: value for name, value in values.items() if not isinstance(value, Unknown)}
        return {} if self._around else {n: self.argument(n, value) for n, value in known.items()}

    def argument(self, name: str, value: Constant) -> Any:
        """An argument of the class: a number knows its name."""
        self._arguments.add(name)
        own, value = safe_name(name), plain(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        later = self.run.kept.attribute(own)
        self.numbers[own] = self.numbers[later] = value
        if isinstance(value, int):
            return SymbolicInt(value, cast(Any, Size.named(own)), cast(Any, Size.named(later)))
        return SymbolicFloat(value, own, later)

    def input(self, name: str, value: Input) -> Input:
        """The sizes of a block's input are arguments of its class."""
        if not isinstance(value, Tensor) or self._around:
            return value
        self.given(name, value.name)
        return replace(value, shape=cast(Shape, tuple(map(self._size, value.shape))))

    def given(self, name: str, value: str) -> None:
        """The body is given a value of this name."""
        self._holds[safe_name(name)] = value

    def _size(self, size: Any) -> Any:
        own = size_name(size)
        if not own:
            return size
        later = self.run.kept.attribute(own)
        self.numbers[own] = self.numbers[later] = int(size)
        return SymbolicInt(int(size), local_of(size), cast(Any, Size.named(later)))

    def asserting(self, statement: syntax.Assert) -> None:
        """Write down an assert over nothing but arguments."""
        names = names_of(statement.condition)
        if not names or not names <= self._arguments or not names.isdisjoint(FUNCTIONS):
            return
        bindings = {name: self.body.names.scope.get(name) for name in names}
        values = {name: None if b is None else b.value for name, b in bindings.items()}
        # Another statement may have given the name to something else.
        if any(str(getattr(v, "local", None)) != safe_name(n) for n, v in values.items()):
            return
        message = statement.message or f"{statement.condition.span.text} does not hold"
        refused = self.python.negated(statement.condition), message
        if refused not in self._refused:
            self._refused.add(refused)
            self._add(Refuse(*refused))

    # -- constants, loops and conditions are not written

    def assigning(
        self, names: Sequence[str], expr: syntax.Expr, values: Sequence[Value]
    ) -> Sequence[Value]:
        """Names stand for numbers."""
        return values

    def looping(self, loop: syntax.For) -> None:
        """Each turn is written."""

    def turn(self, loop: syntax.For, values: Sequence[Constant]) -> Sequence[Constant]:
        """The loop's names stand for numbers."""
        return values

    def turned(self, loop: syntax.For) -> None:
        """The next turn follows."""

    def looped(self, loop: syntax.For) -> None:
        """What stands behind the loop follows."""

    def decided(self, conditions: Sequence[syntax.Expr], case: int | None, span: Span) -> None:
        """The case that holds is written."""

    def done(self) -> None:
        """What stands behind the condition follows."""

    # -- values

    def inlining(self, block: syntax.Block, module: Module, span: Span) -> StraightFollower:
        """The layers of an inline block are written here; its names are not."""
        self._around.append(self.body)
        return self

    def inlined(self) -> None:
        """The statements that follow are those of the body around the block."""
        self.body = self._around.pop()

    def named(self, name: str, value: Tensor) -> None:
        """Note that a name gets a value."""
        if not self._around:
            self._noted.append(_Named(safe_name(name), value.name))

    def listed(self, name: str, expr: syntax.Expr, values: TensorList) -> TensorList:
        """A list is not written: its values are read from where they are made."""
        return values

    def _write(self, reads: Sequence[str], gives: Sequence[str], write: Callable[[], None]) -> None:
        self._noted.append(_Written(tuple(reads), tuple(gives), write))

    def gives(self, names: Sequence[str]) -> None:
        """Write the body down, which ends with these values."""
        written = [each for each in self._noted if isinstance(each, _Written)]
        made = {value for each in written for value in each.gives}
        named = [each.value for each in self._noted if isinstance(each, _Named)]
        for value in (*(value for each in written for value in each.reads), *named, *names):
            if value not in made and value not in self._made and value not in self._given_values():
                self.given(value, value)  # an input of a net
        kept = _kept_names(self._noted, self._holds, names)
        for each in self._noted:
            if isinstance(each, _Written):
                each.write()
            elif each in kept:
                self._add(Bind(each.name, Read(self._sources(each.value))))
                self._holds[each.name] = each.value
        super().gives(names)

    def _given_values(self) -> Set[str]:
        return set(self._holds.values())

    # -- layers

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """Note a layer."""
        if self.run.classes.is_unread(node.origin.span):
            self._made[node.name] = [NOWHERE]
            return
        self._paths[path] += 1
        self._write(node.inputs, [node.name], lambda: self._layer(node, shapes, specs, path))

    def _reads(self, node: Node) -> tuple[tuple[Read, ...], tuple[int, ...]]:
        return self._inputs(node.inputs), ()

    def _cut(self, node: Node) -> tuple[int, int] | None:
        call = node.origin.call
        for argument in call.arguments if call.callee.id == SPLIT else ():
            is_count = argument.name is None or argument.name.id == "parts"
            if is_count and isinstance(argument.value, syntax.Literal):
                return cast(int, argument.value.value), cast(Any, node.op).axis
        return None

    def _result(self, inner: Follower, at: int, result: Tensor) -> Tensor:
        return result

    def _is_shared(self, path: str) -> bool:
        return self._paths[path] > 1

    def _label(
        self, path: str, span: Span, python: PythonConstants, *, is_held: bool
    ) -> tuple[str, ...] | None:
        return tuple(path.split(".")) if is_held or self._is_shared(path) else None

    def _worded(self, node: Node, form: Torch, python: PythonConstants) -> Torch:
        return form

    def _list(self, span: Span) -> Number | None:
        return None

    def _given(self, call: BlockCall, taken: Sequence[str], span: Span) -> dict[str, Any]:
        others = {safe_name(name): value for name, value in call.arguments.items()}
        return {
            symbol: written(call.given[symbol], local)
            if symbol in call.given
            else Number(others[symbol], others[symbol])
            for symbol in taken
        }

    def _require_one_object(self, call: BlockCall, home: BlockClass) -> None:
        if call.is_one_object(home, self._objects):
            return
        if self.run.recorder.is_trial:
            raise NotStructuredError
        raise several_objects(call.path, call.span)


def size_name(size: Any) -> str:
    """The argument that a size of an input is; empty for an open size."""
    known = local_of(size) if isinstance(size, int) else None
    return known.name or "" if isinstance(known, Size) else ""


def _kept_names(
    noted: Sequence[_Written | _Named], inputs: Mapping[str, str], results: Sequence[str]
) -> set[_Named]:
    """The names that the text can give to values: nothing else has them as long as they are read."""
    last = {value: len(noted) for value in results}
    for at in reversed(range(len(noted))):
        each = noted[at]
        if isinstance(each, _Written):
            for value in each.reads:
                last.setdefault(value, at)
    until: dict[str, int] = {}
    names: set[_Named] = set()
    for at in reversed(range(len(noted))):
        each = noted[at]
        if not isinstance(each, _Named):
            continue
        given = inputs.get(each.name, each.value)
        is_free = given == each.value or last.get(given, -1) < at
        if is_free and last.get(each.value, -1) <= until.get(each.name, len(noted)):
            names.add(each)
            until[each.name] = at
    return names
