"""How many threads the numeric libraries use."""

from __future__ import annotations


def limit(count: int) -> None:
    """Let kernels, and numexpr, use `count` threads, from here to the end of the process.

    Equal seeds give equal bits on one machine with one number of threads.
    """
    import numexpr

    from netspec.kernels import parallel

    parallel.set_threads(count)
    numexpr.set_num_threads(min(count, numexpr.MAX_THREADS))
