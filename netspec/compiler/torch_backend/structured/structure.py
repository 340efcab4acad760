"""The body of a net or a block between its syntax and its graph: loops, conditions and names are still
there.

Statements stand in the file's order, over Python names: those of the file, and such as carry the size
of a value from one turn of a loop to the next. All that a size or an attribute says is an expression
over these names. The statements hold for all arguments that they were recorded with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from typing import Any

from netspec.compiler.elaborate.constant_loops import Outcomes
from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.sizes import Size
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.local_sizes import Symbol
from netspec.compiler.torch_backend.structured.numbers import Numbers
from netspec.diagnostics import Span
from netspec.records import record


class NotStructuredError(Exception):
    """The runs of a body differ in what no name tells apart."""


Expression = Any
"""A `Size`, a `Symbol`, or a plain constant."""


UNSAID: Expression = object()
"""What no expression says."""


class Said:
    """What the file says in one place, as expressions that hold for all that met it so far.

    `is_written` says whether some text has it.
    """

    __slots__ = ("is_written", "known", "met")

    def __init__(self, number: Number, numbers: Numbers) -> None:
        self.known: list[Expression] = number.said
        self.met: list[tuple[Numbers, Any]] = [(numbers, number.value)]
        self.is_written = False

    def meet(self, number: Number, numbers: Numbers) -> None:
        """Keep those expressions that hold here too."""
        said, value = number.said, number.value
        if len(said) != len(self.known) or not all(map(_equal, self.known, said)):
            self.known = self._still_known(said, value, numbers)
        self.met.append((numbers, value))

    def _still_known(
        self, said: Sequence[Expression], value: Any, numbers: Numbers
    ) -> list[Expression]:
        known = [
            e for e in self.known if any(_equal(e, s) for s in said) or _holds(e, value, numbers)
        ]
        for expression in said:
            is_new = not any(_equal(e, expression) for e in known)
            if is_new and all(_holds(expression, v, n) for n, v in self.met):
                known.append(expression)
        return known

    @property
    def expression(self) -> Expression:
        """The expression.

        Raises:
            NotStructuredError: if there is none for all.
        """
        if not self.known:
            raise NotStructuredError
        self.is_written = True
        return self.known[0]

    def state(self) -> tuple[list[Expression], int]:
        """What `restore` goes back to."""
        return list(self.known), len(self.met)

    def restore(self, state: tuple[list[Expression], int]) -> None:
        """Forget what was met since."""
        self.known = list(state[0])
        del self.met[state[1] :]


def _equal(a: Expression, b: Expression) -> bool:
    return type(a) is type(b) and bool(a == b)


def _holds(expression: Expression, value: Any, numbers: Numbers) -> bool:
    if isinstance(expression, Size):
        if not all(isinstance(numbers.get(name, 0), int) for name in expression.names()):
            return False  # a list, say, in another turn of a loop
        found = expression.at(numbers)
        return isinstance(found, int) and found == value
    if isinstance(expression, Symbol):
        return expression.name in numbers and _equal_values(numbers[expression.name], value)
    return _equal_values(expression, value)


def _equal_values(a: Any, b: Any) -> bool:
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


@record
class Number:
    """A constant where it is used: its value, and how it is written, best first."""

    value: Any
    expression: Expression
    otherwise: Expression = UNSAID

    @property
    def said(self) -> list[Expression]:
        """How it may be written."""
        return [e for e in (self.expression, self.otherwise) if e is not UNSAID]


def remember(form: Any, numbers: Numbers) -> Any:
    """A form whose constants are places where more can be met."""
    if isinstance(form, Number):
        return Said(form, numbers)
    return _each(form, lambda part: remember(part, numbers))


def meet(known: Any, form: Any, numbers: Numbers, first: Callable[[Said], None]) -> None:
    """Meet a form again. `first` is called with each place of a constant before that meets another.

    Raises:
        NotStructuredError: if it differs in more than its constants.
    """
    if isinstance(known, Said) and isinstance(form, Number):
        first(known)
        known.meet(form, numbers)
        return
    if type(known) is not type(form):
        raise NotStructuredError
    pairs = None if type(known) in _PLAIN else _pairs(known, form)
    if pairs is None and known != form:
        raise NotStructuredError
    for mine, other in pairs or ():
        meet(mine, other, numbers, first)


def _pairs(known: Any, form: Any) -> Iterable[tuple[Any, Any]] | None:
    """What two forms of one type consist of, side by side; None for such as have no parts.

    Raises:
        NotStructuredError: if one has parts that the other has not.
    """
    if isinstance(known, Torch):
        each = [(getattr(known, name), getattr(form, name)) for name in _FIELDS]
        # Some are one object, such as the word that all forms of an op share.
        return [(mine, other) for mine, other in each if mine is not other]
    if isinstance(known, Block):
        return [(known.of, form.of), (known.given, form.given)]
    if not isinstance(known, (tuple, dict)):
        return None
    if len(known) != len(form) or (isinstance(known, dict) and known.keys() != form.keys()):
        raise NotStructuredError
    if isinstance(known, dict):
        return [(part, form[key]) for key, part in known.items()]
    return zip(known, form, strict=True)


def _parts(form: Any) -> dict[Any, Any] | None:
    """What a form consists of; None for one without parts."""
    if isinstance(form, Torch):
        return {name: getattr(form, name) for name in _FIELDS}
    if isinstance(form, Block):
        return {"of": form.of, "given": form.given}
    if isinstance(form, tuple):
        return dict(enumerate(form))
    return form if isinstance(form, dict) else None


def said(form: Any) -> Any:
    """A form with its expressions.

    Raises:
        NotStructuredError: if some constant has none.
    """
    return form.expression if isinstance(form, Said) else _each(form, said)


def places_in(form: Any) -> list[Said]:
    """The places of constants in a form."""
    found: list[Said] = []
    left = [form]
    while left:
        part = left.pop()
        if type(part) in _PLAIN:
            continue
        if isinstance(part, Said):
            found.append(part)
            continue
        parts = _parts(part)
        if parts:
            left.extend(reversed(parts.values()))
    return found


_FIELDS = tuple(each.name for each in fields(Torch))
_PLAIN = frozenset({str, int, float, bool, type(None)})


def _each(form: Any, change: Any) -> Any:
    if type(form) in _PLAIN:
        return form
    if isinstance(form, Torch):
        return Torch(*[change(getattr(form, name)) for name in _FIELDS])
    if isinstance(form, Block):
        return replace(form, given=change(form.given))
    if isinstance(form, tuple):
        return tuple(change(item) for item in form)
    if isinstance(form, dict):
        return {key: change(value) for key, value in form.items()}
    return form


# --------------------------------------------------------------------------------------- statements


@dataclass(eq=False)
class Suite:
    """Statements that follow on one another; None as long as no arguments have led here.

    Attributes:
        recorded: all of them.
        ended: whether a run has come to its end.
        unread: those that no result depends on.
    """

    recorded: list[Step] | None = None
    ended: bool = False
    unread: Set[Step] = frozenset()

    @property
    def steps(self) -> list[Step] | None:
        """The statements that are written."""
        if self.recorded is None or not self.unread:
            return self.recorded
        return [step for step in self.recorded if step not in self.unread]


@dataclass(eq=False)
class Read:
    """A value where it is read: the names that hold it, or the statement that computes it."""

    sources: list[Source]

    def meet(self, other: Read) -> None:
        """Keep what both have."""
        self.sources = [source for source in self.sources if source in other.sources]

    @property
    def source(self) -> Source:
        """Where it is read from.

        Raises:
            NotStructuredError: if nothing has held it in all runs.
        """
        if not self.sources:
            raise NotStructuredError
        return self.sources[0]


@dataclass(eq=False)
class Let:
    """Names get values: `stride = 2 if stage > 0 else 1`; `annotation` is their type, if need be.

    `text` is how the constructor writes the value, `later` how `forward` does.
    """

    names: tuple[str, ...]
    text: Any
    later: Any
    annotation: str = ""


@dataclass(eq=False)
class Bind:
    """A name gets a value of the net."""

    name: str
    value: Read


@dataclass(eq=False)
class Gather:
    """A name gets a list of values: lists, by their names, and values, in their order."""

    name: str
    parts: tuple[Read | str, ...]


@dataclass(eq=False)
class Carry:
    """A name takes over the size of an axis of the value, for what follows a loop or a condition."""

    name: str
    size: Any
    place: tuple[tuple[Span, ...], str, int]


@dataclass(eq=False)
class Refuse:
    """Arguments that an assert does not hold for."""

    condition: str
    message: str


@record
class Block:
    """A call of a block: its class, and what that is given."""

    of: BlockClass
    given: Mapping[str, Any]


@dataclass(eq=False)
class Placed:
    """A layer or a block: its form in PyTorch, and what it is called.

    Attributes:
        form: how the constructor writes it.
        later: how `forward` writes it; None for a block.
        own: the shapes of those parameters that no module holds.
        label: each part of it as Python text between the quotes of an f-string; None where it is
            numbered.
        kind: what it is numbered under.
        what: the name of the op or the block.
        held: whether it has parameters, and so keys in a `state_dict`.
        reads: its inputs.
        gives: the number of its results.
        again: whether it is another use of a layer or a block.
        of_views: whether it is written so as to be correct for views with permuted axes.
        cut: of how many equal parts of a value it is one, and the axis.
        later_label: the label in `forward`.
        is_buffer: whether it is a buffer of the class itself.
        is_saved: whether the state dict has it.
        numbers: the list that it starts as, where the constructor of its class has that; else None.
        whole: which of its inputs are lists of values, by their places.
        ranks: how many axes its inputs have with that of the batch; empty where that differs.
    """

    form: Torch | Block
    later: Torch | None
    own: Mapping[str, Any]
    label: tuple[str, ...] | None
    kind: str
    what: str
    held: bool
    reads: tuple[Read, ...]
    gives: int
    again: bool
    of_views: bool
    span: Span
    cut: tuple[int, int] | None = None
    later_label: tuple[str, ...] | None = None
    is_buffer: bool = False
    is_saved: bool = True
    numbers: Any = None
    whole: tuple[int, ...] = ()
    ranks: tuple[int, ...] = ()

    @property
    def has_module(self) -> bool:
        """Whether an object of its class holds something for it."""
        if self.again:
            return False
        return self.held or isinstance(self.form, Block) or self.form.module is not None

    @property
    def is_array(self) -> bool:
        """Whether it is a parameter or a buffer of the class itself, without a module."""
        return "" in self.own


@dataclass(eq=False)
class Loop:
    """`for`, over Python's names; `later` is what it runs over in `forward`.

    `outcomes` are those of a loop over constants, by which of its names the body has made so far, and how
    many items of lists were followed, where that matters. `counts` says how many it follows itself.
    """

    targets: tuple[str, ...]
    iterable: Any
    later: Any
    span: Span
    body: Suite = field(default_factory=Suite)
    outcomes: dict[tuple[frozenset[str], int], Outcomes] = field(default_factory=dict)
    counts: dict[frozenset[str], int] = field(default_factory=dict)


@dataclass(eq=False)
class Branch:
    """`if`: a case for each condition, and one where none holds.

    `conditions` are as the constructor writes them, `later` as `forward` does. `values` are what
    its cases give, where the file has an expression.
    """

    conditions: Any
    later: Any
    span: Span
    cases: list[Suite] = field(default_factory=list)
    values: list[Read | None] = field(default_factory=list)


@dataclass(eq=False)
class Return:
    """The end of a body."""

    values: tuple[Read, ...]


Step = Let | Bind | Gather | Carry | Refuse | Placed | Loop | Branch | Return
Source = str | tuple[Step, int]
"""Where a value is: a name, an item of a list such as `parts[i]`, or a result of a statement."""


def suites_in(step: Step) -> list[Suite]:
    """What stands under a loop or a condition."""
    if isinstance(step, Loop):
        return [step.body]
    return step.cases if isinstance(step, Branch) else []


def reads_of(step: Step) -> Iterator[Read]:
    """The values that a statement reads, without those of the statements in it."""
    if isinstance(step, Placed):
        yield from step.reads
    elif isinstance(step, Bind):
        yield step.value
    elif isinstance(step, Gather):
        yield from (part for part in step.parts if isinstance(part, Read))
    elif isinstance(step, Return):
        yield from step.values
    elif isinstance(step, Branch):
        yield from (value for value in step.values if value is not None)


def _facts(step: Step) -> Any:
    """What must be the same in all runs, bodies, values and constants apart."""
    if isinstance(step, Loop):
        return step.targets, step.span
    if isinstance(step, Branch):
        return len(step.conditions), step.span
    if isinstance(step, Placed):
        return (
            step.label, step.kind, step.what, step.held, step.gives, step.again, step.own.keys(),
            len(step.reads), step.of_views, step.span, step.cut, step.is_buffer,
            step.is_saved, step.whole,
        )  # fmt: skip
    if isinstance(step, Let):
        return step.names
    if isinstance(step, Bind):
        return step.name
    if isinstance(step, Refuse):
        return step.condition, step.message
    if isinstance(step, Gather):
        return step.name, [part if isinstance(part, str) else None for part in step.parts]
    return (step.name, step.place) if isinstance(step, Carry) else len(step.values)


def _reads(step: Step) -> Sequence[Read]:
    if isinstance(step, Placed):
        return step.reads
    if isinstance(step, Bind):
        return [step.value]
    if isinstance(step, Gather):
        return [part for part in step.parts if isinstance(part, Read)]
    return step.values if isinstance(step, Return) else []


def forms_of(step: Step) -> Any:
    """The forms in a statement: what the constructor writes, then what `forward` does."""
    if isinstance(step, Placed):
        return (step.form, step.own, step.numbers), step.later
    if isinstance(step, Let):
        return step.text, step.later
    if isinstance(step, Branch):
        return step.conditions, step.later
    if isinstance(step, Loop):
        return step.iterable, step.later
    return (step.size if isinstance(step, Carry) else None), None


class Recorder:
    """Records what runs of a body do: the first writes statements down, others meet them.

    Args:
        is_strict: whether what is read must be the same in all runs, at once.

    Attributes:
        is_trial: whether the last run may be forgotten.
        has_grown: whether it had statements that no run before it had.

    Raises:
        NotStructuredError: where they differ.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self.is_strict = is_strict
        self.root = Suite()
        self._open: list[tuple[Suite, int]] = []
        self._undo: list[Any] = []
        self.is_trial = False
        self.has_grown = False
        self._tried: list[Said] = []

    def begin(self, *, is_trial: bool = False) -> None:
        """A run begins, after which `forget` is possible if it is a trial."""
        self.is_trial = is_trial
        self.has_grown = False
        self._tried.clear()
        self._open.clear()
        self._undo.clear()
        self.enter(self.root)

    @property
    def is_first(self) -> bool:
        """Whether no run has come to its end."""
        return not self.root.ended

    def forget(self) -> None:
        """Take back what the last run has added."""
        for undo in reversed(self._undo):
            undo()
        self._undo.clear()

    def may_forget(self, undo: Callable[[], object]) -> None:
        """`forget` shall do this too."""
        self._undo.append(undo)

    def require_said(self, *, written: bool = False) -> None:
        """Check that a trial has left every constant an expression, or every one that is `written`.

        Raises:
            NotStructuredError: if it has not.
        """
        if any(not place.known for place in self._tried if place.is_written or not written):
            raise NotStructuredError

    def enter(self, suite: Suite) -> None:
        """What follows stands in this suite."""
        if suite.recorded is None:
            suite.recorded = []
            self._undo.append(lambda: setattr(suite, "recorded", None))
        self._open.append((suite, 0))

    def leave(self) -> None:
        """The suite is over."""
        suite, at = self._open.pop()
        assert suite.recorded is not None
        if not suite.ended:
            suite.ended = True
            self._undo.append(lambda: setattr(suite, "ended", False))
        if at != len(suite.recorded):
            raise NotStructuredError

    def leave_all(self) -> None:
        """The body has returned."""
        self.leave()
        self._open.clear()

    def add(self, step: Step, numbers: Numbers) -> Step:
        """A statement, its forms with numbers; returns the one that was recorded first."""
        suite, at = self._open.pop()
        steps = suite.recorded
        assert steps is not None
        self._open.append((suite, at + 1))
        if at == len(steps) and not suite.ended:
            self.has_grown = True
            steps.append(_remembered(step, numbers))
            self._undo.append(steps.pop)
            return steps[-1]
        if at >= len(steps):
            raise NotStructuredError
        known = steps[at]
        if type(known) is not type(step) or _facts(known) != _facts(step):
            raise NotStructuredError
        for one, two in zip(_reads(known), _reads(step), strict=True):
            self._meet_read(one, two)
        if isinstance(known, Placed) and isinstance(step, Placed) and known.ranks != step.ranks:
            known.ranks = ()
        first = self._trying if self.is_trial else _passing
        meet(forms_of(known), forms_of(step), numbers, first)
        return known

    def _trying(self, place: Said) -> None:
        """A trial is about to meet a constant."""
        self._undo.append(_restoring(place))
        if place.known:
            self._tried.append(place)

    def give(self, branch: Branch, case: int, value: Read) -> None:
        """What a case of a condition gives."""
        known = branch.values[case]
        if known is None:
            branch.values[case] = value
            self._undo.append(lambda: branch.values.__setitem__(case, None))
        else:
            self._meet_read(known, value)

    def _meet_read(self, known: Read, other: Read) -> None:
        sources = known.sources
        self._undo.append(lambda: setattr(known, "sources", sources))
        known.meet(other)
        if self.is_strict and not known.sources:
            raise NotStructuredError

    def expected(self) -> Step | None:
        """The statement that must come next, if that is known."""
        suite, at = self._open[-1]
        assert suite.recorded is not None
        return None if at >= len(suite.recorded) else suite.recorded[at]


def _passing(place: Said) -> None:
    """Nothing is to be done before a constant meets another."""


def _restoring(place: Said) -> Any:
    state = place.state()
    return lambda: place.restore(state)


def _remembered(step: Step, numbers: Numbers) -> Step:
    if isinstance(step, Placed):
        step.form = remember(step.form, numbers)
        step.later = remember(step.later, numbers)
        step.own = remember(step.own, numbers)
        step.numbers = remember(step.numbers, numbers)
    elif isinstance(step, Let):
        step.text, step.later = remember(step.text, numbers), remember(step.later, numbers)
    elif isinstance(step, Branch):
        step.conditions = remember(step.conditions, numbers)
        step.later = remember(step.later, numbers)
    elif isinstance(step, Loop):
        step.iterable = remember(step.iterable, numbers)
        step.later = remember(step.later, numbers)
    elif isinstance(step, Carry):
        step.size = remember(step.size, numbers)
    return step
