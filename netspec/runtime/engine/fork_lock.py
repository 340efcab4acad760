"""Locks that a forked child finds open."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

_locks: WeakSet[ForkLock] = WeakSet()


class ForkLock:
    """A lock for a `with`, which a thread may take again while it has it.

    `fork` takes one thread along. Whoever else had a lock is not in the child, and would never open
    it there: each lock is a new one then.
    """

    def __init__(self) -> None:
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Be open, whoever had it."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
