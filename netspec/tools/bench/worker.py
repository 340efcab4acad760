"""A process for each peer: libraries start their own threads, and a crash must not end the others.

The parent asks one peer at a time; meanwhile the others sleep.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from netspec.tools.bench.timing import Round, time_round
from netspec.tools.bench.workload import Array, Runner, Workload

if TYPE_CHECKING:
    from netspec.tools.bench.memory import MemoryUse
    from netspec.tools.bench.profile import Profile

# Compiling a large net can take minutes.
PATIENCE = 600.0

# Steps after the first that are not timed. Some libraries compile only in the second or third.
WARM_UP = 3

# Read by BLAS and OpenMP libraries when they are loaded.
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class PeerError(Exception):
    """A peer cannot do what it was asked, or its process died; the message says why."""


class Worker:
    """A peer in a process of its own.

    Attributes:
        version: the version of the peer's library.
        first: the result of the first step, see `Runner.result`.
        peak: see `Runner.peak`.
    """

    def __init__(self, name: str, case: Workload) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the parent's threads
        self.name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, case), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.version: str
            self.first: dict[str, Array]
            self.peak: int | None
            self.version, self.first = self._answer()
            self.peak = self.ask("peak")
        except BaseException:
            self.close()
            raise

    def ask(self, what: str) -> Any:
        """Have the process run one of `TASKS`.

        Raises:
            PeerError: if it fails.
        """
        try:
            self._connection.send(what)
        except OSError as error:
            raise PeerError(f"its process was lost: {error}") from None
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(3)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            if not self._connection.poll(PATIENCE):
                raise PeerError(f"gave no answer within {PATIENCE:.0f} s")
            kind, value = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise PeerError(f"its process ended with {self._process.exitcode}") from None
        if kind == "failed":
            raise PeerError(value)
        return value


def _serve(connection: Connection, name: str, case: Workload) -> None:
    """The main function of the process: prepare the peer, then answer requests until the last."""
    _be_quiet()
    _limit_threads(case.threads)
    try:
        from netspec.tools.bench.peers import PEERS

        runner = PEERS[name].load()(case)
        first = runner.result(runner.step())
        for _ in range(WARM_UP):
            runner.step()
        connection.send(("ready", (runner.version, first)))
        while True:
            task = TASKS[connection.recv()]
            connection.send(("done", task(case, runner)))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except Exception as error:
        connection.send(("failed", _in_a_line(error)))


def _round(case: Workload, runner: Runner) -> Round:
    return time_round(runner.step)


def _sgemm(case: Workload, runner: Runner) -> list[float]:
    from netspec.tools.bench.peak_gemm import sgemm

    return sgemm(case.threads)


def _memory(case: Workload, runner: Runner) -> MemoryUse:
    from netspec.tools.bench.memory import measure

    return measure(case)


def _profile(case: Workload, runner: Runner) -> Profile:
    from netspec.tools.bench.profile import measure

    return measure(case)


def _peak(case: Workload, runner: Runner) -> int | None:
    try:
        return None if runner.peak is None else runner.peak()
    except Exception:  # profilers change between versions, and times do not depend on them
        return None


# What a process can be asked for. The last two are about netspec, whichever peer is asked.
TASKS: dict[str, Callable[[Workload, Runner], Any]] = {
    "round": _round,
    "sgemm": _sgemm,
    "peak": _peak,
    "memory": _memory,
    "profile": _profile,
}


def _be_quiet() -> None:
    """Discard output of compilers and exporters. Everything that matters is returned as an answer."""
    if os.environ.get("NETSPEC_DEBUG"):
        return
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where the parent's are closed
        stream.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _limit_threads(count: int) -> None:
    """Limit the threads of every library; some only heed the processors that the process may use."""
    for variable in _VARIABLES:
        os.environ[variable] = str(count)
    if hasattr(os, "sched_setaffinity"):
        mine = sorted(os.sched_getaffinity(0))
        if count < len(mine):
            os.sched_setaffinity(0, mine[:count])


def _in_a_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[0] if lines else ""
    name = type(error).__name__
    if name == "UnsupportedError":
        return message
    return f"{name}: {message}"[:200]
