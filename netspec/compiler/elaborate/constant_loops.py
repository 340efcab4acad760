"""Loops over constants, of which a net that is built again and again computes each outcome once.

The generator of PyTorch classes builds a net with other arguments, one after another, to find out
what depends on which. A loop that fills a list gives the same as before, unless a name that it reads
stands for something else. Nor does it have to follow each turn: what it writes of a turn depends on
which names are lists, and on no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from netspec.compiler.elaborate.follower import Follower, Steady, UnsteadyError
from netspec.compiler.elaborate.names import Names, assigned
from netspec.compiler.elaborate.net_builder import Assembly
from netspec.compiler.elaborate.scope import Reads, Scope
from netspec.compiler.elaborate.values import (
    SharedLayer,
    Tensor,
    TensorList,
    Tensors,
    Unknown,
    Value,
)
from netspec.compiler.ir import constants
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.sizes import Size
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.elaborate.reporter import Reports

    Turns = Callable[[Sequence[Constant]], bool]
    # Takes turns of a loop in a body of its own, of which that follower hears.
    Apart = Callable[[syntax.For, Sequence[Constant], Scope, Follower], bool]

# What takes less work is soon done again.
_WORTH = 100
# So many outcomes of a loop are kept, with so many items of lists; longer lists that a loop reads are not
# compared.
_MOST, _MOST_ITEMS, _MOST_READ = 4, 1 << 14, 256
# Fewer turns are followed as soon as they are computed ahead. The first may read what stands in front of
# the loop; the second is like all others.
_MANY_TURNS, _FIRST = 8, 2
# No other parts of the language make or read a value of the net, or end a body.
_PARTS = (
    syntax.For, syntax.If, syntax.Assign, syntax.Name, syntax.Literal, syntax.ListExpr,
    syntax.Parens, syntax.Chain, syntax.Compare, syntax.Logic, syntax.Unary, syntax.Power,
    syntax.Conditional, syntax.Access, syntax.Index, syntax.Slice, syntax.Call, syntax.Argument,
)  # fmt: skip


@record(slots=True)
class Outcome:
    """What a loop did.

    Attributes:
        values: what its names stand for after it, and where they were given that.
        written: where the values of its names were written.
        work: how much of the file's limit it used.
        followed: what the follower keeps of it.
    """

    values: tuple[tuple[str, Value, Span], ...]
    written: tuple[tuple[Span, Span], ...]
    work: int
    followed: object


class Outcomes:
    """The last outcomes of a loop, by what its names stood for in front of it.

    Args:
        may_forget: is given what takes an outcome back, for those who may have to.
    """

    def __init__(self, may_forget: Callable[[Callable[[], object]], None] | None = None) -> None:
        self._known: dict[object, Outcome] = {}
        self._may_forget = may_forget

    def get(self, key: object) -> Outcome | None:
        """What the loop did from there, if that is known."""
        return self._known.get(key)

    def keep(self, key: object, outcome: Outcome) -> None:
        """Keep what the loop did; the oldest outcome goes."""
        while len(self._known) >= _MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = outcome
        if self._may_forget is not None:
            self._may_forget(lambda: self._known.pop(key, None))


class NotPlainError(Exception):
    """A name stands for a value of the net, or for more than is worth to compare."""


class ConstantLoops:
    """Takes the turns of a body's loops, or knows what they did before.

    `apart` takes turns that the body's follower does not hear of.
    """

    def __init__(
        self,
        assembly: Assembly,
        names: Names,
        reporter: Reports,
        follower: Follower,
        apart: Apart,
    ) -> None:
        self.assembly = assembly
        self.names = names
        self.reporter = reporter
        self.follower = follower
        self.apart = apart
        self._is_inside = False
        self._of: dict[syntax.For, tuple[str, ...]] = {}

    def run(self, loop: syntax.For, values: Sequence[Constant], turns: Turns) -> None:
        """Take the turns of a loop, if it is not known what they do.

        `turns` takes those with some of the values, and returns whether they could all be taken.
        """
        if self._is_inside:
            self._take(loop, values, turns)
            return
        names = self._names(loop) if self.follower.keeps_outcomes else ()
        outcomes = self.follower.outcomes(loop, names) if names else None
        if outcomes is None:
            turns(values)
            return
        try:
            key = tuple(self._facts(name) for name in names)
        except NotPlainError:
            turns(values)
            return
        known = outcomes.get(key)
        if known is not None:
            self._repeat(loop, known)
            return
        before = self.assembly.work
        self._is_inside = True  # the loops in it are a part of it
        self.follower.watching()
        is_sound = self._take(loop, values, turns)
        followed = self.follower.watched(loop)
        self._is_inside = False
        work = self.assembly.work - before
        if is_sound and work >= _WORTH and not self.assembly.failed:
            self._keep(outcomes, key, loop, work, followed)

    def _take(self, loop: syntax.For, values: Sequence[Constant], turns: Turns) -> bool:
        """Take the turns of a loop over constants, of which the follower need not hear of all."""
        is_many = self.follower.skips_turns and len(values) >= _MANY_TURNS
        if not is_many or any(isinstance(part, syntax.If) for part in syntax.nested(loop.body)):
            return turns(values)
        before = self.assembly.work
        scope = self._ahead(loop, values[:-1])
        work, self.assembly.work = self.assembly.work, before
        if not turns(values if scope is None else values[:_FIRST]):
            return False
        if scope is None:
            return True
        self.assembly.work = work
        given = list(dict.fromkeys(name.id for name in given_in(loop)))
        bound = [(name, scope.get(name)) for name in given]
        known = {name: binding for name, binding in bound if binding is not None}
        now = self.follower.skipped(list(known), [binding.value for binding in known.values()])
        for (name, binding), value in zip(known.items(), now, strict=True):
            self.names.scope.bind(name, value, binding.span)
        return turns(values[-1:])

    def _ahead(self, loop: syntax.For, values: Sequence[Constant]) -> Scope | None:
        """What the names of a loop stand for after some turns; None if all turns must be followed."""
        scope = Scope(Reads())
        for name in self._names(loop):
            binding = self.names.scope.get(name)
            if binding is None:
                continue
            if isinstance(binding.value, (Tensor, Tensors, TensorList, SharedLayer, Unknown)):
                return None
            (value,) = self.follower.fixing((binding.value,))
            scope.bind(name, value, binding.span)
        with suppress(UnsteadyError):
            given = [v for v in self.follower.fixing(values) if not isinstance(v, Unknown)]
            if self.apart(loop, given, scope, Steady()):
                return scope
        return None

    def _names(self, loop: syntax.For) -> tuple[str, ...]:
        """The names in a loop over constants; none for any other loop."""
        known = self._of.get(loop)
        if known is None:
            is_constant = all(map(self._is_constant, syntax.parts(loop)))
            names = {p.id for p in syntax.parts(loop) if is_constant and isinstance(p, syntax.Name)}
            known = self._of[loop] = tuple(sorted(names))
        return known

    def _is_constant(self, part: object) -> bool:
        if isinstance(part, syntax.Call):
            return self.names.is_function(part.callee.id)
        return isinstance(part, _PARTS)

    def _facts(self, name: str) -> object:
        """What tells apart that for which a name stands."""
        if name not in self.names.scope:
            return None
        binding = self.names.scope.get(name)
        assert binding is not None
        return facts_of(binding.value)

    def _keep(
        self, outcomes: Outcomes, key: object, loop: syntax.For, work: int, followed: object
    ) -> None:
        written = self.assembly.written
        targets = list(given_in(loop))
        bindings = {name: self.names.scope.get(name) for name in {t.id for t in targets}}
        values = [(name, b.value, b.span) for name, b in bindings.items() if b is not None]
        if sum(constants.size(value) for _, value, _ in values) > _MOST_ITEMS:
            return
        places = tuple((t.span, written[t.span]) for t in targets if t.span in written)
        outcomes.keep(key, Outcome(tuple(values), places, work, followed))

    def _repeat(self, loop: syntax.For, known: Outcome) -> None:
        """Do what a loop did before."""
        self.reporter.count_work(loop.iterable.span, known.work)
        for name, value, span in known.values:
            self.names.scope.bind(name, value, span)
        self.assembly.written.update(known.written)
        self.follower.repeated(loop, known.followed)


def given_in(loop: syntax.For) -> Iterator[syntax.Name]:
    """The names that a loop gives values, and those of the loops in it."""
    yield from assigned((loop,))
    for statement in syntax.nested((loop,)):
        if isinstance(statement, syntax.For):
            yield from statement.targets


def facts_of(value: object) -> object:
    """What tells a constant apart, with what a follower's number knows of itself.

    Raises:
        NotPlainError: for anything else, and for a long list.
    """
    if isinstance(value, tuple):
        if constants.size(value) > _MOST_READ:
            raise NotPlainError
        return tuple(map(facts_of, value))
    if isinstance(value, Size):
        return value
    if value is None or isinstance(value, (bool, int, float, str, range)):
        # `repr` tells -0.0 from 0.0, and empty ranges apart.
        return type(value), repr(value), tuple(getattr(value, "__dict__", {}).items())
    raise NotPlainError
