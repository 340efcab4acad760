"""What names and expressions stand for while a body is built, now and at each earlier statement."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from netspec.records import record

Numbers = Mapping[str, Any]
"""What names and expressions stand for where a statement is met."""


class History:
    """What names stand for; a copy of all of them at each statement would be too much."""

    def __init__(self) -> None:
        self._time = 0
        self._since: dict[str, list[int]] = {}
        self._values: dict[str, list[Any]] = {}
        self._log: dict[str, Any] | None = None

    def begin_log(self) -> None:
        """Note what names stand for from here on."""
        self._log = {}

    def end_log(self) -> dict[str, Any]:
        """What was noted: for each name the last."""
        found, self._log = self._log, None
        return found or {}

    def __setitem__(self, name: str, value: Any) -> None:
        """A name stands for something from here on."""
        if self._log is not None:
            self._log[name] = value
        since = self._since.setdefault(name, [])
        values = self._values.setdefault(name, [])
        if since and since[-1] == self._time:
            values[-1] = value
        elif not values or type(values[-1]) is not type(value) or values[-1] != value:
            since.append(self._time)
            values.append(value)

    def now(self) -> Numbers:
        """What all names stand for here."""
        self._time += 1
        return _Moment(self, self._time - 1)

    def at(self, name: str, time: int) -> Any:
        """What a name stood for.

        Raises:
            KeyError: if it stood for nothing yet.
        """
        at = bisect_right(self._since[name], time)
        if not at:
            raise KeyError(name)
        return self._values[name][at - 1]

    def names(self, time: int) -> Iterator[str]:
        """The names that stood for something."""
        return (name for name, since in self._since.items() if since[0] <= time)


@record
class _Moment(Mapping[str, Any]):
    history: History
    time: int

    def __getitem__(self, name: str) -> Any:
        return self.history.at(name, self.time)

    def __iter__(self) -> Iterator[str]:
        return self.history.names(self.time)

    def __len__(self) -> int:
        return sum(1 for _ in self)
