"""Sizes that a file's functions take as arguments, from a least to a largest one.

A net is lowered with its open sizes, and its calls compute with their names. Where a shape rule, the
lowering or a form in C decides something that does not hold for all sizes, such as that two of them are
equal, the file refuses the sizes for which it does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from netspec import codes
from netspec.compiler.c_backend.c_text import without_brackets
from netspec.compiler.c_backend.names import Names
from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.sizes import Dim, Floor, Monomial, Size, bounds
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.passes.bind_sizes import open_sizes, specialize
from netspec.diagnostics import NetspecError, suggest


@dataclass
class Decisions:
    """What was decided about sizes in these ranges: each difference is 0, or at least 0.

    Attributes:
        ranges: the least and the largest number of each name.
        zero, not_negative: the differences that are 0, and those that are at least 0.
    """

    ranges: Mapping[str, tuple[int, int]]
    zero: dict[Size, None] = field(default_factory=dict)
    not_negative: dict[Size, None] = field(default_factory=dict)

    def is_negative(self, difference: Dim) -> bool:
        """Whether a difference is below 0 for all sizes; if it is for some, those are refused."""
        low, high = bounds(difference, self.ranges)
        if isinstance(difference, Size) and low < 0 <= high:
            self.not_negative[difference] = None
        return high < 0

    def hold(self, sizes: Mapping[str, int]) -> bool:
        """Whether what was decided is so for these sizes."""
        return next(self.broken(sizes), None) is None

    def broken(self, sizes: Mapping[str, int]) -> Iterator[str]:
        """Yield what was decided, as C, and is not so for these sizes."""
        for value in self.zero:
            if value.at(sizes) != 0:
                yield f"{without_brackets(str(value))} == 0"
        for value in self.not_negative:
            if bounds(value.at(sizes))[0] < 0:
                yield f"{without_brackets(str(value))} >= 0"


class CSize(Size):
    """A size that is written as C, in brackets if it is not a name; see `size_class`."""

    __slots__ = ()

    decisions: ClassVar[Decisions]

    @property
    def largest(self) -> int:
        """The number for the largest sizes."""
        number = self.at({name: most for name, (_, most) in self.decisions.ranges.items()})
        assert isinstance(number, int)
        return number

    def __lt__(self, other: Dim) -> bool:
        return self.decisions.is_negative(self - other)

    def __gt__(self, other: Dim) -> bool:
        return self.decisions.is_negative(other - self)

    def __bool__(self) -> bool:
        if super().__bool__():
            return True
        if -self not in self.decisions.zero:
            self.decisions.zero[self] = None
        return False

    def _written(self) -> str:
        text = ""
        for monomial, coefficient in sorted(self.terms.items(), key=lambda term: term[1] < 0):
            sign = "-" if coefficient < 0 else "+"
            text += f" {sign} " if text else sign.strip("+")
            text += self._product(monomial, abs(coefficient))
        is_atom = [*self.terms.values()] == [1] and len(next(iter(self.terms))) == 1
        return text if is_atom else f"({text})"

    def _product(self, monomial: Monomial, coefficient: int) -> str:
        number = [] if coefficient == 1 and monomial else [str(coefficient)]
        return " * ".join([*number, *map(self._atom, monomial)])

    def _atom(self, atom: str | Floor) -> str:
        if isinstance(atom, str):
            return atom
        if bounds(atom.numerator, self.decisions.ranges)[0] >= 0:
            return f"({atom.numerator} / {atom.divisor})"
        return f"floor_of({without_brackets(str(atom.numerator))}, {atom.divisor})"


def size_class(noted: Decisions) -> type[CSize]:
    """Return a class of sizes that are compared within ranges, and note there what is decided."""
    return type("CSize", (CSize,), {"__slots__": (), "decisions": noted})


class OpenSizes:
    """The sizes that the functions of a file take.

    Attributes:
        graph: the net, whose sizes write themselves as C.
        largest: the net with the largest numbers.
        decisions: the ranges, and what is decided while the file is made.
    """

    def __init__(self, graph: Graph, most: Mapping[str, int], names: Names) -> None:
        """Find the least sizes that the net takes.

        Args:
            graph: a net that leaves these sizes open, and no others.
            most: the largest number of each size.
            names: where names of C are taken for them.

        Raises:
            NetspecError: if a layer cannot take the largest sizes; `compile/no-c`.
        """
        self.largest = specialize(graph, most)
        self._net = names.net
        self._names = {name: names.free(name) for name in most}
        self._limits = {name: names.constant(f"{names.net}_MOST_{name}") for name in most}
        self._takes = names.free("takes")
        own = {self._names[name]: number for name, number in most.items()}
        noted = Decisions({name: (1, number) for name, number in own.items()})
        make_plan(self._written(graph, noted), training=False, backward=False)
        self._require(noted, own)
        least = {name: _least(noted, own, name) for name in own}
        self.decisions = Decisions({name: (least[name], own[name]) for name in own})
        self.graph = self._written(graph, self.decisions)

    def _written(self, graph: Graph, noted: Decisions) -> Graph:
        made = size_class(noted)
        found = specialize(graph, {name: made.named(own) for name, own in self._names.items()})
        for node in found.nodes:
            for size in node.shape:
                noted.is_negative(size - 1)  # no value is empty
        return found

    def require(self) -> None:
        """Refuse a file for whose largest sizes something is not as was decided.

        Raises:
            NetspecError: `compile/no-c`.
        """
        most = {name: number for name, (_, number) in self.decisions.ranges.items()}
        self._require(self.decisions, most)

    def _require(self, noted: Decisions, most: Mapping[str, int]) -> None:
        for broken in noted.broken(most):
            message = f"{self.largest.name} in C counts on {broken}, and its largest sizes differ"
            raise NetspecError.simple(codes.COMPILE_NO_C, message, SET_HINT)

    def numbers_at_most(self, dims: Iterable[Dim]) -> int:
        """Return the most numbers of an array with these sizes."""
        total = 1
        for dim in dims:
            total *= int(bounds(dim, self.decisions.ranges)[1])
        return total

    # -- the parts of the file

    @property
    def parameters(self) -> list[str]:
        """The functions' parameters."""
        return [f"int {name}" for name in self._names.values()]

    @property
    def arguments(self) -> list[str]:
        """The same as arguments."""
        return list(self._names.values())

    @property
    def declared(self) -> str:
        """The constants that are the largest sizes."""
        ranges = self.decisions.ranges
        pairs = [
            f"{limit} = {ranges[self._names[name]][1]}" for name, limit in self._limits.items()
        ]
        return f"enum {{ {', '.join(pairs)} }};"

    @property
    def test(self) -> str:
        """What is true if the net takes the sizes."""
        return f"{self._takes}({', '.join(self.arguments)})"

    def definition(self) -> str:
        """Return the function that `test` calls, once everything is decided."""
        tests = []
        for name, limit in self._limits.items():
            own = self._names[name]
            tests.append(f"{own} >= {self.decisions.ranges[own][0]} && {own} <= {limit}")
        tests += [f"{without_brackets(str(each))} == 0" for each in self.decisions.zero]
        tests += [f"{without_brackets(str(each))} >= 0" for each in self.decisions.not_negative]
        head = f"static int {self._takes}({', '.join(self.parameters)})"
        text = "\n        && ".join(tests)
        about = "/* Whether the net takes these sizes. */"
        return f"{about}\n{head}\n{{\n    return {text};\n}}"


