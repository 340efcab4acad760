"""Locks that are free in a forked child."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

_locks: WeakSet[ForkLock] = WeakSet()


class ForkLock:
    """A reentrant lock that a forked child finds free: `with lock.current`.

    `fork` copies only the calling thread. A lock held by another thread would never be released in
    the child, so each lock is replaced by a new one there.

    Attributes:
        current: the lock itself. Python acquires and releases it in one step, so that no interrupt
            can come between acquiring it and the `with` that releases it.
    """

    def __init__(self) -> None:
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Replace the lock by a free one, whoever held it."""
        self.current = threading.RLock()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
