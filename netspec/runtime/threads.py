"""How many threads the numeric libraries use."""

from __future__ import annotations


def limit(count: int) -> None:
    """Hold BLAS and numexpr to `count` threads, from here to the end of the process.

    Equal seeds give equal bits on one machine with one number of threads.
    """
    import numexpr
    import numpy as np  # noqa: F401 - its BLAS must be loaded to be found
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=count)
    numexpr.set_num_threads(min(count, numexpr.MAX_THREADS))