SET_HINT = "write a file for one size: --set NAME=NUMBER"


def _least(noted: Decisions, most: Mapping[str, int], name: str) -> int:
    """Return the least number of a size with which what was decided of it alone is so."""
    alone = Decisions(
        noted.ranges,
        {value: None for value in noted.zero if value.names() == {name}},
        {value: None for value in noted.not_negative if value.names() == {name}},
    )
    return next((n for n in range(1, most[name]) if alone.hold({name: n})), most[name])


def require_known(graph: Graph, most: Mapping[str, int], *, trains: bool = False) -> None:
    """Refuse a net that leaves other sizes open than those with a largest number.

    Raises:
        NetspecError: `compile/no-c`.
    """
    left = open_sizes(graph)
    for name in most:
        if name not in left:
            meant = suggest(name, sorted(left))
            message = f"{graph.name} leaves no size open that is called {name!r}"
            help = f"did you mean {meant!r}?" if meant else None
            raise NetspecError.simple(codes.COMPILE_NO_C, message, help)
    missing = sorted(left - most.keys())
    if not missing:
        return
    one, largest = (
        " ".join(f"{word} {name}=..." for name in missing) for word in ("--set", "--max")
    )
    message = f"{graph.name} leaves sizes of its input open: {', '.join(missing)}"
    help = f"for one size: {one}"
    help += "" if trains else f"; for all up to a largest one: {largest}"
    raise NetspecError.simple(codes.COMPILE_NO_C, message, help)
