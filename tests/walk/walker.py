"""Random walks: episodes of steps that a seed chooses.

Each step is watched, and memory is measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import gc
import logging
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netspec.kernels import parallel
from tests.walk import command_steps, python_steps
from tests.walk.scene import Scene

# A step that takes longer hangs. The slowest step takes seconds on a busy machine.
STEP_SECONDS = 300.0
STEPS = 40
# After this time a process has loaded everything, and its memory must not grow: ten minutes, and as
# much of a processor as it gets in them on a machine with nothing else to do.
WARM_UP = 600.0
WARM_UP_PROCESSOR = 450.0
GROWTH = 0.05
MAX_FINDS = 20


@dataclass
class Report:
    """The record of what a walk did and found.

    Attributes:
        steps: the number of steps, by name.
        finds: each with how to reproduce it.
        slowest: the seconds of the slowest step, and its name.
        memory: (seconds, seconds of a processor, MB that no file holds) after each episode, all of its
            objects dropped.
    """

    steps: Counter[str] = field(default_factory=Counter)
    episodes: int = 0
    slowest: tuple[float, str] = (0.0, "none")
    finds: list[str] = field(default_factory=list)
    memory: list[tuple[float, float, float]] = field(default_factory=list)

    def growth(self) -> float | None:
        """Return by which share memory grew after the warm-up; None if the walk was too short."""
        warm = [
            megabytes
            for seconds, processor, megabytes in self.memory
            if seconds > WARM_UP and processor > WARM_UP_PROCESSOR
        ]
        tenth = len(warm) // 10
        if tenth < 3:
            return None
        return statistics.median(warm[-tenth:]) / statistics.median(warm[:tenth]) - 1

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {name}" for name, count in sorted(self.steps.items()))
        grown = self.growth()
        memory = f"{self.memory[-1][2]:.0f} MB in the end" if self.memory else "no memory measured"
        if grown is not None:
            memory += f", {grown:+.1%} since the warm-up"
        return (
            f"{self.steps.total()} steps ({kinds}) in {self.episodes} episodes, {memory},"
            f" slowest {self.slowest[0]:.1f} s ({self.slowest[1]}),"
            f" {len(self.finds)} finds"
        )


def walk(seconds: float, seed: int, journal: Path | None = None, first: int = 0) -> Report:
    """Walk in this process for a time.

    Args:
        seconds: how long to walk.
        seed: the seed of all choices.
        journal: a file for the steps of the current episode, which is read after a crash.
        first: the number of the first episode.
    """
    report = Report()
    start = time.monotonic()
    while time.monotonic() - start < seconds and len(report.finds) < MAX_FINDS:
        episode = first + report.episodes
        found = walk_episode(seed, episode, report, journal, until=start + seconds)
        report.episodes += 1
        if found is not None:
            report.finds.append(found)
        used = time.process_time()
        report.memory.append((time.monotonic() - start, used, megabytes_at_rest()))
    if (grown := report.growth()) is not None and grown > GROWTH:
        report.finds.append(f"memory grew by {grown:.1%} after {WARM_UP:.0f} s")
    return report


def walk_episode(
    seed: int,
    episode: int,
    report: Report,
    journal: Path | None = None,
    until: float = float("inf"),
) -> str | None:
    """Take steps from an empty start, and count them in the report.

    Return what is wrong, or None.
    """
    rng = random.Random(f"{seed} {episode}")
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if journal is not None:
            with journal.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")

    if journal is not None:
        journal.write_text(f"seed {seed}, episode {episode}\n", "utf-8")
    choose = rng.choice([python_steps.chosen, python_steps.chosen, command_steps.chosen])
    with _place() as folder, _ordinary_threads(), _quiet():
        scene = Scene(rng, folder, say)
        if rng.random() < 0.7:
            say("threads share any work")
            python_steps.share_any_work()
        for _ in range(STEPS):
            if time.monotonic() > until:
                return None
            step = choose(rng)
            report.steps[step.__name__] += 1
            begin = time.monotonic()
            found = _watched(step, scene)
            taken = time.monotonic() - begin, said[-1] if said else step.__name__
            report.slowest = max(report.slowest, taken)
            if found is not None:
                steps = "\n".join(f"  {i}. {text}" for i, text in enumerate(said, start=1))
                return (
                    f"{found}\nto see it again: python -m tests.walk --seed {seed}"
                    f" --episode {episode}\n{steps}\n"
                )
    return None


def _watched(step: Callable[[Scene], None], scene: Scene) -> str | None:
    """Take a step. Return what it showed if it is a find. A step that hangs ends the process."""
    if sys.stderr is sys.__stderr__:  # a test runner's stream has no descriptor
        faulthandler.dump_traceback_later(STEP_SECONDS, exit=True)
    try:
        step(scene)
    except Exception:
        return f"{step.__name__}: {traceback.format_exc()}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    return None


@contextlib.contextmanager
def _place() -> Iterator[Path]:
    """Work in a new folder, and remove it at the end."""
    before = Path.cwd()
    folder = Path(tempfile.mkdtemp(prefix="walk-")).resolve()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _ordinary_threads() -> Iterator[None]:
    """Restore the numbers of threads that steps have set."""
    from netspec.runtime.engine import threads

    try:
        yield
    finally:
        for name, ordinary in python_steps.ORDINARY_WORTH.items():
            setattr(parallel, name, ordinary)
        threads.limit(parallel.available())
        parallel._threads = 0
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(parallel.available())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress netspec's warnings about odd data."""
    handler: logging.Handler = logging.NullHandler()
    logger = logging.getLogger("netspec")
    before: Any = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


def megabytes_at_rest() -> float:
    """Return the memory of this process that no file holds, after all free memory is returned."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        status = Path("/proc/self/status").read_text("ascii")
        if found := re.search(r"^RssAnon:\s*(\d+) kB$", status, re.MULTILINE):
            return int(found[1]) / 1024
    return 0.0
