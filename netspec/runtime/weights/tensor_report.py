"""Describes weights tensor by tensor, and how two sets of weights differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.weights.digest import weights_digest
from netspec.runtime.weights.tensor_names import Renaming, match_names
from netspec.text.printable import printable
from netspec.text.table import Column, name_column, table_lines, text_column

Tensors = Mapping[str, NDArray[Any]]
# Equal numbers, other numbers, another shape, or a tensor that only one of the files has.
Verdict = Literal["equal", "differs", "shape", "first", "second"]

_MOST_NAMED = 12


@dataclass(frozen=True)
class TensorStatistics:
    """The statistics of a tensor.

    Attributes:
        name, shape, dtype: as stored.
        mean, std: of its finite numbers; None if there are none.
        least, largest: likewise.
        not_finite: how many numbers are infinite or NaN.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    mean: float | None
    std: float | None
    least: float | None
    largest: float | None
    not_finite: int


def statistics_of(name: str, tensor: NDArray[Any]) -> TensorStatistics:
    """Compute a tensor's statistics in float64; `std` is that of all its numbers (ddof = 0)."""
    numbers = tensor.astype(np.float64).ravel()
    finite = numbers[np.isfinite(numbers)]
    shape, dtype = tensor.shape, tensor.dtype.newbyteorder("=").name
    odd = numbers.size - finite.size
    if not finite.size:
        return TensorStatistics(name, shape, dtype, None, None, None, None, odd)
    least, largest = float(finite.min()), float(finite.max())
    # Scaled, so that no square overflows.
    scale = max(abs(least), abs(largest)) or 1.0
    mean, std = float((finite / scale).mean()) * scale, float((finite / scale).std()) * scale
    return TensorStatistics(name, shape, dtype, mean, std, least, largest, odd)


@dataclass(frozen=True)
class TensorList:
    """All tensors of a file, with their statistics, and the digest of their numbers."""

    tensors: tuple[TensorStatistics, ...]
    numbers: int
    bytes: int
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        rows = [
            {
                "name": t.name, "shape": list(t.shape), "dtype": t.dtype, "mean": t.mean, "std": t.std,
                "min": t.least, "max": t.largest, "not_finite": t.not_finite,
            }
            for t in self.tensors
        ]  # fmt: skip
        return {
            "tensors": rows, "numbers": self.numbers, "bytes": self.bytes, "digest": self.digest,
        }  # fmt: skip

    def text(self, width: int | None) -> str:
        """Return a table; names are shortened to fit a width."""
        odd = any(t.not_finite for t in self.tensors)
        titles = ["mean", "std", "min", "max", *(["not finite"] if odd else [])]
        columns = [name_column("tensor"), text_column("shape"), text_column("type")]
        columns += [Column(title) for title in titles]
        rows = []
        for t in self.tensors:
            cells = [_number(value) for value in (t.mean, t.std, t.least, t.largest)]
            cells += [f"{t.not_finite:,}" if t.not_finite else ""] if odd else []
            rows.append([t.name, _shape(t.shape), t.dtype, *cells])
        total = [
            f"{len(self.tensors):,} tensors",
            f"{self.numbers:,} numbers",
            f"{self.bytes:,} bytes",
        ]
        total += [""] * len(titles)
        table = table_lines(columns, rows, total=total, width=width)
        return "\n".join([*table, "", f"digest {self.digest}"])


def tensor_list(tensors: Tensors) -> TensorList:
    """Return the statistics of all tensors, in the order of the file."""
    found = tuple(statistics_of(name, tensor) for name, tensor in tensors.items())
    numbers = sum(tensor.size for tensor in tensors.values())
    size = sum(tensor.nbytes for tensor in tensors.values())
    return TensorList(found, numbers, size, weights_digest(tensors))


@dataclass(frozen=True)
class TensorChange:
    """A tensor that is in two files, or in one of them.

    Attributes:
        name: in the first file, or in the second if it is there alone.
        verdict: see `Verdict`.
        shapes: its shape in the files that have it.
        largest: the largest absolute difference, if the shapes are equal; infinite if one is NaN
            and the other is not.
        relative: that, relative to the largest absolute number of the first file's tensor.
    """

    name: str
    verdict: Verdict
    shapes: tuple[tuple[int, ...], ...]
    largest: float | None = None
    relative: float | None = None


