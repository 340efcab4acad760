"""Which emitter is faster for a formula, measured once on each machine and stored."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from netspec.compiler.ir.expression import Expression
from netspec.compiler.ir.plan import Emitter
from netspec.files.regular_file import open_regular
from netspec.fork_lock import ForkLock
from netspec.runtime.weights.host import processor, versions

_FORMAT = 1  # version of the files and of the measurement
# A row is never longer than this; no more of a file is read.
_LONGEST = 1 << 20

# numexpr is chosen if it takes less than this share of NumPy's time. NumPy is preferred if both are
# about equal, because it can overwrite its operands and so needs less memory.
MARGIN = 0.9


@dataclass(frozen=True)
class Question:
    """What the times depend on, apart from the machine.

    Attributes:
        formula: the formula, with names by their order.
        dtype: the type of all arrays.
        size: how many numbers each has, a power of two.
        threads: how many threads the kernels use.
    """

    formula: Expression
    dtype: str
    size: int
    threads: int

    @cached_property
    def key(self) -> str:
        """The question as text."""
        return f"{self.formula}, {self.dtype}, {self.size} numbers, {self.threads} threads"


Time = Callable[[Expression, str, int], Mapping[Emitter, float]]


class EmitterTable:
    """The rows of a machine: files in a folder, one for each question.

    The process that stores a row first decides for all others, so that equal seeds give equal bits.
    For the same reason a row that cannot be stored means NumPy. Threads may share it.

    Args:
        folder: returns the folder of the files, which need not exist.
        time: returns the seconds of each emitter.
    """

    def __init__(self, folder: Callable[[], Path], time: Time) -> None:
        self._folder, self._time = folder, time
        self._known: dict[str, Emitter] = {}
        self._lock = ForkLock()

    def emitter(self, question: Question) -> Emitter:
        """Return the emitter to use."""
        known = self._known.get(question.key)
        if known is None:
            with self._lock.current:  # concurrent measurements would disturb each other
                known = self._known.get(question.key) or self._found(question)
                self._known[question.key] = known
        return known

    def _found(self, question: Question) -> Emitter:
        try:
            folder = self._folder() / _digest(machine_text())
            path = folder / f"{_digest(question.key)}.json"
            kept = _read(path, question)
            if kept is None:
                folder.mkdir(parents=True, exist_ok=True)
                kept = self._measured(question, path)
        except OSError:
            return "numpy"
        return kept or "numpy"

    def _measured(self, question: Question, path: Path) -> Emitter | None:
        """Measure a row and store it, unless another process was first; returns the stored choice."""
        import tempfile

        # Created before anything is measured, because the folder may be read-only.
        with tempfile.TemporaryDirectory(dir=path.parent) as own:
            part = Path(own) / path.name
            times = self._time(question.formula, question.dtype, question.size)
            part.write_text(json.dumps(_row(question, times), indent=1) + "\n", "utf-8")
            try:
                os.link(part, path)
            except OSError:  # it exists by now, or the system has no hard links
                if (kept := _read(path, question)) is not None:
                    return kept
                part.replace(path)
        return _read(path, question)


@functools.cache
def machine_text() -> str:
    """Describe what the times depend on, apart from the question."""
    name, vectors = processor()
    packages = ("netspec-dsl", "numpy", "numexpr")
    installed = [f"{p} {v}" for p, v in versions(*packages).items() if p in packages]
    return ", ".join([f"{name} {vectors}", platform.system(), platform.machine(), *installed])


def _row(question: Question, times: Mapping[Emitter, float]) -> dict[str, Any]:
    emitter = "numexpr" if times["numexpr"] < MARGIN * times["numpy"] else "numpy"
    return {
        "format": _FORMAT,
        "machine": machine_text(),
        "question": question.key,
        "seconds": dict(times),
        "emitter": emitter,
    }


def _read(path: Path, question: Question) -> Emitter | None:
    """Return a file's answer to a question; None if there is none, or if the file is damaged.

    Raises:
        OSError: if it cannot be read for another reason.
    """
    try:
        with open_regular(path) as file:
            row = json.loads(file.read(_LONGEST))
        asked = (row["format"], row["machine"], row["question"])
        if asked == (_FORMAT, machine_text(), question.key):
            return as_emitter(row["emitter"])
    except FileNotFoundError:
        pass
    except (ValueError, TypeError, LookupError, RecursionError):
        pass
    return None


def as_emitter(value: object) -> Emitter:
    """Check that a value of any origin is the name of an emitter.

    Raises:
        ValueError: if it is not.
    """
    if value == "numpy":
        return "numpy"
    if value == "numexpr":
        return "numexpr"
    raise ValueError(f"there is no emitter {str(value)[:20]!r}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
