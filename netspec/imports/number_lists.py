"""Long lists of numbers as the language writes them: runs, ranges, and tables that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from netspec.imports.imported_net import Constant

# Up to how many characters a list is written number by number.
_PLAIN = 40
_LEAST_RANGE = 4
_MOST_AXES = 5
_EXACT = 1e15  # from here on whole numbers are written as floats are

Numbers = Sequence[Constant]


@dataclass(frozen=True, slots=True)
class Runs:
    """A list as text, with `{0}`, `{1}` in the place of how often things repeat.

    `counts` has these numbers, so that lists which differ in them alone can be told.
    """

    text: str
    counts: tuple[int, ...] = ()

    def written(self) -> str:
        """Return the whole text."""
        return self.text.format(*self.counts)


def runs(numbers: Numbers) -> Runs:
    """Return a list, nested or not, as `[0] * 49 + [1] * 4 + range(3, 90)`."""
    plain = plain_list(numbers)
    if len(plain) <= _PLAIN:
        return Runs(plain)
    counts: list[int] = []
    return Runs(_runs(numbers, counts), tuple(counts))


def plain_list(value: object) -> str:
    """Return a constant, number by number."""
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(plain_list, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return f'"{value}"' if isinstance(value, str) else repr(value)


def numbers_length(numbers: Numbers | Constant) -> int:
    """Return how many characters a list takes."""
    return len(runs(numbers).written()) if isinstance(numbers, (tuple, list)) else 1


def _runs(numbers: Numbers, counts: list[int]) -> str:
    parts: list[str] = []
    single: list[str] = []
    groups = [(value, len(list(same))) for value, same in groupby(numbers)]
    at = 0
    while at < len(groups):
        value, count = groups[at]
        length = _range_length(groups, at)
        is_long = count > 1 and len(plain_list(value)) > _PLAIN // 4
        if count < _LEAST_RANGE and length < _LEAST_RANGE and not is_long:
            single += [_item(value, counts)] * count
            at += 1
            continue
        parts += [f"[{', '.join(single)}]"] if single else []
        single = []
        if length >= _LEAST_RANGE:
            parts.append(_range([v for v, _ in groups[at : at + length]]))
            at += length
        else:
            text = _item(value, counts)
            parts.append(f"[{text}] * {{{len(counts)}}}")
            counts.append(count)
            at += 1
    parts += [f"[{', '.join(single)}]"] if single else []
    return " + ".join(parts)


def _item(value: Constant, counts: list[int]) -> str:
    is_long = isinstance(value, tuple) and len(plain_list(value)) > _PLAIN
    return _runs(value, counts) if is_long and isinstance(value, tuple) else plain_list(value)


def _range_length(groups: Sequence[tuple[Constant, int]], start: int) -> int:
    """Return how many of the items from one on, each there once, are a range."""
    length = 0
    step: int | None = None
    before: int | None = None
    for at in range(start, len(groups)):
        value, count = groups[at]
        if type(value) is not int or count != 1:
            break
        if before is not None:
            if step is not None and value - before != step:
                break
            step = value - before
        before = value
        length += 1
    return length


def _range(numbers: Sequence[Constant]) -> str:
    first, second = numbers[0], numbers[1]
    assert isinstance(first, int)
    assert isinstance(second, int)
    step = second - first
    end = first + step * len(numbers)
    if step == 1:
        return f"range({first}, {end})" if first else f"range({end})"
    return f"range({first}, {end}, {step})"


@dataclass(frozen=True, slots=True)
class Counting:
    """A list whose numbers count along several axes: `start + i * step + j * step ...`.

    Attributes:
        start: the first number.
        axes: how many places each axis has, and by how much the numbers grow along it; the
            outermost first.
    """

    start: int
    axes: tuple[tuple[int, int], ...]


def counting(numbers: Numbers) -> Counting | None:
    """Return how a list counts, if it does along at least two axes, and is long."""
    if len(plain_list(numbers)) <= _PLAIN or any(type(n) is not int for n in numbers):
        return None
    left = [n for n in numbers if isinstance(n, int)]
    axes: list[tuple[int, int]] = []
    while len(left) > 1 and len(axes) < _MOST_AXES:
        step = left[1] - left[0]
        size = next((i for i in range(2, len(left)) if left[i] - left[i - 1] != step), len(left))
        rows = left[::size]
        if len(left) % size or left != [row + step * j for row in rows for j in range(size)]:
            return None
        axes.insert(0, (size, step))
        left = rows
    return Counting(left[0], tuple(axes)) if len(left) == 1 and len(axes) > 1 else None
