"""Limits on what handling a hostile file may cost: memory of this process, and processor time."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netspec.diagnostics import NetspecError

MEGABYTES, SECONDS = 500, 2.0


def address_space() -> int:
    """Return the bytes of memory that this process has reserved."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    return pages * resource.getpagesize()


@contextmanager
def within_bounds(megabytes: int = MEGABYTES, seconds: float = SECONDS) -> Iterator[None]:
    """Fail if the context uses more memory or processor time than this."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("the memory of a process is known on Linux alone")
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + (megabytes << 20), hard))
    try:
        yield
    except NetspecError as error:
        if "MemoryError" in str(error) or "allocate" in str(error):  # not the file's error
            pytest.fail(str(error))
        raise
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - start < seconds
