"""Sizes that a file leaves open: `input image: [3, H, W]`.

A `Size` is a polynomial with whole coefficients. Its variables are named sizes, and floors of such
polynomials divided by a whole number. It supports the arithmetic that shape rules use, so the same
rule works for numbers and names. Every named size is at least 1. A comparison that cannot be
decided is decided in favour of the file: `<` and `>` are true only if they hold for all sizes, `<=`
and `>=` are false only if they fail for all. Ops use the truth value of a difference to ask whether
two sizes differ. It is also true if only a few sizes make the difference 0: `H - 1` is true,
because nobody leaves a size open that must be 1.

>>> H = Size.named("H")
>>> print((H + 2 * 1 - 1 * (3 - 1) - 1) // 2 + 1)
floor((H + 1)/2)
>>> print((H - 2) // 2 + 1, 3 * H * H)
floor(H/2) 3*H^2
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from netspec.records import record


@record(slots=True)
class Floor:
    """floor(numerator / divisor), simplified as far as possible."""

    numerator: Size
    divisor: int

    def __str__(self) -> str:
        inner = str(self.numerator)
        return f"floor({f'({inner})' if len(self.numerator.terms) > 1 else inner}/{self.divisor})"


Atom = str | Floor
Monomial = tuple[Atom, ...]


class Size:
    """A size that contains names.

    `terms` maps products of atoms to their coefficients, none of them zero. Arithmetic gives sizes of
    the same class.
    """

    __slots__ = ("_ends", "_hash", "_text", "terms")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.terms: Mapping[Monomial, int]
        self.terms = {m: c for m, c in sorted(terms.items(), key=_order) if c}
        # Floors of floors are asked for these again and again.
        self._hash: int | None = None
        self._text: str | None = None
        self._ends: tuple[float, float] | None = None

    def __reduce__(self) -> tuple[type[Size], tuple[Mapping[Monomial, int]]]:
        return Size, (self.terms,)  # a hash holds in one process alone

    @classmethod
    def named(cls, name: str) -> Size:
        """Return the size with this name."""
        return cls._ordered({(name,): 1})

    # -- arithmetic; a result without names is an ordinary number

    @classmethod
    def _ordered(cls, terms: Mapping[Monomial, int]) -> Size:
        """Return a size of terms that are in order, none of them zero."""
        self = cls.__new__(cls)
        self.terms = terms
        self._hash = self._text = self._ends = None
        return self

    def __add__(self, other: Dim) -> Dim:
        terms = dict(self.terms)
        if isinstance(other, int):
            # The constant is the last term, so the order stays.
            constant = terms.pop((), 0) + int(other)
            if constant:
                terms[()] = constant
            return self._ordered(terms)
        known = len(terms)
        for monomial, coefficient in other.terms.items():
            terms[monomial] = terms.get(monomial, 0) + coefficient
        if len(terms) == known:  # in order as they were
            return _plain(self._ordered({m: c for m, c in terms.items() if c}))
        return _plain(type(self)(terms))

    __radd__ = __add__

    def __neg__(self) -> Dim:
        return self._ordered({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: Dim) -> Dim:
        return (-self) + other

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int):
            factor = int(other)
            return self._ordered({m: c * factor for m, c in self.terms.items()}) if factor else 0
        terms: dict[Monomial, int] = {}
        for m, c in self.terms.items():
            for n, d in other.terms.items():
                product = tuple(sorted((*m, *n), key=str))
                terms[product] = terms.get(product, 0) + c * d
        return _plain(type(self)(terms))

    __rmul__ = __mul__

    def __floordiv__(self, divisor: int) -> Dim:
        """Return the floor of a division by a whole number.

        Terms that divide evenly are moved out of the floor.
        """
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
            return _plain(type(self)(even))
        numerator = type(self)({**rest, (): inside})
        return type(self)({(_floor(numerator, divisor),): 1}) + _plain(type(self)(even))

    def __mod__(self, divisor: int) -> Dim:
        return self - (self // divisor) * divisor

    # -- comparison

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(tuple(self.terms.items()))
        return self._hash

    def __lt__(self, other: Dim) -> bool:
        return bounds(self - other)[1] < 0

    def __gt__(self, other: Dim) -> bool:
        return bounds(self - other)[0] > 0

    def __le__(self, other: Dim) -> bool:
        return not self > other

    def __ge__(self, other: Dim) -> bool:
        return not self < other

    def __bool__(self) -> bool:
        return not _may_be_zero(self) or _is_seldom_zero(self)

    # -- use

    @property
    def name(self) -> str:
        """The name that the size is; empty if it is more than a name."""
        if len(self.terms) != 1:
            return ""
        ((monomial, coefficient),) = self.terms.items()
        if coefficient != 1 or len(monomial) != 1:
            return ""
        return monomial[0] if isinstance(monomial[0], str) else ""

    def names(self) -> set[str]:
        """Return the names in the size."""
        found: set[str] = set()
        for monomial in self.terms:
            for atom in monomial:
                found |= {atom} if isinstance(atom, str) else atom.numerator.names()
        return found

    def largest_number(self) -> int:
        """Return the largest of the numbers that the formula is written with, without signs."""
        found = 0
        for monomial, coefficient in self.terms.items():
            found = max(found, abs(coefficient))
            for atom in monomial:
                if not isinstance(atom, str):
                    found = max(found, atom.divisor, atom.numerator.largest_number())
        return found

    def at(self, values: Mapping[str, Dim]) -> Dim:
        """Return the size with numbers, or other sizes, put in for some names."""
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
        if self._text is None:
            self._text = self._written()
        return self._text

    def _written(self) -> str:
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
        """Return NaN: an initial bound that an op derives from an open size is rejected with its
        parameter.
        """
        return math.nan

    def __format__(self, spec: str) -> str:
        return str(self)


Dim = int | Size

# The least and the largest number of named sizes.
Ranges = Mapping[str, tuple[float, float]]

# What the formulas of a shape may be: the characters that they are written with, the terms that their
# product has, and the factors of a term of it. Sizes that a file adds or multiplies again and again
# double with every step, and so does the work on them.
_LONGEST_FORMULAS = 500
_MOST_TERMS = 32
_MOST_FACTORS = 32

# The number that an open size counts as where sizes must be compared: the most common size of
# pictures.
TYPICAL = 224


def typical(dim: Dim) -> int:
    """Return a size as a number, with `TYPICAL` for every open size."""
    if isinstance(dim, int):
        return dim
    number = dim.at(dict.fromkeys(dim.names(), TYPICAL))
    assert isinstance(number, int)
    return number


def are_short(dims: Iterable[Dim]) -> bool:
    """Whether the formulas of these sizes are short enough to be computed with."""
    terms, factors, length = 1, 0, 0
    for dim in dims:
        if isinstance(dim, Size):
            terms *= len(dim.terms)
            factors += max(map(len, dim.terms))
            length += len(str(dim)) if terms <= _MOST_TERMS else 0
    return terms <= _MOST_TERMS and factors <= _MOST_FACTORS and length <= _LONGEST_FORMULAS


def is_known(dims: Iterable[Dim]) -> bool:
    """Whether all of these sizes are numbers."""
    return all(isinstance(dim, int) for dim in dims)


def names_in(dims: Iterable[Dim]) -> set[str]:
    """Return the names in a shape."""
    return {name for dim in dims if isinstance(dim, Size) for name in dim.names()}


def may_equal(a: Iterable[Dim], b: Iterable[Dim]) -> bool:
    """Whether two shapes may be equal for some sizes. True if that cannot be decided."""
    a, b = tuple(a), tuple(b)
    return len(a) == len(b) and all(_may_be_zero(x - y) for x, y in zip(a, b, strict=True))


def differ(a: Iterable[Dim], b: Iterable[Dim]) -> bool:
    """Whether two shapes differ, for all sizes but a few that nobody would have left open."""
    a, b = tuple(a), tuple(b)
    return len(a) != len(b) or any(x - y for x, y in zip(a, b, strict=True))


def at(dims: Iterable[Dim], values: Mapping[str, Dim]) -> tuple[Dim, ...]:
    """Return a shape with numbers put in for some names."""
    return tuple(dim if isinstance(dim, int) else dim.at(values) for dim in dims)


def elements(shape: Iterable[Dim]) -> Dim:
    """Return the number of elements of a shape, as a plain number or a formula: what the numbers of a
    follower remember is not a part of it.
    """
    return math.prod([int(dim) if isinstance(dim, int) else dim for dim in shape])


def total(dims: Iterable[Dim]) -> Dim:
    """Return the sum, in proportion to the terms of all: `sum` puts those of each step in order."""
    terms: dict[Monomial, int] = {}
    for dim in dims:
        for monomial, coefficient in (
            dim.terms.items() if isinstance(dim, Size) else [((), int(dim))]
        ):
            terms[monomial] = terms.get(monomial, 0) + coefficient
    return _plain(Size(terms))


def _plain(size: Size) -> Dim:
    if not size.terms:
        return 0
    if set(size.terms) == {()}:
        return size.terms[()]
    return size


def _floor(numerator: Size, divisor: int) -> Floor:
    """Return floor(numerator / divisor), simplified.

    A nested floor is joined: floor((floor(a/k) + c) / m) = floor((a + c k) / (k m)). Common factors
    cancel.
    """
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
        # The constant's remainder is smaller than the common factor, so it never changes the floor.
        reduced = {m: c // common for m, c in numerator.terms.items()}
        return Floor(type(numerator)(reduced), divisor // common)
    return Floor(numerator, divisor)


def _may_be_zero(value: Dim) -> bool:
    low, high = bounds(value)
    return low <= 0 <= high


def _is_seldom_zero(size: Size) -> bool:
    """Whether a size is 0 for only a few values of its names, as far as simple rules can tell.

    This is so for a polynomial in one name, or in the floor of one, and if all of its terms
    increase (or all decrease) with every name in them. A name that is a factor of every term is
    divided out, because it is never 0.
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
    """Whether an atom grows without bound with each of its names."""
    if isinstance(atom, str):
        return True
    return all(
        not monomial or (coefficient > 0 and all(map(_grows, monomial)))
        for monomial, coefficient in atom.numerator.terms.items()
    )


