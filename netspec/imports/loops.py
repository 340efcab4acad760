"""Statements that repeat, with numbers that count in their labels, become loops."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netspec.imports.outline import Loop, Statement, Step

# How many statements a loop's body has at most, and how often it runs at least.
_LONGEST = 24
_LEAST = 3
# How many constants may differ from turn to turn, each in a list of its own.
_MOST_LISTS = 2

_NUMBER = re.compile(r"\d+")

Turns = Sequence[Sequence[Step]]


def with_loops(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """Return statements with loops in place of what repeats, the longest saving first."""
    found: list[Statement] = []
    read = _read(statements)
    runs = {length: _runs(read, length) for length in range(1, _LONGEST + 1)}
    at = 0
    while at < len(statements):
        best: _Repeat | None = None
        for length, run in runs.items():
            repeat = _repeat(read[at : at + length + run[at]], length)
            if repeat is not None and (best is None or repeat.saved > best.saved):
                best = repeat
        if best is None:
            found.append(statements[at])
            at += 1
        else:
            found.append(best.loop())
            at += best.saved + len(best.turns[0])
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Read:
    """A step, and what is compared of it.

    Attributes:
        step: the step.
        kind: the number of its kind; steps of a loop have the same in each turn.
        numbers: those in its label.
    """

    step: Step
    kind: int
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    """Statements that repeat.

    Attributes:
        turns: the steps of each turn.
        places: which numbers of the label count, for each step of a turn.
        start: what they count from.
        lists: the arguments that differ between turns, by step and place.
    """

    turns: Turns
    places: tuple[tuple[int, ...], ...]
    start: int
    lists: tuple[tuple[int, int], ...]

    @property
    def saved(self) -> int:
        """How many statements fewer there are."""
        return len(self.turns[0]) * (len(self.turns) - 1)

    def loop(self) -> Loop:
        """Return the loop. What differs between turns, beside the labels, is given in lists."""
        names = self._names()
        body: list[Statement] = []
        for i, step in enumerate(self.turns[0]):
            arguments = tuple(
                (name, names.get((i, place), text))
                for place, (name, text) in enumerate(step.arguments)
            )
            label = _counted(step.label, self.places[i])
            body.append(replace(step, label=label, arguments=arguments, note=""))
        start, end = self.start, self.start + len(self.turns)
        counter = f"range({start}, {end})" if start else f"range({end})"
        columns = [
            "[" + ", ".join(turn[i].arguments[place][1] for turn in self.turns) + "]"
            for i, place in self.distinct()
        ]
        if not columns:
            return Loop(("i",), counter, tuple(body))
        targets = tuple(dict.fromkeys(names.values()))
        if not any(self.places) and len(columns) == 1:
            return Loop(targets, columns[0], tuple(body))
        if len(columns) == 1 and not start:
            return Loop(("i", *targets), f"enumerate({columns[0]})", tuple(body))
        return Loop(("i", *targets), f"zip({', '.join([counter, *columns])})", tuple(body))

    def _column(self, i: int, place: int) -> tuple[str, ...]:
        return tuple(turn[i].arguments[place][1] for turn in self.turns)

    def distinct(self) -> list[tuple[int, int]]:
        """Return the arguments that differ between turns, without those that equal another one."""
        return list({self._column(*key): key for key in reversed(self.lists)}.values())[::-1]

    def _names(self) -> dict[tuple[int, int], str]:
        by_column: dict[tuple[str, ...], str] = {}
        found: dict[tuple[int, int], str] = {}
        for i, place in self.lists:
            base = self.turns[0][i].arguments[place][0] or "size"
            taken = list(by_column.values())
            name = base if len(base) > 1 and base not in taken else f"{base}_{len(taken) + 1}"
            found[i, place] = by_column.setdefault(self._column(i, place), name)
        return found


def _read(statements: Sequence[Statement]) -> list[_Read | None]:
    """Return steps as they are compared, and None for every other statement, which never repeats."""
    kinds: dict[object, int] = {}
    found: list[_Read | None] = []
    for statement in statements:
        if isinstance(statement, Step):
            kind = kinds.setdefault(_kind(statement), len(kinds))
            numbers = tuple(map(int, _NUMBER.findall(statement.label)))
            found.append(_Read(statement, kind, numbers))
        else:
            found.append(None)
    return found


def _kind(step: Step) -> object:
    """Return what steps of a loop have in common."""
    names = tuple(name for name, _ in step.arguments)
    return step.targets, step.callee, step.operands, names, _NUMBER.sub("#", step.label)


def _runs(read: Sequence[_Read | None], length: int) -> list[int]:
    """Return for each statement how many from it on are like those that come `length` later."""
    runs = [0] * len(read)
    for at in range(len(read) - length - 1, -1, -1):
        a, b = read[at], read[at + length]
        if a is not None and b is not None and a.kind == b.kind:
            runs[at] = runs[at + 1] + 1
    return runs


def _repeat(read: Sequence[_Read | None], length: int) -> _Repeat | None:
    """Return how statements repeat, as often as they do, if those of a turn are like the next's."""
    count = len(read) // length
    if count < _LEAST:
        return None
    steps = [each for each in read if each is not None]
    turns = [steps[i * length : (i + 1) * length] for i in range(count)]
    # More turns never count where fewer do not.
    counts = range(_LEAST, count + 1)
    most = bisect_left(counts, True, key=lambda count: _counting(turns[:count]) is None)
    found = _counting(turns[: counts[most - 1]]) if most else None
    return found if found is not None and found.saved > 2 else None


def _counting(turns: Sequence[Sequence[_Read]]) -> _Repeat | None:
    """Return the repeat if all numbers in labels stay, or count from one start by one."""
    places: list[tuple[int, ...]] = []
    starts: set[int] = set()
    lists: list[tuple[int, int]] = []
    for i, first in enumerate(turns[0]):
        counting = []
        for place, start in enumerate(first.numbers):
            column = [turn[i].numbers[place] for turn in turns]
            if column == list(range(start, start + len(turns))):
                counting.append(place)
                starts.add(start)
            elif len(set(column)) > 1:
                return None
        if first.step.label and not counting:
            return None  # two layers of one name
        places.append(tuple(counting))
        for place in range(len(first.step.arguments)):
            if len({turn[i].step.arguments[place][1] for turn in turns}) > 1:
                lists.append((i, place))
    steps = [[each.step for each in turn] for turn in turns]
    repeat = _Repeat(steps, tuple(places), min(starts, default=0), tuple(lists))
    if len(starts) > 1 or len(repeat.distinct()) > _MOST_LISTS:
        return None
    return repeat


def _counted(label: str, places: Sequence[int]) -> str:
    """Put the counter in place of numbers of a label."""
    seen = -1

    def put(match: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return "{i}" if seen in places else match.group()

    return _NUMBER.sub(put, label)
