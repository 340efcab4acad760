"""The threads that share passes of machine code: one pool for all models of a process.

It is C itself (`netspec/compiler/c_backend/library/engine/threads/pool.c`): threads that sleep between
passes, take no signals, and are not there in a forked child, which starts its own.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

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


_OF_CALL = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)


class Pass:
    """A function of a library that is a `Pass` of `library/engine/team.h`."""

    def __init__(self, found: ctypes.CDLL, name: str) -> None:
        self._function = found[name]  # unlike an attribute, an object of its own
        self._function.restype = None
        self._function.argtypes = (*_OF_CALL, ctypes.c_void_p, ctypes.c_int)
        self._address = ctypes.cast(self._function, ctypes.c_void_p)

    def run(self, table: object, batch: int, part: int, apart: int, threads: int) -> None:
        """Run it in this thread, with others up to so many. No interrupt ends it."""
        shared = _shared() if threads > 1 else None
        if shared is None:
            self._function(table, batch, part, apart, None, 0)
        else:
            shared(self._address, table, batch, part, apart, threads)


@cache
def _shared() -> Callable[..., None] | None:
    """Return the function of the pool that runs a pass; None where there are no POSIX threads."""
    try:
        run = library(pool())["netspec_run"]
    except NetspecError:
        return None
    run.restype = None
    run.argtypes = (ctypes.c_void_p, *_OF_CALL, ctypes.c_int)
    return run
