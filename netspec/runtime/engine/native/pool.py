"""The threads that share passes of machine code: one pool for all models of a process.

It is C itself (`netspec/compiler/c_backend/library/engine/threads/pool.c`): threads that sleep between
passes, take no signals, and are not there in a forked child, which starts its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache, partial

from netspec.compiler.c_backend.library import pool
from netspec.diagnostics import NetspecError
from netspec.kernels import parallel
from netspec.runtime.engine.native.library_cache import library

# What a team counts its members with.
MOST = 1 << 10


def members() -> int:
    """Return how many threads share a pass.

    More than there are processors would take turns on them, and each turn costs time.
    """
    return min(parallel.threads(), parallel.available(), MOST)


class Pass:
    """A function of a library that is a `Pass` of `library/engine/team.h`."""

    def __init__(self, found: ctypes.CDLL, name: str) -> None:
        self._function = found[name]  # unlike an attribute, an object of its own
        self._function.restype = None
        self._address = ctypes.cast(self._function, ctypes.c_void_p)

    def call(
        self, table: ctypes.c_void_p, batch: int, part: int, apart: int, threads: int
    ) -> Callable[[], None]:
        """Return what runs it in the thread of the caller, with others up to so many. No interrupt ends
        a run.

        Its arguments are converted here, because that takes as long as a small layer.
        """
        given = (table, ctypes.c_int(batch), ctypes.c_int(part), ctypes.c_longlong(apart))
        shared = _shared() if threads > 1 else None
        if shared is None:
            return partial(self._function, *given, None, ctypes.c_int(0))
        return partial(shared, self._address, *given, ctypes.c_int(threads))


@cache
def _shared() -> Callable[..., None] | None:
    """Return the function of the pool that runs a pass; None where there are no POSIX threads."""
    try:
        run = library(pool())["netspec_run"]
    except NetspecError:
        return None
    run.restype = None
    return run
