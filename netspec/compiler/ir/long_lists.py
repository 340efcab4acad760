"""What was found of long lists, which are asked for it again and again."""

from __future__ import annotations

from typing import Generic, TypeVar

_T = TypeVar("_T")

# A shorter list is soon gone through again.
_LONG = 64
# So many lists are remembered; a net has one or two tables.
_MOST = 4


class OfLongLists(Generic[_T]):
    """What was found of the last long lists and texts, by which object they are."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, _T]] = {}

    def get(self, value: object) -> _T | None:
        """What was found of this list; None if that is not known."""
        known = self._known.get(id(value))
        return known[1] if known is not None and known[0] is value else None

    def keep(self, value: tuple[object, ...] | str, found: _T) -> _T:
        """Remember what was found of a list, if it is long; return it."""
        if len(value) >= _LONG:
            known = self._known if len(self._known) < _MOST else {}
            known[id(value)] = value, found
            self._known = known
        return found
