"""The table `[search]` of a sweep: ranges of options in place of lists.

    [search]
    lr = {low = 1e-4, high = 1e-1, log = true}
    optimizer = ["adam", "lion"]

`trials` says how many combinations are tried, `seed` how they are drawn. `[search.set]` has arguments
of the net, and a range may have `step = N`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.runtime.data.choices import is_number
from netspec.runtime.runs.option_types import Int
from netspec.runtime.runs.options import OPTIONS
from netspec.runtime.runs.recipe import ARGUMENTS, mistakes, refuse
from netspec.runtime.runs.toml_spans import TomlSpans

SEARCH = "search"
_KEYS = {"low", "high", "log", "step"}
_WHOLE = {"trials": 1, "seed": 0}
PRUNERS = ("median",)
_OWN = (*_WHOLE, "pruner")

Place = tuple[str, ...]


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones, or in equal steps, or by their log."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def has(self, value: Any) -> bool:
        """Whether a number lies in it."""
        fits = type(value) is int or (type(value) is float and not self.is_whole)
        return fits and self.low <= value <= self.high

    @property
    def is_whole(self) -> bool:
        """Whether all numbers are whole ones."""
        return all(isinstance(n, int) for n in (self.low, self.high, self.step or 1))


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        trials: How many combinations are tried.
        seed: The seed of what chooses them.
        pruner: `median` ends a trial that is worse than the median of the others at the same epoch;
            empty for none.
        ranges: A range, or the values to choose from, by the place of an option or an argument.
    """

    trials: int
    seed: int
    ranges: Mapping[Place, Range | tuple[Any, ...]]
    pruner: str = ""

    def corners(self) -> Iterator[dict[Place, Any]]:
        """Yield choices with the ends of each range, and with each value of each list."""
        first = {place: _ends(found)[0] for place, found in self.ranges.items()}
        yield first
        for place, found in self.ranges.items():
            yield from ({**first, place: value} for value in _ends(found)[1:])

    def to_dict(self) -> dict[str, Any]:
        """Return what is searched, as plain values."""
        return {
            "/".join(place): asdict(found) if isinstance(found, Range) else list(found)
            for place, found in self.ranges.items()
        }

    def choices(self, kept: Mapping[str, Any]) -> dict[Place, Any]:
        """Return the choices of a trial from a file.

        Raises:
            ValueError: if they are none of this search.
        """
        found = {place: kept.get("/".join(place)) for place in self.ranges}
        for place, value in found.items():
            allowed = self.ranges[place]
            if not (allowed.has(value) if isinstance(allowed, Range) else value in allowed):
                raise ValueError(f"`{'/'.join(place)}` is not what is searched")
        return found


def _ends(found: Range | tuple[Any, ...]) -> Sequence[Any]:
    return (found.low, found.high) if isinstance(found, Range) else found


def read_search(table: object, places: TomlSpans, known: Collection[str]) -> Search:
    """Check the table `[search]`.

    Args:
        table: what the file says.
        places: where it says it.
        known: the options that a sweep may set.

    Raises:
        NetspecError: `recipe/key`, `recipe/value`.
    """
    if not isinstance(table, dict):
        span = places.keys.get((SEARCH,))
        raise NetspecError([Diagnostic(codes.RECIPE_VALUE, f"`{SEARCH}` is a table", span)])
    refuse(_wrong(table, places, known))
    ranges = {place: _read(value) for place, value in _searched(table)}
    return Search(table.get("trials", 20), table.get("seed", 0), ranges, table.get("pruner", ""))


def _searched(table: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    for name, value in table.items():
        if name == ARGUMENTS and isinstance(value, dict):
            yield from (((ARGUMENTS, argument), item) for argument, item in value.items())
        elif name not in _OWN:
            yield (name,), value


def _read(value: Any) -> Range | tuple[Any, ...]:
    return tuple(value) if isinstance(value, list) else Range(**value)


def _wrong(
    table: Mapping[str, Any], places: TomlSpans, known: Collection[str]
) -> Iterator[Diagnostic]:
    for name, least in _WHOLE.items():
        value = table.get(name, least)
        if type(value) is not int or value < least:
            span = places.values.get((SEARCH, name))
            yield Diagnostic(
                codes.RECIPE_VALUE, f"`{name}` must be a whole number, at least {least}", span
            )
    if table.get("pruner", PRUNERS[0]) not in PRUNERS:
        span = places.values.get((SEARCH, "pruner"), places.keys.get((SEARCH, "pruner")))
        message = f"`pruner` must be one of {', '.join(PRUNERS)}"
        yield Diagnostic(codes.RECIPE_VALUE, message, span)
    found = [*_searched(table)]
    if not found:
        message, hint = "nothing is searched", "such as lr = {low = 1e-4, high = 1e-1, log = true}"
        key = places.keys.get((SEARCH,))
        yield Diagnostic(codes.RECIPE_VALUE, message, key, hints=(Hint(hint),))
    for place, value in found:
        yield from _wrong_range(place, value, places, known)


def _wrong_range(
    place: Place, value: Any, places: TomlSpans, known: Collection[str]
) -> Iterator[Diagnostic]:
    """Yield what is wrong with one range, or with one list of values."""
    inside = (SEARCH, *place)
    key = places.keys.get(inside)
    span = places.values.get(inside, key)
    if isinstance(value, list) and value:
        items = value
    elif isinstance(value, dict) and {"low", "high"} <= value.keys() <= _KEYS:
        items = [value["low"], value["high"]]
    else:
        message = f"`{place[-1]}` must be a list of values, or a range"
        hint = Hint("a range is {low = 1e-4, high = 1e-1, log = true}, or has step = N")
        yield Diagnostic(codes.RECIPE_VALUE, message, span, hints=(hint,))
        return
    for item in items:
        content = {place[0]: item} if len(place) == 1 else {ARGUMENTS: {place[1]: item}}
        where = TomlSpans({place[:1]: key, place: key}, {place: span}) if key and span else places
        found = [*mistakes(content, where, known)]
        yield from found
        if found:
            return
    if isinstance(value, dict):
        yield from _wrong_numbers(place, value, places)


def _wrong_numbers(
    place: Place, value: Mapping[str, Any], places: TomlSpans
) -> Iterator[Diagnostic]:
    low, high, step, log = (value.get(n) for n in ("low", "high", "step", "log"))
    span = places.values.get((SEARCH, *place), places.keys.get((SEARCH, *place)))
    wrong = None
    if not (_is_plain(low) and _is_plain(high)) or low >= high:  # type: ignore[operator]
        wrong = "has a low number and a higher one"
    elif not isinstance(log, bool | None):
        wrong = "has log = true, or not"
    elif log and (low <= 0 or step is not None):  # type: ignore[operator]
        wrong = "on a scale of logs is above 0 and has no step"
    elif step is not None and not (_is_plain(step) and step > 0):
        wrong = "has a step above 0"
    elif place[0] in OPTIONS and isinstance(OPTIONS[place[0]].kind, Int) and type(step) is float:
        wrong = "of whole numbers has a whole step"
    if wrong is not None:
        yield Diagnostic(codes.RECIPE_VALUE, f"a range {wrong}", span)


def _is_plain(value: Any) -> bool:
    return is_number(value) and not isinstance(value, bool)
