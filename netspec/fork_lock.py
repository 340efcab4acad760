"""Locks that a forked child finds open."""

from __future__ import annotations

import os
import threading
from weakref import WeakSet

_locks: WeakSet[ForkLock] = WeakSet()


class ForkLock:
    """A lock that a thread may take again while it has it: `with lock.current`.

    `fork` takes one thread along. Whoever else had a lock is not in the child, and would never open
    it there: each lock is a new one then.

    Attributes:
        current: the lock itself. Python enters and leaves it in one step, so that no interrupt comes
            between taking it and the `with` that gives it back.
    """

    def __init__(self) -> None:
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Be open, whoever had it."""
        self.current = threading.RLock()


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
