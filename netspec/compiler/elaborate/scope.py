"""Names while a body is built: what they stand for, and whether anyone read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from netspec.compiler.elaborate.values import Value
from netspec.diagnostics import Span


@dataclass(slots=True)
class Binding:
    """What a name stands for, and where it was given."""

    value: Value
    span: Span


@dataclass(eq=False, repr=False)
class Reads:
    """Which assignments of a net were ever read. A block's are read if any of its calls reads them."""

    assigned: dict[Span, str] = field(default_factory=dict)
    read: set[Span] = field(default_factory=set)

    def unread(self) -> dict[Span, str]:
        """The assignments that nothing read, in any turn of any call."""
        return {span: name for span, name in self.assigned.items() if span not in self.read}


class Scope:
    """The names of one net or block body. Loops and conditions share it, as in Python."""

    def __init__(self, reads: Reads) -> None:
        self._bindings: dict[str, Binding] = {}
        self._reads = reads

    def bind(self, name: str, value: Value, span: Span, *, must_read: bool = False) -> None:
        """Give a name a value. `must_read`: warn if nothing ever reads it."""
        self._bindings[name] = Binding(value, span)
        if must_read:
            self._reads.assigned.setdefault(span, name)

    def get(self, name: str) -> Binding | None:
        """What a name stands for; counts as reading it."""
        binding = self._bindings.get(name)
        if binding is not None:
            self._reads.read.add(binding.span)
        return binding

    def replace(self, name: str, value: Value) -> None:
        """Let a name that is known stand for something else."""
        self._bindings[name].value = value

    def part(self, names: Iterable[str]) -> Scope:
        """A scope of some of the names, as they stand now."""
        part = Scope(self._reads)
        for name in names:
            binding = self.get(name)
            if binding is not None:
                part._bindings[name] = binding
        return part

    def view(self) -> Scope:
        """The same names; looking one up there does not count as reading it."""
        view = Scope(Reads())
        view._bindings = self._bindings
        return view

    def names(self) -> list[str]:
        """All names, for suggestions."""
        return list(self._bindings)
