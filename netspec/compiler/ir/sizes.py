"""Sizes that a file leaves open: `input image: [3, H, W]`.

A `Size` is a polynomial with whole coefficients in named sizes and in floors of such polynomials. It
has the arithmetic that shape rules use, so the same rule serves numbers and names. Every named size
is at least 1. A comparison that cannot be decided is settled in favour of the file: `<` and `>` are
claimed only where they hold for all sizes, `<=` and `>=` are denied only where they fail for all. Truth,
by which ops ask whether two sizes differ, is also claimed where all but a few sizes give it: `H - 1` is
true, for a size that must be 1 is not left open.

>>> H = Size.named("H")
>>> print((H + 2 * 1 - 1 * (3 - 1) - 1) // 2 + 1)
floor((H + 1)/2)
>>> print((H - 2) // 2 + 1, 3 * H * H)
floor(H/2) 3*H^2
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Floor:
    """floor(numerator / divisor), which nothing simplified further."""

    numerator: Size
    divisor: int

    def __str__(self) -> str:
        inner = str(self.numerator)
        return f"floor({f'({inner})' if len(self.numerator.terms) > 1 else inner}/{self.divisor})"


Atom = str | Floor
Monomial = tuple[Atom, ...]


class Size:
    """A size with names in it. `terms` maps products of atoms to their coefficients, none zero."""

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms = {m: c for m, c in sorted(terms.items(), key=_order) if c}

    @classmethod
    def named(cls, name: str) -> Size:
        """The size of this name."""
        return cls({(name,): 1})

    # -- arithmetic; a result without names is an ordinary number

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        for monomial, coefficient in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _plain(Size(terms))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return Size({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: Dim) -> Dim:
        return (-self) + other

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[Monomial, int] = {}
        for m, c in self.terms.items():
            for n, d in _terms(other).items():
                product = tuple(sorted((*m, *n), key=str))
                terms[product] = terms.get(product, 0) + c * d
        return _plain(Size(terms))

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Dim:
        """Floor division by a whole number; what divides evenly is taken out of the floor."""
        if not isinstance(divisor, int):
            return NotImplemented
        if divisor < 0:
            return (-self) // -divisor
        if divisor == 1:
            return self
        even = {m: c // divisor for m, c in self.terms.items() if m and c % divisor == 0}
        rest = {m: c for m, c in self.terms.items() if m and c % divisor}
        constant = self.terms.get((), 0)
        out, inside = divmod(constant, divisor)
        even[()] = out
        if not rest:
            return _plain(Size(even))
        numerator = Size({**rest, (): inside})
        return Size({(_floor(numerator, divisor),): 1}) + _plain(Size(even))

    def __mod__(self, divisor: int) -> Dim:
        return self - (self // divisor) * divisor

    # -- comparison

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(tuple(self.terms.items()))

    def __lt__(self, other: Dim) -> bool:
        return _bounds(self - other)[1] < 0

    def __gt__(self, other: Dim) -> bool:
        return _bounds(self - other)[0] > 0

    def __le__(self, other: Dim) -> bool:
        return not self > other

    def __ge__(self, other: Dim) -> bool:
        return not self < other

    def __bool__(self) -> bool:
        return not _may_be_zero(self) or _is_seldom_zero(self)

    # -- use

    def names(self) -> set[str]:
        """The names in it."""
        found: set[str] = set()
        for monomial in self.terms:
            for atom in monomial:
                found |= {atom} if isinstance(atom, str) else atom.numerator.names()
        return found

    def at(self, values: Mapping[str, int]) -> Dim:
        """With numbers for some names."""
        total: Dim = 0
        for monomial, coefficient in self.terms.items():
            term: Dim = coefficient
            for atom in monomial:
                if isinstance(atom, str):
                    term = term * (values[atom] if atom in values else Size.named(atom))
                else:
                    term = term * (atom.numerator.at(values) // atom.divisor)
            total = total + term
        return total

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms.items():
            sign = ("-" if coefficient < 0 else "+") if text else ("-" if coefficient < 0 else "")
            number = abs(coefficient)
            factors = [] if number == 1 and monomial else [str(number)]
            factors += [
                f"{atom}^{monomial.count(atom)}" if monomial.count(atom) > 1 else str(atom)
                for atom in dict.fromkeys(monomial)
            ]
            text += (f" {sign} " if text else sign) + "*".join(factors)
        return text or "0"

    __repr__ = __str__

    def __float__(self) -> float:
        """Not a number: an initial bound that an op derives from it is refused with its parameter."""
        return math.nan

    def __format__(self, spec: str) -> str:
        return str(self)


Dim = int | Size

# What a size left open counts as where sizes must be compared: pictures are most often this large.
TYPICAL = 224


def typical(dim: Dim) -> int:
    """The size itself, or what it is where every size left open is `TYPICAL`."""
    if isinstance(dim, int):
        return dim
    number = dim.at(dict.fromkeys(dim.names(), TYPICAL))
    assert isinstance(number, int)
    return number


def is_known(dims: Iterable[Dim]) -> bool:
    """Whether all of these sizes are numbers."""
    return all(isinstance(dim, int) for dim in dims)


def names_in(dims: Iterable[Dim]) -> set[str]:
    """The names in a shape."""
    return {name for dim in dims if isinstance(dim, Size) for name in dim.names()}


def may_equal(a: Iterable[Dim], b: Iterable[Dim]) -> bool:
    """Whether two shapes are equal for some sizes, as far as that can be told."""
    a, b = tuple(a), tuple(b)
    return len(a) == len(b) and all(_may_be_zero(x - y) for x, y in zip(a, b, strict=True))


def differ(a: Iterable[Dim], b: Iterable[Dim]) -> bool:
    """Whether two shapes differ, but perhaps for a few sizes that nobody can have left open."""
    a, b = tuple(a), tuple(b)
    return len(a) != len(b) or any(x - y for x, y in zip(a, b, strict=True))


def at(dims: Iterable[Dim], values: Mapping[str, int]) -> tuple[Dim, ...]:
    """A shape with numbers for some names."""
    return tuple(dim if isinstance(dim, int) else dim.at(values) for dim in dims)


def _terms(value: Dim) -> Mapping[Monomial, int]:
    return {(): value} if isinstance(value, int) else value.terms


def _plain(size: Size) -> Dim:
    if not size.terms:
        return 0
    if set(size.terms) == {()}:
        return size.terms[()]
    return size


def _floor(numerator: Size, divisor: int) -> Floor:
    """floor((floor(a/k) + c) / m) = floor((a + c k) / (k m)); and common factors cancel."""
    atoms = [m for m in numerator.terms if m]
    if len(atoms) == 1 and len(atoms[0]) == 1 and numerator.terms[atoms[0]] == 1:
        (inner,) = atoms[0]
        if isinstance(inner, Floor):
            constant = numerator.terms.get((), 0)
            whole = inner.numerator + constant * inner.divisor
            assert isinstance(whole, Size)
            return Floor(whole, inner.divisor * divisor)
    common = math.gcd(divisor, *(c for m, c in numerator.terms.items() if m))
    if common > 1:
        # The constant's rest below the common factor never reaches the next whole number.
        reduced = {m: c // common for m, c in numerator.terms.items()}
        return Floor(Size(reduced), divisor // common)
    return Floor(numerator, divisor)


def _may_be_zero(value: Dim) -> bool:
    low, high = _bounds(value)
    return low <= 0 <= high


def _is_seldom_zero(size: Size) -> bool:
    """Whether a size is 0 for a few values of its names at most, as far as that is plain to see.

    It is if it is a polynomial in one name, or in the floor of one, or if all of its terms grow (or all
    fall) with every name in them. A name that every term has is no matter, for it is never 0.
    """
    monomials = list(size.terms)
    shared = [atom for atom in monomials[0] if isinstance(atom, str)]
    for atom in dict.fromkeys(shared):
        if all(atom in monomial for monomial in monomials):
            return _is_seldom_zero_without(size, atom)
    open_terms = {m: c for m, c in size.terms.items() if m}
    atoms = {atom for monomial in open_terms for atom in monomial}
    one_sign = len({c > 0 for c in open_terms.values()}) == 1
    return all(map(_grows, atoms)) and (one_sign or len(atoms) == 1)


def _is_seldom_zero_without(size: Size, atom: Atom) -> bool:
    terms: dict[Monomial, int] = {}
    for monomial, coefficient in size.terms.items():
        at = monomial.index(atom)
        terms[(*monomial[:at], *monomial[at + 1 :])] = coefficient
    rest = _plain(Size(terms))
    return not isinstance(rest, Size) or not _may_be_zero(rest) or _is_seldom_zero(rest)


def _grows(atom: Atom) -> bool:
    """Whether an atom grows without end with each of its names."""
    if isinstance(atom, str):
        return True
    return all(
        not monomial or (coefficient > 0 and all(map(_grows, monomial)))
        for monomial, coefficient in atom.numerator.terms.items()
    )


def _bounds(value: Dim) -> tuple[float, float]:
    """A range that holds the value for all sizes of at least 1."""
    if isinstance(value, int):
        return value, value
    low = high = 0.0
    for monomial, coefficient in value.terms.items():
        ends: tuple[float, float] = (coefficient, coefficient)
        for atom in monomial:
            ends = _times(ends, _bounds_of_atom(atom))
        low, high = low + ends[0], high + ends[1]
    return low, high


def _bounds_of_atom(atom: Atom) -> tuple[float, float]:
    if isinstance(atom, str):
        return 1.0, math.inf
    low, high = (
        end // atom.divisor if math.isfinite(end) else end for end in _bounds(atom.numerator)
    )
    return low, high


def _times(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    products = [x * y if x and y else 0.0 for x in a for y in b]
    return min(products), max(products)


def _order(item: tuple[Monomial, int]) -> tuple[int, str]:
    """Longest products first, the constant last."""
    monomial, _ = item
    return -len(monomial), "*".join(map(str, monomial))
