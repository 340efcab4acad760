"""Follows the body of a net while it is built, and records its structure.

The building is the ordinary one. Every number carries the Python expression that it is in the
constructor: a name for what has a name in the file, the file's own expression for what functions and
powers compute, and a formula where sizes are made of these. The turns of a loop must record the same,
and so must runs with other arguments; what changes from turn to turn is carried by a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from netspec.compiler.elaborate.follower import Follower
from netspec.compiler.elaborate.names import Names
from netspec.compiler.elaborate.values import (
    Evaluate,
    Input,
    Result,
    Tensor,
    Tensors,
    Unknown,
    Value,
)
from netspec.compiler.ir import initializers
from netspec.compiler.ir.constants import FUNCTIONS, Constant
from netspec.compiler.ir.graph import Node, Shape
from netspec.compiler.ir.op import ParameterSpec, Torch, X
from netspec.compiler.ir.size_text import size_text
from netspec.compiler.ir.sizes import Dim, Size
from netspec.compiler.parse.loader import Module
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.conditions import Surroundings
from netspec.compiler.torch_backend.local_sizes import Symbol, local
from netspec.compiler.torch_backend.python_constants import (
    PythonConstants,
    bracketed,
    names_of,
    python_name,
    words_in,
)
from netspec.compiler.torch_backend.python_layout import unbracketed
from netspec.compiler.torch_backend.structure import (
    Block,
    Branch,
    Carry,
    Let,
    Loop,
    NotStructuredError,
    Placed,
    Recorder,
    Refuse,
    Suite,
)
from netspec.compiler.torch_backend.structured_layout import Placement
from netspec.compiler.torch_backend.trace import Called, Frozen, Trace, Tracer, axis_names
from netspec.compiler.torch_backend.traced_numbers import Traced, TracedFloat, plain
from netspec.diagnostics import Span


class RestartError(Exception):
    """More is known now of what must be carried: the recording begins again."""


@dataclass
class Carried:
    """Which sizes change: by the loop or condition, the axes.

    `unknown` are those that no expression says; they are no size that a layer may depend on.
    """

    axes: dict[Span, set[int]] = field(default_factory=dict)
    unknown: set[tuple[Span, int]] = field(default_factory=set)


@dataclass
class Results:
    """What the sizes of blocks' results are made of: an expression that holds for all calls so far.

    A block may return `x + y` here, and `y` there, of the same sizes.
    """

    chosen: dict[tuple[syntax.Block, int], Dim] = field(default_factory=dict)
    seen: dict[tuple[syntax.Block, int], list[tuple[Mapping[str, int], int]]] = field(
        default_factory=dict
    )

    def size(self, place: tuple[syntax.Block, int], size: Any, numbers: Mapping[str, int]) -> Any:
        """The size of an axis of a result, in the arguments of the block.

        Raises:
            RestartError: if what was chosen for the calls before does not hold for this one.
        """
        if not isinstance(size, int):
            return size
        mine: Dim = size.local if isinstance(size, Traced) else int(size)
        seen = self.seen.setdefault(place, [])
        seen.append((numbers, int(size)))
        known = self.chosen.setdefault(place, mine)
        if _at(known, numbers) == int(size):
            return Traced(int(size), known, int(size)) if isinstance(known, Size) else int(size)
        if all(_at(mine, at) == number for at, number in seen):
            self.chosen[place] = mine
            raise RestartError
        return size


def _at(size: Dim, numbers: Mapping[str, int]) -> Dim:
    return size.at(numbers) if isinstance(size, Size) else size


class Places:
    """Where things stand in a net's syntax."""

    def __init__(self, net: syntax.Net, module: Module) -> None:
        self.stages: dict[Span, syntax.Stage] = {}
        self.given: dict[Span, syntax.Expr] = {}
        self.whole: set[int] = set()
        self.names: set[str] = {parameter.name.id for parameter in net.parameters}
        self.decides_layers: set[Span] = set()
        for part in syntax.parts(net.body):
            if isinstance(part, syntax.Stage):
                self.stages[part.span] = part
            elif isinstance(part, syntax.Name):
                self.names.add(part.id)
            elif isinstance(part, syntax.Call) and _is_layer(part, module):
                for argument in part.arguments:
                    self.given[argument.value.span] = argument.value
                    self.whole.add(id(argument.value))
            elif isinstance(part, syntax.If) or (
                isinstance(part, syntax.Conditional)
                and any(
                    isinstance(p, syntax.Call) and _is_layer(p, module) for p in syntax.parts(part)
                )
            ):
                self.decides_layers.add(part.span)


def _is_layer(call: syntax.Call, module: Module) -> bool:
    name = call.callee.id
    return name in module.blocks or (name not in FUNCTIONS and name not in initializers.RULES)