@dataclass(frozen=True)
class WeightsComparison:
    """Two sets of weights, tensor by tensor; the notes say how names of the second, or of the first,
    were matched.
    """

    changes: tuple[TensorChange, ...]
    notes: tuple[str, ...] = ()
    first_notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Return True if both have the same tensors and numbers, whatever type they are stored in."""
        return all(change.verdict == "equal" for change in self.changes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dict, for JSON."""
        rows = [
            {
                "name": c.name, "verdict": c.verdict, "shapes": [list(shape) for shape in c.shapes],
                "largest_difference": c.largest, "relative_difference": c.relative,
            }
            for c in self.changes
        ]  # fmt: skip
        return {"equal": self.equal, "tensors": rows, "notes": [*self.notes, *self.first_notes]}

    def text(self, width: int | None) -> str:
        """Return a table of the tensors that differ, and how many are equal, with their names."""
        different = [change for change in self.changes if change.verdict != "equal"]
        equal = len(self.changes) - len(different)
        summary = f"{equal:,} of {len(self.changes):,} tensors are equal"
        if not different:
            return summary
        if equal:
            names = _folded(self.changes)
            more = ", ..." if len(names) > _MOST_NAMED else ""
            summary += f": {', '.join(map(printable, names[:_MOST_NAMED]))}{more}"
        columns = [name_column("tensor"), text_column("difference", least=20)]
        rows = [[change.name, _told(change)] for change in different]
        return "\n".join([*table_lines(columns, rows, width=width), "", summary])


def _folded(changes: Sequence[TensorChange]) -> list[str]:
    """Return the names of equal tensors, with `stem.*` for a prefix whose tensors are all equal."""
    unequal = {
        prefix for c in changes if c.verdict != "equal" for prefix in (*_prefixes(c.name), c.name)
    }
    found: dict[str, None] = {}
    for change in changes:
        if change.verdict == "equal":
            whole = (prefix for prefix in _prefixes(change.name) if prefix not in unequal)
            found[next((f"{prefix}.*" for prefix in whole), change.name)] = None
    return list(found)


def _prefixes(name: str) -> list[str]:
    """Return what stands before each dot of a name, the shortest first."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def compare_weights(first: Tensors, second: Tensors) -> WeightsComparison:
    """Compare two sets of weights by name, despite prefixes and older names in one of them."""
    matched, other = match_names(second, first), match_names(first, second)
    if len(other.names) > len(matched.names):
        ours, theirs = _renamed(first, other), second
        return WeightsComparison(_changes(ours, theirs), first_notes=other.notes)
    return WeightsComparison(_changes(first, _renamed(second, matched)), matched.notes)


def _renamed(tensors: Tensors, by: Renaming) -> Tensors:
    return {by.names.get(name, name): tensor for name, tensor in tensors.items()}


def _changes(first: Tensors, second: Tensors) -> tuple[TensorChange, ...]:
    changes = [_compared(name, tensor, second.get(name)) for name, tensor in first.items()]
    added = [n for n in second if n not in first]
    return (*changes, *(TensorChange(n, "second", (second[n].shape,)) for n in added))


def _compared(name: str, ours: NDArray[Any], theirs: NDArray[Any] | None) -> TensorChange:
    if theirs is None:
        return TensorChange(name, "first", (ours.shape,))
    shapes = (ours.shape, theirs.shape)
    if ours.shape != theirs.shape:
        return TensorChange(name, "shape", shapes)
    if np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == theirs.dtype.kind == "f"):
        return TensorChange(name, "equal", shapes, 0.0, 0.0)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    # The same infinity, or NaN in both, is not a difference.
    same = (ours == theirs) | ((ours != ours) & (theirs != theirs))  # noqa: PLR0124
    apart = np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))
    largest = float(apart.max())
    scale = float(np.max(np.abs(ours.astype(np.float64)), initial=0.0, where=np.isfinite(ours)))
    return TensorChange(name, "differs", shapes, largest, largest / scale if scale else None)


def _told(change: TensorChange) -> str:
    if change.verdict in ("first", "second"):
        return f"only in the {change.verdict} file, {_shape(change.shapes[0])}"
    if change.verdict == "shape":
        return f"shape {_shape(change.shapes[0])} and {_shape(change.shapes[1])}"
    relative = "" if change.relative is None else f", {change.relative:.1e} of the largest number"
    return f"up to {_number(change.largest)}{relative}"


def _shape(shape: Sequence[int]) -> str:
    return str(list(shape))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
