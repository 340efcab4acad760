"""Whole numbers that carry the expressions they come from: for the constructor and for `forward`.

A `SymbolicInt` is an ordinary whole number with a value, as PyTorch's `SymInt` is, so everything that
computes with sizes accepts it: attributes, shape rules, the forms of layers in PyTorch. A polynomial
alone would not do: rules compare sizes, index with them and ask their digits, and of the shape rules of
all layers four in ten have no answer without values. Beside its value it has two polynomials (`Size`):
`local` over the names of the constructor, and `outer` over those of `forward`. Names and expressions of
the file come from its syntax; the polynomials are what the rules of layers, which are Python, make of
them. What a polynomial cannot express gives a plain number; trying other arguments finds out what was
lost so.

In a block that is followed, both are over the names of its arguments (`rename`), and what these are
outside is put in for them (`outside`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

from netspec.compiler.ir.long_lists import OfLongLists
from netspec.compiler.ir.sizes import Dim, Size

# No name of a file begins so: it stands for an argument of a block, where `outer` is in these.
_INNER = "@"


class SymbolicInt(int):
    """A whole number, with the expressions from which it was computed."""

    local: Dim
    outer: Dim

    def __new__(cls, value: int, local: Dim, outer: Dim) -> SymbolicInt:
        """Create the number `value`, which equals both polynomials."""
        self = super().__new__(cls, value)
        self.local = local
        self.outer = outer
        return self

    def as_float(self) -> float:
        """The number as a fraction: it still knows the argument that it is."""
        known = [size.name for size in (self.local, self.outer) if isinstance(size, Size)]
        is_argument = len(known) == 2 and all(known) and not known[1].startswith(_INNER)
        return SymbolicFloat(float(self), *known) if is_argument else float(self)

    def __add__(self, other: Any) -> Any:
        return _combine(operator.add, self, other)

    def __radd__(self, other: Any) -> Any:
        return _combine(operator.add, other, self)

    def __sub__(self, other: Any) -> Any:
        return _combine(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        return _combine(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        return _combine(operator.mul, self, other)

    def __rmul__(self, other: Any) -> Any:
        return _combine(operator.mul, other, self)

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, SymbolicInt):
            return _divided(self, other)
        if not isinstance(other, int):
            return int(self) // other
        return _combine(operator.floordiv, self, other)

    def __neg__(self) -> Any:
        return _combine(operator.sub, 0, self)

    def __pos__(self) -> Any:
        return self


class SymbolicFloat(float):
    """A fractional number that is an argument, with its name in the class and in the net."""

    local: str
    outer: str

    def __new__(cls, value: float, local: str, outer: str) -> SymbolicFloat:
        """Create the number `value` of the argument `local`."""
        self = super().__new__(cls, value)
        self.local = local
        self.outer = outer
        return self


def _combine(operation: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    if not (isinstance(a, int) and isinstance(b, int)):
        return NotImplemented
    value = operation(int(a), int(b))
    local = operation(local_of(a), local_of(b))
    outer = operation(outer_of(a), outer_of(b))
    if isinstance(local, int) and isinstance(outer, int):
        return value
    return SymbolicInt(value, local, outer)


def _divided(a: SymbolicInt, b: SymbolicInt) -> int:
    """A quotient: a plain number where it is none of polynomials; one of them may still be one."""
    value = int(a) // int(b)
    local, outer = _quotient(a.local, b.local), _quotient(a.outer, b.outer)
    if local is None and outer is None:
        return value
    return SymbolicInt(value, value if local is None else local, value if outer is None else outer)


def _quotient(a: Dim, b: Dim) -> Dim | None:
    """`a // b` if `b` is a number, or a product that all terms of `a` contain."""
    if isinstance(b, int):
        return a // b if b else None
    if isinstance(a, int) or len(b.terms) > 1:
        return None
    ((divisor, factor),) = b.terms.items()
    terms = {}
    for monomial, coefficient in a.terms.items():
        left = list(monomial)
        for atom in divisor:
            if atom not in left:
                return None
            left.remove(atom)
        if coefficient % factor:
            return None
        terms[tuple(left)] = coefficient // factor
    return terms[()] if list(terms) == [()] else Size(terms)


def local_of(value: int) -> Dim:
    """Return a number in the arguments of the class that is generated."""
    return value.local if isinstance(value, SymbolicInt) else int(value)


def outer_of(value: int) -> Dim:
    """Return a number in the arguments of the net."""
    return value.outer if isinstance(value, SymbolicInt) else int(value)


_PLAIN = frozenset({int, float, bool, str, type(None)})
_PLAIN_LISTS: OfLongLists[tuple[Any, ...]] = OfLongLists()


def plain(value: Any) -> Any:
    """Return a constant as plain numbers, which record nothing."""
    if isinstance(value, tuple):
        # Long lists have nothing but plain numbers.
        if (known := _PLAIN_LISTS.get(value)) is not None:
            return known
        if _PLAIN.issuperset(map(type, value)):
            return _PLAIN_LISTS.keep(value, value)
        return tuple([item if type(item) in _PLAIN else plain(item) for item in value])
    if isinstance(value, SymbolicInt):
        return int(value)
    return float(value) if isinstance(value, SymbolicFloat) else value


def rename(value: Any, name: str) -> Any:
    """Return an argument of a block with its name there. A list becomes a list of plain numbers.

    What a whole number is outside is put in for its name later: a body does the same for all calls that
    give the same numbers.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(value)
    if isinstance(value, int):
        own = cast(Dim, Size.named(name))
        outer = cast(Dim, Size.named(_INNER + name))
        return SymbolicInt(
            int(value), own, outer if isinstance(outer_of(value), Size) else int(value)
        )
    return SymbolicFloat(value, name, value.outer if isinstance(value, SymbolicFloat) else "")


def outside(size: Dim, given: Mapping[str, int | float]) -> Dim:
    """Return what a number in the names of a block's arguments is for who gives it these."""
    if not isinstance(size, Size):
        return size
    return size.at({_INNER + name: outer_of(v) for name, v in given.items() if isinstance(v, int)})
