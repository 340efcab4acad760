"""Sets the number of threads of the numeric libraries."""

from __future__ import annotations


def limit(count: int) -> None:
    """Let kernels and numexpr use `count` threads until the process ends.

    Equal seeds give bit-identical results on one machine with the same number of threads.
    """
    import numexpr

    from netspec.kernels import parallel

    parallel.set_threads(count)
    numexpr.set_num_threads(min(count, numexpr.MAX_THREADS))
