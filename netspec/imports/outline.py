"""A `.net` file in statements of one layer each: what `structure` gives, and `text` writes.

Constants are texts of the language. Values have names, which statements may give again. Joining
statements to pipelines is a matter of `text`.
"""

from __future__ import annotations

from dataclasses import dataclass

from netspec.imports.number_lists import Counting
from netspec.imports.value_names import Names


@dataclass(frozen=True, slots=True)
class Step:
    """`target = operand -> label: callee(arguments)`.

    The first `by_place` of the arguments are written without their names. `note` is a comment on
    the value.
    """

    targets: tuple[str, ...]
    callee: str
    operands: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...] = ()
    label: str = ""
    note: str = ""
    by_place: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """`target = source`."""

    target: str
    source: str


@dataclass(frozen=True, slots=True)
class CountingTable:
    """A list of numbers that count: loops over the counters, with a range for the last axis.

    `first` is the name of the range's first number.
    """

    name: str
    first: str
    counters: tuple[str, ...]
    counting: Counting

    @classmethod
    def of(cls, name: str, counting: Counting, names: Names) -> CountingTable:
        """Return the loops for a list, with counters whose names are free."""
        counters = [names.word(c) for _, c in zip(counting.axes[1:], "ijkm", strict=False)]
        return cls(name, names.word("first"), tuple(counters), counting)


@dataclass(frozen=True, slots=True)
class Declaration:
    """`parameter name: [shape] = initial`."""

    kind: str
    name: str
    shape: str
    initial: str


@dataclass(frozen=True, slots=True)
class SharedLayer:
    """`layer name = callee(arguments)`, which steps then call by its name."""

    name: str
    callee: str
    arguments: tuple[tuple[str, str], ...] = ()
    by_place: int = 0


@dataclass(frozen=True, slots=True)
class When:
    """`if condition { ... } else { ... }`."""

    condition: str
    body: tuple[Statement, ...]
    otherwise: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True)
class Loop:
    """`for targets in iterable { ... }`."""

    targets: tuple[str, ...]
    iterable: str
    body: tuple[Statement, ...]


Statement = Step | Copy | Declaration | CountingTable | SharedLayer | When | Loop


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument in the head of a block, with its default as text, or None."""

    name: str
    default: str | None = None


@dataclass(frozen=True, slots=True)
class BlockOutline:
    """A block: its statements, and the values that it returns."""

    name: str
    arguments: tuple[Argument, ...]
    inputs: tuple[str, ...]
    body: tuple[Statement, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """A whole file.

    Attributes:
        name: of the net.
        doc: lines of the comment above it.
        inputs: name, what it holds (empty for real numbers), and the sizes.
        blocks: each behind those that it calls.
        body: the net's statements.
        outputs: names, empty for a single output, with values.
    """

    name: str
    doc: tuple[str, ...]
    inputs: tuple[tuple[str, str, str], ...]
    blocks: tuple[BlockOutline, ...]
    body: tuple[Statement, ...]
    outputs: tuple[tuple[str, str], ...]
