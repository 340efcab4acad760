"""The results of a check, and their text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.text import html

Array = NDArray[Any]


class LayerMismatchError(AssertionError):
    """A layer differs from netspec's; `report` has the details."""

    def __init__(self, report: LayerReport) -> None:
        super().__init__(str(report))
        self.report = report


@dataclass
class ArrayComparison:
    """One argument: its value in the checked layer and in netspec.

    Attributes:
        name: such as `dw`.
        shape, expected_shape: the shapes of both.
        error: the greatest |yours - netspec's|, over max(1, max |netspec's|); infinite if a number
            is not finite or the shapes differ.
        index: the place of the greatest difference.
        value, expected: the two numbers at this place.
        wrong, size: the number of entries that differ by more than is allowed, and of all entries.
        hints: likely mistakes; each of them was tried and gives the same wrong numbers.
    """

    name: str
    shape: tuple[int, ...]
    expected_shape: tuple[int, ...]
    error: float
    tol: float
    index: tuple[int, ...] | None = None
    value: float = 0.0
    expected: float = 0.0
    wrong: int = 0
    size: int = 0
    hints: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if the two agree."""
        return self.error <= self.tol

    def lines(self, width: int) -> list[str]:
        """Yield the comparison as text; names take `width` columns."""
        head = f"  {self.name:<{width}}  {list(self.expected_shape)!s:<15} "
        if self.shape != self.expected_shape:
            lines = [f"{head} WRONG SHAPE: yours is {list(self.shape)}"]
        elif self.ok:
            return [f"{head} ok, max error {self.error:.1e}"]
        else:
            at = f"[{', '.join(map(str, self.index))}]" if self.index else ""
            lines = [
                f"{head} DIFFERS, max error {self.error:.3g}; {self.wrong} of {self.size} entries",
                f"      worst at {self.name}{at}: yours {_number(self.value)},"
                f" netspec's {_number(self.expected)}",
            ]
        return lines + [f"      hint: {hint}" for hint in self.hints]


def compare(name: str, yours: Any, expected: Array, tol: float) -> ArrayComparison:
    """Compare one argument with netspec's."""
    array = np.asarray(yours)
    if array.shape != expected.shape:
        return ArrayComparison(name, array.shape, expected.shape, np.inf, tol)
    theirs = array.astype(np.float64)
    with np.errstate(invalid="ignore"):
        distance = np.abs(theirs - expected)
    distance = np.where(np.isfinite(distance), distance, np.inf)
    if not distance.size:
        return ArrayComparison(name, array.shape, expected.shape, 0.0, tol)
    scale = max(1.0, float(np.abs(expected).max()))
    index = tuple(int(i) for i in np.unravel_index(distance.argmax(), distance.shape))
    return ArrayComparison(
        name, array.shape, expected.shape, float(distance[index]) / scale, tol, index,
        float(theirs[index]), float(expected[index]),
        int((distance > tol * scale).sum()), distance.size,
    )  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.9g}"


@dataclass
class LayerCase:
    """One check.

    Attributes:
        title: describes what was computed.
        comparisons: the comparison of each argument.
        faults: errors other than wrong numbers.
        unlike: True if a fault means that the layer does not compute the same as netspec's.
        notes: what was assumed.
    """

    title: str
    comparisons: list[ArrayComparison] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    unlike: bool = False
    notes: list[str] = field(default_factory=list)

    def fail(self, fault: str) -> None:
        """Add a fault that means that the layer is not the same as netspec's."""
        self.faults.append(fault)
        self.unlike = True

    @property
    def ok(self) -> bool:
        """True if nothing failed."""
        return not self.faults and all(c.ok for c in self.comparisons)

    def __str__(self) -> str:
        width = max((len(c.name) for c in self.comparisons), default=0)
        lines = [f"{self.title}"]
        for comparison in self.comparisons:
            lines += comparison.lines(width)
        for fault in self.faults:
            first, *rest = fault.splitlines()
            lines += [f"  FAULT {first}", *(f"      {line}" for line in rest)]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


@dataclass(repr=False)
class LayerReport:
    """The result of `check_layer`.

    Attributes:
        like: the layer it was compared with.
        cases: one for each set of attributes and each mode.
    """

    like: str
    cases: list[LayerCase] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if the layer agrees with netspec's in every case."""
        return all(case.ok for case in self.cases)

    @property
    def differing(self) -> list[ArrayComparison]:
        """Return the comparisons that failed, the worst first."""
        failed = [c for case in self.cases for c in case.comparisons if not c.ok]
        return sorted(failed, key=lambda c: -c.error)

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return f"<netspec.testing.LayerReport of {self.like}: {'ok' if self.ok else 'NOT equal'}>"

    def _repr_html_(self) -> str:
        return html.preformatted(str(self))

    def __str__(self) -> str:
        verdict = "equal to netspec's" if self.ok else "NOT equal to netspec's"
        if not self.ok and not self.differing and not any(case.unlike for case in self.cases):
            verdict = "equal to netspec's, but see FAULT"
        names = list(dict.fromkeys(c.name for case in self.cases for c in case.comparisons
                                   if not c.ok))  # fmt: skip
        where = f": {', '.join(names)}" if names else ""
        return "\n\n".join([f"{self.like}: {verdict}{where}", *map(str, self.cases)])
