"""Timing a step, and combining the times of several rounds."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

# A round has at least this many steps and takes at least this long, after an untimed step: after
# another peer's turn the caches are cold and the threads are asleep.
LEAST_STEPS = 3
SECONDS = 0.25
MOST_STEPS = 2000


@dataclass(frozen=True)
class Round:
    """The median step of one round, in seconds, and the processor time of its average step."""

    seconds: float
    cpu: float
    steps: int


def time_round(step: Callable[[], Any], seconds: float = SECONDS) -> Round:
    """Run steps for a while, with the garbage collector switched off."""
    step()
    times: list[float] = []
    gc.collect()
    gc.disable()
    try:
        cpu, begin = time.process_time(), time.perf_counter()
        end = begin + seconds
        now = begin
        while (now < end or len(times) < LEAST_STEPS) and len(times) < MOST_STEPS:
            step()
            before, now = now, time.perf_counter()
            times.append(now - before)
        cpu = (time.process_time() - cpu) / len(times)
    finally:
        gc.enable()
    return Round(median(times), cpu, len(times))


def ratio(rounds: list[Round], first: list[Round]) -> float:
    """Return the time relative to the first peer: the median of the ratios of the rounds.

    The ratio is taken in each round, because a machine that is slow for a while is slow for both.
    """
    return median(a.seconds / b.seconds for a, b in zip(rounds, first, strict=True))


def turns(names: list[str], number: int) -> list[str]:
    """Return the order of one round.

    Each round begins with another peer, so that none always follows the same one.
    """
    at = number % len(names)
    return names[at:] + names[:at]


def summary(rounds: Mapping[str, list[Round]], name: str) -> tuple[float, float]:
    """Return the median seconds and processor seconds of a peer's step."""
    mine = rounds[name]
    return median(r.seconds for r in mine), median(r.cpu for r in mine)
