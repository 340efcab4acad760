"""A small cache: the most recently used values, made when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from netspec.fork_lock import ForkLock

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A cache by key that drops the values that have not been used for the longest time.

    Several threads may use it. If two ask for the same new key, both may make a value; one of them
    is kept, and both get that one.

    Args:
        most: how many values are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: dict[K, V] = {}
        # The latest value is usually the next one asked for, and returning it takes no lock.
        self._last: tuple[K, V] | None = None
        self._lock = ForkLock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of a key; makes it if needed."""
        found = self.known(key)
        if found is not None:
            return found
        made = make()
        with self._lock.current:
            item = self._put_last(key, self._items.pop(key, made))
            while len(self._items) > self._most:
                del self._items[next(iter(self._items))]
            return item

    def known(self, key: K) -> V | None:
        """Return the value of a key, or None if there is none."""
        last = self._last
        if last is not None and last[0] == key:
            return last[1]
        with self._lock.current:
            return self._put_last(key, self._items.pop(key)) if key in self._items else None

    def _put_last(self, key: K, item: V) -> V:
        self._items[key] = item
        self._last = key, item
        return item

    def clear(self) -> None:
        """Drop all values."""
        with self._lock.current:
            self._items.clear()
            self._last = None

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[V]:
        with self._lock.current:
            return iter(list(self._items.values()))
