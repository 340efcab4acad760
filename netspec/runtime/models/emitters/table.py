"""Which emitter is the faster one for a formula, measured once a machine and kept."""

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

_FORMAT = 1  # of the files, and of how they were measured
# No row is longer than this, whatever a file claims to be.
_LONGEST = 1 << 20

# numexpr wins where it takes less than this share of NumPy's time. A tie is NumPy's, which may write
# over its operands and so needs less memory.
MARGIN = 0.9


@dataclass(frozen=True)
class Question:
    """What the times depend on, but for the machine.

    Attributes:
        formula: with names by their order.
        dtype: of all arrays.
        size: numbers in each of them, a power of two.
        threads: that the kernels use.
    """

    formula: Expression
    dtype: str
    size: int
    threads: int

    @cached_property
    def key(self) -> str:
        """It as text."""
        return f"{self.formula}, {self.dtype}, {self.size} numbers, {self.threads} threads"


Time = Callable[[Expression, str, int], Mapping[Emitter, float]]


class EmitterTable:
    """The rows of a machine: a file each, in a folder.

    Whichever process keeps a row first has chosen for all others, so that equal seeds give equal
    bits. For the same reason a row that cannot be kept is NumPy's. Threads may share it.

    Args:
        folder: gives where the files are; it need not be there.
        time: gives the seconds of each emitter.
    """

    def __init__(self, folder: Callable[[], Path], time: Time) -> None:
        self._folder, self._time = folder, time
        self._known: dict[str, Emitter] = {}
        self._lock = ForkLock()

    def emitter(self, question: Question) -> Emitter:
        """The one to take."""
        known = self._known.get(question.key)
        if known is None:
            with self._lock.current:  # two who measure at a time would measure each other
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
        """Measure a row and keep it, unless another process was there first; what is kept then."""
        import tempfile

        # Made before anything is measured: the folder may be read-only.
        with tempfile.TemporaryDirectory(dir=path.parent) as own:
            part = Path(own) / path.name
            times = self._time(question.formula, question.dtype, question.size)
            part.write_text(json.dumps(_row(question, times), indent=1) + "\n", "utf-8")
            try:
                os.link(part, path)
            except OSError:  # it is there by now, or the system has no links
                if (kept := _read(path, question)) is not None:
                    return kept
                part.replace(path)
        return _read(path, question)


@functools.cache
def machine_text() -> str:
    """What the times depend on, but for the question."""
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
    """What a file says to a question; None where there is none, or it is damaged.

    Raises:
        OSError: it cannot be read for another reason.
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
    """A value from anywhere as the name of an emitter.

    Raises:
        ValueError: it is none.
    """
    if value == "numpy":
        return "numpy"
    if value == "numexpr":
        return "numexpr"
    raise ValueError(f"there is no emitter {str(value)[:20]!r}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