@dataclass
class _Opened:
    """A loop, or the case of a condition, that the body is in."""

    span: Span
    step: Loop | Branch
    before: list[str]


class StructureTracer(Tracer):
    """Records one run. `taken` are the arguments that the class of each block takes.

    Attributes:
        owners: the statement that made each layer or block, by its path.
        placements: the layers and blocks in order.
    """

    def __init__(
        self,
        net: syntax.Net,
        recorder: Recorder,
        carried: Carried,
        places: Places,
        taken: Mapping[syntax.Block, Sequence[str]],
        results: Results,
    ) -> None:
        super().__init__(Frozen(), Trace(net))
        self.results = results
        self.taken = taken
        self.recorder = recorder
        self.carried = carried
        self.places = places
        self.current: str | None = None
        self.shape: list[Any] = []
        self.owners: dict[str, Placed] = {}
        self.placements: list[Placement] = []
        self._turns: list[int] = []
        self._opened: list[_Opened | None] = []

    # -- expressions

    def follow(self, names: Names, evaluate: Evaluate) -> Evaluate:
        """Let numbers remember how they are written."""

        def traced(expr: syntax.Expr) -> Value:
            return self._remembered(expr, evaluate(expr))

        self.body = Surroundings(names, traced)
        self.python = PythonConstants(self._attribute, self._is_list)
        return traced

    def _is_list(self, name: str) -> bool:
        binding = self.body.names.scope.get(name)
        return binding is not None and isinstance(binding.value, (tuple, range))

    def _attribute(self, access: syntax.Access) -> str | None:
        if not self._is_tensor(access.base):
            return None
        value = self.body.evaluate(access)
        if isinstance(value, bool) or not isinstance(value, int):
            raise NotStructuredError
        return bracketed(_text(value))

    def _is_tensor(self, expr: syntax.Expr) -> bool:
        if not isinstance(expr, syntax.Name):
            return False
        binding = self.body.names.scope.get(expr.id)
        return binding is not None and isinstance(binding.value, Tensor)

    def _remembered(self, expr: syntax.Expr, value: Value) -> Value:
        if isinstance(value, Tensor):
            if self.current is None:
                self._go_on(value)
            if value.name == self.current:
                return Tensor(value.name, cast(Shape, tuple(self.shape)), value.span)
            return Tensor(value.name, tuple(map(_forgotten, value.shape)), value.span)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return value
        inner = expr
        while isinstance(inner, syntax.Parens):
            inner = inner.inner
        if isinstance(inner, (syntax.Literal, syntax.Name)) or not names_of(inner):
            return value
        if isinstance(inner, syntax.Access) and self._is_tensor(inner.base):
            return value
        is_formula = isinstance(inner, syntax.Chain) and isinstance(value, Traced)
        text = self.python.text(inner)
        if is_formula and (id(expr) not in self.places.whole or _text(value) == text):
            return value
        return _number(value, text)

    # -- names

    def assigning(
        self, names: Sequence[str], expr: syntax.Expr, values: Sequence[Value]
    ) -> Sequence[Value]:
        """Write the assignment down; the names stand for themselves."""
        if any(isinstance(value, Unknown) for value in values):
            return values
        own = tuple(map(python_name, names))
        self._keep(own, expr.span)
        is_empty = isinstance(expr, syntax.ListExpr) and not expr.items
        annotation = "list[int]" if is_empty else ""
        self.recorder.add(Let(own, self.python.text(expr), annotation))
        return [named(name, value) for name, value in zip(own, values, strict=True)]

    def named(self, name: str, value: Tensor) -> None:
        """Values of the net have no names in a constructor."""

    def asserting(self, statement: syntax.Assert) -> None:
        """Write down an assert over arguments."""
        if names_of(statement.condition):
            message = statement.message or f"{statement.condition.span.text} does not hold"
            self.recorder.add(Refuse(self.python.negated(statement.condition), message))

    # -- loops and conditions

    def looping(self, loop: syntax.For) -> None:
        """Write the loop down, and what it carries in front."""
        self._begin()
        targets = tuple(python_name(target.id) for target in loop.targets)
        self._keep(targets, loop.span)
        text = self.python.text(loop.iterable, iterated=True)
        for axis in sorted(self.carried.axes.get(loop.span, ())):
            self._carry(axis, loop.span)
        step = self.recorder.add(Loop(targets, text, loop.span))
        assert isinstance(step, Loop)
        self._opened.append(_Opened(loop.span, step, []))
        self._turns.append(-1)

    def turn(self, loop: syntax.For, values: Sequence[Constant]) -> Sequence[Constant]:
        """The loop's names stand for themselves."""
        opened = self._opened[-1]
        assert opened is not None
        assert isinstance(opened.step, Loop)
        self.recorder.enter(opened.step.body)
        self._turns[-1] += 1
        opened.before = list(map(_text, self.shape))
        found = zip(opened.step.targets, values, strict=True)
        return cast(Sequence[Constant], [named(name, value) for name, value in found])

    def turned(self, loop: syntax.For) -> None:
        """Hand on what changed."""
        self._close()

    def looped(self, loop: syntax.For) -> None:
        """Go on behind the loop."""
        self._opened.pop()
        self._turns.pop()

    def deciding(self) -> None:
        """Conditions are no more than other expressions."""

    def decided(self, conditions: Sequence[syntax.Expr], case: int | None, span: Span) -> None:
        """Write the condition down, if layers depend on it."""
        if case is None:
            return
        if span not in self.places.decides_layers:
            self._opened.append(None)
            return
        self._begin()
        texts = tuple(self.python.text(condition) for condition in conditions)
        step = self.recorder.add(Branch(texts, span))
        assert isinstance(step, Branch)
        while len(step.cases) <= len(texts):
            step.cases.append(Suite())
        self._opened.append(_Opened(span, step, list(map(_text, self.shape))))
        self.recorder.enter(step.cases[case])

    def done(self) -> None:
        """Hand on what the case changed."""
        if self._opened[-1] is not None:
            self._close()
        self._opened.pop()

    def _close(self) -> None:
        opened = self._opened[-1]
        assert opened is not None
        if len(self.shape) != len(opened.before):
            raise NotStructuredError
        axes = self.carried.axes.setdefault(opened.span, set())
        known = len(axes)
        for axis, before in enumerate(opened.before):
            size, place = self.shape[axis], (opened.span, axis)
            if axis not in axes and _text(size) != before:
                # A picture's height is rarely a number that a layer needs; its channels often are.
                if axis > 0 and not isinstance(size, Traced):
                    self.carried.unknown.add(place)
                else:
                    axes.add(axis)
            if place in self.carried.unknown:
                self.shape[axis] = _forgotten(size)
        if len(axes) > known:
            raise RestartError
        for axis in sorted(axes):
            self._carry(axis, opened.span)
        self.recorder.leave()

    def _keep(self, names: Sequence[str], span: Span) -> None:
        """These names are about to stand for something else: sizes made of them get their own."""
        for axis, size in enumerate(self.shape):
            if not words_in(_text(size)).isdisjoint(names):
                self._carry(axis, span)

    def _carry(self, axis: int, span: Span) -> None:
        place, size = (span, axis), self.shape[axis]
        known = self.recorder.expected()
        is_next = isinstance(known, Carry) and known.place == place
        if place in self.carried.unknown:
            self.shape[axis] = _forgotten(size)
            return
        name = axis_names(len(self.shape))[axis]
        name = f"in_{name}"
        while name in self.places.names:
            name += "_"
        text = unbracketed(_text(size))
        if text.endswith(f" + {name}"):
            text = f"{name} + {text.removesuffix(f' + {name}')}"
        step = Carry(name, text, place)
        is_new = known is None or (is_next and known == step)
        if not (is_new or step.text == name):
            self.carried.unknown.add(place)
            raise RestartError
        if step.text != name:
            self.recorder.add(step)
        self.shape[axis] = Traced(int(size), cast(Dim, Size.named(name)), int(size))

    # -- layers

    def _begin(self) -> None:
        """Know the input before anything is read from it."""
        scope = self.body.names.scope
        bindings = [] if self.current is not None else map(scope.get, scope.names())
        for binding in bindings:
            if binding is not None and isinstance(binding.value, Tensor):
                self._go_on(binding.value)
                return

    def _go_on(self, value: Tensor) -> None:
        self.current = value.name
        self.shape = list(value.shape)

    def added(
        self, node: Node, shapes: Sequence[Shape], specs: Sequence[ParameterSpec], path: str
    ) -> None:
        """Write a layer down."""
        if node.inputs != (self.current,) or node.name != path:
            raise NotStructuredError
        form = self._worded(node, local(node.op.torch(*shapes)))
        stage = self.places.stages.get(node.origin.span)
        self._place(tuple(_modules(form)), stage, path, node.op.name, bool(specs), node.origin.span)
        self._go_on(Tensor(node.name, node.shape, node.origin.span))

    def _worded(self, node: Node, form: Torch) -> Torch:
        """A layer with the file's expressions for what is true or false."""
        options = dict(form.options)
        for name, span in node.origin.attributes.items():
            value, expr = options.get(name), self.places.given.get(span)
            if expr is None or not isinstance(value, bool) or not names_of(expr):
                continue
            if isinstance(self.body.evaluate(expr), bool):
                if value != getattr(node.op, name):
                    raise NotStructuredError
                options[name] = Symbol(self.python.text(expr))
        return replace(form, options=options)

    def calling(self, block: syntax.Block, module: Module, path: str) -> Follower:
        """A block is followed as ever."""
        return super().calling(block, module, path)

    def inlining(self, block: syntax.Block) -> Follower:
        """The statements of another body are not part of this one's structure."""
        raise NotStructuredError

    def called(
        self, inner: Follower, inputs: Sequence[Input], result: Result, span: Span
    ) -> Result:
        """Write a call of a block down."""
        if isinstance(result, Tensor):
            result = self._sized(inner, result)
        result = super().called(inner, inputs, result, span)
        if isinstance(result, Unknown):
            return result
        event = self.record.events[-1]
        assert isinstance(event, Called)
        if isinstance(result, Tensors) or event.inputs != (self.current,):
            raise NotStructuredError
        body = event.body
        others = {n: v for n, v in body.arguments.items() if _is_no_number(v)}
        assert isinstance(body.definition, syntax.Block)
        taken = self.taken.get(body.definition)
        if taken is None:
            raise NotStructuredError
        given = {symbol: local(event.given[symbol]) for symbol in taken}
        block = Block(body.definition, given, others)
        stage = self.places.stages.get(span)
        kind = body.prefix.rstrip("0123456789")
        self._place((block,), stage, body.prefix, kind, True, span)
        self._go_on(result)
        return result

    def _sized(self, inner: Follower, result: Tensor) -> Tensor:
        """A result of a block, its sizes as in other calls."""
        assert isinstance(inner, Tracer)
        block, symbols = inner.record.definition, inner.record.symbols
        assert isinstance(block, syntax.Block)
        numbers = {name: int(value) for name, value in symbols.items() if isinstance(value, int)}
        sizes = tuple(
            self.results.size((block, axis), size, numbers)
            for axis, size in enumerate(result.shape)
        )
        return Tensor(result.name, sizes, result.span)

    def _place(
        self,
        modules: tuple[Torch | Block, ...],
        stage: syntax.Stage | None,
        path: str,
        kind: str,
        held: bool,
        span: Span,
    ) -> None:
        label = None if stage is None or stage.label is None else self._label(stage.label)
        step = self.recorder.add(Placed(modules, label, kind if label is None else "", held, span))
        assert isinstance(step, Placed)
        self.owners[path] = step
        self.placements.append(Placement(step, path, tuple(self._turns)))

    def _label(self, label: syntax.Label) -> tuple[str, ...]:
        """The parts of a label, each as it stands in an f-string."""
        return tuple(
            "".join(p if isinstance(p, str) else f"{{{self.python.text(p)}}}" for p in parts)
            for parts in label.segments
        )


