"""Writes sizes as Python expressions."""

from __future__ import annotations

from netspec.compiler.ir.sizes import Dim, Floor


def size_text(size: Dim, *, factor: bool = False) -> str:
    """Return a size as a Python expression, in brackets if it will be a `factor` and needs them.

    >>> from netspec.compiler.ir.sizes import Size
    >>> size_text(Size.named("filters") * 256)
    '256 * filters'
    """
    if isinstance(size, int):
        return str(size)
    if not factor and (name := size.name):
        return name
    positive = [(m, c) for m, c in size.terms.items() if c > 0]
    negative = [(m, c) for m, c in size.terms.items() if c < 0]
    text = ""
    # The loop variable comes last, in the sum and in its products.
    positive.sort(key=lambda term: "i" in term[0])
    for monomial, coefficient in positive + negative:
        sign = "-" if coefficient < 0 else "+"
        number = abs(coefficient)
        factors = [] if number == 1 and monomial else [str(number)]
        factors += [
            _atom(atom, alone=len(monomial) == 1 and number == 1)
            for atom in sorted(monomial, key=lambda atom: atom == "i")
        ]
        term = " * ".join(factors)
        text += f" {sign} {term}" if text else ("-" if sign == "-" else "") + term
    single = len(size.terms) == 1 and not negative
    return text if single and not factor else f"({text})" if factor and not _simple(text) else text


def _atom(atom: str | Floor, *, alone: bool) -> str:
    if isinstance(atom, str):
        return atom
    inside = size_text(atom.numerator)
    if len(atom.numerator.terms) > 1:
        inside = f"({inside})"
    text = f"{inside} // {atom.divisor}"
    return text if alone else f"({text})"


def _simple(text: str) -> bool:
    return text.isidentifier() or text.isdigit()