def bounds(value: Dim, ranges: Ranges | None = None) -> tuple[float, float]:
    """Return bounds of the value, for all sizes of at least 1, or for those in these ranges."""
    if isinstance(value, int):
        return value, value
    if ranges is not None:
        return _bounds_of_terms(value, ranges)
    if value._ends is None:
        value._ends = _bounds_of_terms(value, {})
    return value._ends


def _bounds_of_terms(value: Size, ranges: Ranges) -> tuple[float, float]:
    low = high = 0.0
    for monomial, coefficient in value.terms.items():
        ends: tuple[float, float] = (coefficient, coefficient)
        for atom in monomial:
            ends = _times(ends, _bounds_of_atom(atom, ranges))
        low, high = low + ends[0], high + ends[1]
    return low, high


def _bounds_of_atom(atom: Atom, ranges: Ranges) -> tuple[float, float]:
    if isinstance(atom, str):
        return ranges.get(atom, (1.0, math.inf))
    low, high = (
        end // atom.divisor if math.isfinite(end) else end
        for end in bounds(atom.numerator, ranges or None)
    )
    return low, high


def _times(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    products = [x * y if x and y else 0.0 for x in a for y in b]
    return min(products), max(products)


def _order(item: tuple[Monomial, int]) -> tuple[int, str]:
    """The sort key of terms: products with the most factors first, the constant last."""
    monomial, _ = item
    return -len(monomial), "*".join(map(str, monomial))
