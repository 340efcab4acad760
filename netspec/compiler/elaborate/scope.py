"""Scopes: the bindings of names while a body is built, and whether each binding was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from netspec.compiler.elaborate.values import SharedLayer, Tensor, Tensors, Unknown, Value
from netspec.compiler.ir.constants import Constant
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Span

# As many values of one name are kept as anybody reads.
MAX_CONSTANTS = 12
_NOT_CONSTANT = (Tensor, Tensors, SharedLayer, Unknown)


@dataclass(slots=True)
class Binding:
    """The binding of a name: its value, and the span of its definition."""

    value: Value
    span: Span
    is_read: bool = False


@dataclass(eq=False, repr=False, slots=True)
class Turns:
    """What the turns of loops made of an assignment: how many values, and how many of these the next
    turn replaced before anything read them.

    `start` is the value that the pipeline of each turn started from, None if these are several.
    """

    assignment: syntax.Assign
    start: Value | None
    values: int = 0
    lost: int = 0


@dataclass(eq=False, repr=False)
class Reads:
    """Records which assignments of a net are read.

    An assignment in a block counts as read if it is read in any call of the block.
    """

    assigned: dict[Span, str] = field(default_factory=dict)
    read: set[Span] = field(default_factory=set)
    turns: dict[Span, Turns] = field(default_factory=dict)
    # The constants that each name stood for, some of them where they are many, with their types:
    # true is not 1.
    constants: dict[Span, dict[tuple[type, Constant], None]] = field(default_factory=dict)

    def note(self, span: Span, value: Value) -> None:
        """Keep what a name stands for, if it is a constant that can be said shortly."""
        if isinstance(value, _NOT_CONSTANT):
            return
        if isinstance(value, tuple) and (len(value) > MAX_CONSTANTS or tuple in map(type, value)):
            return
        known = self.constants.setdefault(span, {})
        if len(known) < MAX_CONSTANTS:
            known[type(value), value] = None

    def unread(self) -> dict[Span, str]:
        """Return the assignments that were not read in any loop iteration of any call."""
        return {span: name for span, name in self.assigned.items() if span not in self.read}

    def replaced(self) -> dict[Span, Turns]:
        """Return the assignments in loops that are read, though not in each turn."""
        return {
            span: turns for span, turns in self.turns.items() if turns.lost and span in self.read
        }


class Scope:
    """The scope of one net's or block's body.

    Loops and conditions do not open a scope, as in Python.
    """

    def __init__(self, reads: Reads) -> None:
        self._bindings: dict[str, Binding] = {}
        self._reads = reads
        self._notes_reads = True

    def bind(self, name: str, value: Value, span: Span, *, must_read: bool = False) -> None:
        """Bind a name to a value.

        With `must_read`, there is a warning if the name is never read.
        """
        self._bindings[name] = Binding(value, span)
        self._reads.note(span, value)
        if must_read:
            self._reads.assigned.setdefault(span, name)

    def count_turn(self, assignment: syntax.Assign) -> None:
        """Count a value that a turn of a loop is about to give to the one name of an assignment."""
        (target,) = assignment.targets
        value, start = assignment.value, None
        if isinstance(value, syntax.Pipeline) and isinstance(value.head, syntax.Name):
            found = self._bindings.get(value.head.id)
            start = None if found is None else found.value
        turns = self._reads.turns.setdefault(target.span, Turns(assignment, start))
        turns.start = start if turns.start is start else None
        earlier = self._bindings.get(target.id)
        turns.values += 1
        turns.lost += earlier is not None and earlier.span == target.span and not earlier.is_read

    def get(self, name: str) -> Binding | None:
        """Look up a name, or return None. This counts as reading it."""
        binding = self._bindings.get(name)
        if binding is not None and not binding.is_read and self._notes_reads:
            binding.is_read = True
            self._reads.read.add(binding.span)
        return binding

    def replace(self, name: str, value: Value) -> None:
        """Rebind a name that is already bound, without changing its span."""
        self._bindings[name].value = value

    def part(self, names: Iterable[str]) -> Scope:
        """Return a scope with the current bindings of some of the names."""
        part = Scope(self._reads)
        for name in names:
            binding = self.get(name)
            if binding is not None:
                part._bindings[name] = binding
        return part

    def view(self) -> Scope:
        """Return a view of the scope in which a lookup does not count as reading."""
        view = Scope(Reads())
        view._bindings = self._bindings
        view._notes_reads = False  # the bindings are those of the scope itself
        return view

    def __contains__(self, name: str) -> bool:
        """Whether a name is bound. This does not count as reading it."""
        return name in self._bindings

    def names(self) -> list[str]:
        """Return all names, for suggestions."""
        return list(self._bindings)