def _modules(form: Torch) -> list[Torch]:
    """What a layer is as modules that each take the value of the one before."""
    if form.is_module:
        if form.inputs != (X(0),):
            raise NotStructuredError
        return [form]
    if form.as_module is None and form.target not in _MODULES:
        raise NotStructuredError
    first, *rest = form.arguments
    if not isinstance(first, Torch) and first != X(0):
        raise NotStructuredError
    before = _modules(first) if isinstance(first, Torch) else []
    target = form.as_module or _MODULES[form.target]
    arguments = tuple(rest)
    if target == "nn.Flatten":
        if arguments != (1,):
            raise NotStructuredError
        arguments = ()
    made = Torch(target, arguments, form.options, defaults=form.defaults, pairs=form.pairs)
    return [*before, made]


# Functions that are a part of a layer's form, as modules.
_MODULES = {"torch.flatten": "nn.Flatten", "F.adaptive_avg_pool2d": "nn.AdaptiveAvgPool2d"}


def named(name: str, value: Any) -> Any:
    """What a Python name stands for, whose value this is."""
    if value is None or isinstance(value, (bool, str, range)):
        return value
    if isinstance(value, tuple):
        return plain(value)
    if isinstance(value, (int, float)):
        return _number(value, name)
    raise NotStructuredError


def _number(value: float, text: str) -> Traced | TracedFloat:
    """A number, and how Python writes it."""
    if isinstance(value, int):
        size = cast(Dim, Size.named(bracketed(text)))
        return Traced(int(value), size, size)
    return TracedFloat(value, text, text)


def _text(size: Any) -> str:
    return size_text(size.local) if isinstance(size, Traced) else str(size)


def _forgotten(size: Any) -> Any:
    return int(size) if isinstance(size, int) else size


def _is_no_number(value: Any) -> bool:
    return isinstance(value, bool) or not isinstance(value, (int, float))
