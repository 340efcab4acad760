"""Interrupts calls at random moments, by a signal or from another thread.

The next answer must be right.

python -m tests.helpers.interrupting --count 5000 --seed 0
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.kernels import parallel
from tests.helpers.native_threads import share_everything

NET = netspec.loads("""net Small() {
    input image: [1, 8, 8]
    output image -> conv(6, 3, pad = 1) -> batch_norm -> relu -> conv(6, 3, groups = 2)
           -> layer_norm -> max_pool(2) -> dropout(0.2) -> flatten -> linear(3)
}""")
_RNG = np.random.default_rng(0)
X, Y = _RNG.standard_normal((16, 1, 8, 8)).astype("f4"), _RNG.integers(0, 3, 16)
DATA = netspec.Dataset("made", _RNG.integers(0, 256, (48, 1, 8, 8)).astype("u1"),
                       np.arange(48) % 3, X[:0], Y[:0], 3)  # fmt: skip
# A call that normally answers at once may take so many seconds, because the machine may be busy. They
# are waited for one by one: a process that was stopped for a while has lost only one of them.
SECONDS = 60


@dataclass(frozen=True)
class Kind:
    """What is interrupted: how an object is made, called, and restored to its first state.

    A kind that starts threads is interrupted by signals only. For a moment a new thread has the
    number of the thread that starts it. An exception that is sent to that number then (seen with
    Python 3.11) ends the new thread before it reports that it runs, and the other thread waits for
    that report.
    """

    make: Callable[[], Any]
    call: Callable[[Any], Any]
    restore: Callable[[Any], object] = lambda each: None
    starts_threads: bool = False


def _restored(model: Any) -> None:
    model.load_state_dict(STATE)
    if hasattr(model, "reseed"):
        model.reseed(5)


def _fitted(model: Any) -> list[Any]:
    netspec.fit(model, DATA, epochs=1, batch=16, optimizer="momentum")
    return list(model.state_dict().values())


STATE = NET.compile(seed=1).state_dict()


KINDS = {
    "forward": Kind(lambda: NET.compile(seed=1), lambda m: m.forward(X), _restored),
    "predictor": Kind(lambda: NET.compile(seed=1).predictor(), lambda p: p(X)),
    "gradients": Kind(
        lambda: NET.compile(seed=1),
        lambda m: [*m.loss_and_grads(X, Y)[1].values(), *m.state_dict().values()],
        _restored,
    ),
    "fit": Kind(lambda: NET.compile(seed=1), _fitted, _restored, starts_threads=True),
    "native gradients": Kind(
        lambda: NET.compile("c", seed=1),
        lambda m: [*m.loss_and_grads(X, Y)[1].values(), *m.state_dict().values()],
        _restored,
    ),
    "native predictor": Kind(lambda: NET.compile("c", seed=1).predictor(), lambda p: p(X)),
    "torch forward": Kind(lambda: NET.compile("torch", seed=1), lambda m: m.forward(X)),
    "torch fit": Kind(
        lambda: NET.compile("torch", seed=1), _fitted, _restored, starts_threads=True
    ),
}


class WrongAnswer(Exception):  # noqa: N818
    """An answer after an interrupt is wrong, or does not come."""


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let kernels divide even small work among this many threads, and machine code its passes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_threads", count), ("WORTH_A_THREAD", 1), ("WORTH_A_PART", 1)):
            patch.setattr(parallel, name, value)
        share_everything(patch, count)
        yield


def by_signal(call: Callable[[], object], seconds: float) -> bool:
    """Make a call in the main thread, and interrupt it after a time.

    Return whether it was interrupted.
    """
    armed = [True]

    def interrupt(*_: object) -> None:
        if armed[0]:
            armed[0] = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
        call()
        armed[0] = False
    except KeyboardInterrupt:
        return True
    finally:
        armed[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def by_thread(call: Callable[[], object], seconds: float) -> bool:
    """Make a call in a thread, which another thread interrupts after a time.

    Return whether it was interrupted.
    """
    interrupted, over, errors = [False], threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            try:
                call()
            finally:
                over.set()
        except KeyboardInterrupt:
            interrupted[0] = True
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(seconds)
    if not over.is_set():
        assert thread.ident is not None
        exception = ctypes.py_object(KeyboardInterrupt)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), exception)
    _wait(thread)
    if thread.is_alive():
        faulthandler.dump_traceback(sys.__stderr__)
        raise WrongAnswer("the interrupted thread does not end")
    if errors:
        raise errors[0]
    return interrupted[0]


def _wait(thread: threading.Thread) -> None:
    """Wait for the end of a thread."""
    for _ in range(SECONDS):
        thread.join(1)
        if not thread.is_alive():
            return


def elsewhere(call: Callable[[], Any]) -> Any:
    """Return the result of a call in a new thread, in which a lock that was left locked would show."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    _wait(thread)
    if not found:
        faulthandler.dump_traceback(sys.__stderr__)
        raise WrongAnswer("the next answer does not come")
    return found[0]


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two answers are equal, bit for bit."""
    if isinstance(theirs, list):
        return all(map(np.array_equal, ours, theirs))
    return np.array_equal(ours, theirs)


def _seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def interrupt_many(name: str, workers: int, count: int, seed: int) -> int:
    """Interrupt calls until `count` of them were interrupted, and check the answer after each.

    Returns:
        The number of calls that were made.

    Raises:
        WrongAnswer: if an answer differs from the one before any interrupt, or does not come.
    """
    kind, rng = KINDS[name], random.Random(f"{name} {workers} {seed}")
    with threads(workers):
        each = kind.make()
        kind.restore(each)
        expected = kind.call(each)
        lengths = dict[bool, float]()  # duration of a first call, which records, and of others
        fresh, hits, calls = True, 0, 0
        # The machine may be busy meanwhile: the shortest of a few counts.
        lengths[True] = min(_seconds(lambda: kind.call(kind.make())) for _ in range(3))
        lengths[False] = min(_seconds(lambda: kind.call(each)) for _ in range(3))
        kind.restore(each)
        while hits < count:
            if rng.random() < 0.1:
                each, fresh = kind.make(), True
                kind.restore(each)
            way = by_signal if kind.starts_threads or rng.random() < 0.6 else by_thread
            calls += 1
            hits += way(lambda m=each: kind.call(m), rng.uniform(0, 1.1) * lengths[fresh])
            kind.restore(each)
            fresh = False
            answer = (
                elsewhere(lambda m=each: kind.call(m)) if rng.random() < 0.3 else kind.call(each)
            )
            if not equal(answer, expected):
                raise WrongAnswer(f"{name} with {workers} threads, after {hits} interrupts")
            kind.restore(each)
            if calls > 50 * count:
                raise WrongAnswer(f"{name}: only {hits} of {calls} calls could be interrupted")
    return calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=KINDS, action="append")
    options = parser.parse_args()
    kinds = options.kind or list(KINDS)
    cases = [(name, workers) for name in kinds for workers in (2, 4)]
    each = -(-options.count // len(cases))
    for name, workers in cases:
        calls = interrupt_many(name, workers, each, options.seed)
        print(
            f"{name}, {workers} threads: {each} interrupts of {calls} calls, all well", flush=True
        )


if __name__ == "__main__":
    main()
