"""`metrics.jsonl`: the record of a run, a line of JSON for some steps, an epoch, or the result.

    {"kind": "step", "step": 100, "epoch": 2, "loss": 0.31, "lr": 0.002, "seconds": 4.1}
    {"kind": "epoch", "epoch": 2, "step": 112, "loss": 0.33, "lr": 0.002, "train": 0.93, "val": 0.91,
     "seconds": 4.6, "images_per_second": 812.0}
    {"kind": "result", "epoch": 2, "step": 112, "test": 0.92, "seconds": 4.9}

The loss in a `step` line is the mean of the steps since the line before it, the loss in an `epoch`
line the mean of its epoch. An epoch has those of `train`, `val` and `test` that were measured after
it, and beside each of them what else was: `val_loss`, `val_top5` (of more than five classes),
`val_macro_f1` (of classes) and `val_perplexity` (of sequences). A `result` line ends a run: it has the
test accuracy of the final weights, which are those after `epoch` and `step` (`train` if there are no
test images). There is none if the line of that epoch already has it. If it was asked for, a `classes`
line follows for each part, with the names that `netspec eval --format json` has:

    {"kind": "classes", "epoch": 2, "step": 112, "part": "val", "classes": [{"name": "cat",
     "precision": 0.9, "recall": 0.8, "f1": 0.85, "support": 100}]}

`seconds` is the time that the run has taken, for steps and for accuracies;
`images_per_second` refers only to the steps of the epoch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_own, open_regular
from netspec.runtime.optim.class_counts import OF_A_CLASS
from netspec.runtime.weights.atomic_write import told_plainly, write_all

NAME = "metrics.jsonl"
# The keys that differ between two equal runs.
TIMES = ("seconds", "images_per_second")
_STEP = {"step": int, "epoch": int, "loss": float, "lr": float, "seconds": float}
_PARTS = ("train", "val", "test")


# What is measured beside the accuracy.
BESIDE = ("loss", "perplexity", "top5", "macro_f1")


def key_of(part: str, measure: str) -> str:
    """Return the key of one of `BESIDE` on `train`, `val` or `test`."""
    return f"{part}_{measure}"


_OPTIONAL = {
    key: float for part in _PARTS for key in (part, *(key_of(part, each) for each in BESIDE))
}
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "step": _STEP,
    "epoch": {**_STEP, **_OPTIONAL, "images_per_second": float},
    "result": {"step": int, "epoch": int, "seconds": float, **_OPTIONAL},
    "classes": {"step": int, "epoch": int},
}
_LARGEST = 1 << 53
# The limit on the length of a line; parsed JSON takes many times as much memory as its text.
_LONGEST = 2000
# The same of a line on classes, and how it begins.
_LONGEST_OF_CLASSES = 1 << 21
_OF_CLASSES = b'{"kind": "classes", '


class MetricsWriter:
    """Appends lines to a file, after cutting it to a given length.

    Args:
        path: The file.
        length: The number of valid bytes: the length of the file when the checkpoint was saved that
            the run is resumed from.

    Raises:
        NetspecError: `output/unwritable`.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self._path = path
        with told_plainly(path):
            # Not mode `a`, because the file must be shortened if the checkpoint is older.
            self._file = open_own(path)
            self.complete = self._file.seek(0, os.SEEK_END) >= length
            self._file.truncate(min(length, self._file.tell()))
            self._file.seek(0, os.SEEK_END)

    def write(self, line: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`.
        """
        with told_plainly(self._path, "the run continues from its last checkpoint"):
            write_all(self._file, json.dumps(line, allow_nan=False).encode() + b"\n")

    def sync(self) -> int:
        """Make written lines durable; returns the length of the file.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`.
        """
        with told_plainly(self._path, "the run continues from its last checkpoint"):
            os.fsync(self._file.fileno())
            return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path, kinds: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return the lines of a run's metrics, without an incomplete last line left by a killed run.

    Args:
        path: The file, or the folder of the run.
        kinds: Which lines to return, by their `kind`; all are checked. A run that wrote each of its
            steps has a million lines of them.

    Raises:
        NetspecError: `run/damaged`.
    """
    lines = _lines(path / NAME if path.is_dir() else path)
    return [line for line in lines if kinds is None or line["kind"] in kinds]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file, each of them checked.

    Raises:
        NetspecError: `run/damaged`.
    """
    number = 0
    try:
        with open_regular(path) as file:
            while line := file.readline(_LONGEST_OF_CLASSES + 2):
                number += 1
                longest = _LONGEST_OF_CLASSES if line.startswith(_OF_CLASSES) else _LONGEST
                if len(line.rstrip(b"\n")) > longest:
                    raise ValueError(f"it is longer than {longest:,} characters")
                if not line.endswith(b"\n"):
                    break
                found = json.loads(line.decode("utf-8"))
                _check(found)
                yield found
    except OSError as error:
        message = f"cannot read {path}: {error.strerror or error}"
        raise NetspecError.simple(codes.RUN_DAMAGED, message) from None
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0][:200]
        message = f"{path} is damaged: line {number}: {reason}"
        raise NetspecError.simple(codes.RUN_DAMAGED, message) from None


def _check(line: object) -> None:
    """Check that a line is as `MetricsWriter` writes it.

    Raises:
        ValueError: if it is not.
    """
    if not isinstance(line, dict):
        raise ValueError("it is not an object")
    kind = line.get("kind")
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ValueError("its `kind` is not step, epoch, result or classes")
    for name, wanted in _FIELDS[kind].items():
        if (name in line or name not in _OPTIONAL) and not _fits(line.get(name), wanted):
            raise ValueError(f"its `{name}` is not a {'count' if wanted is int else 'number'}")
    if kind == "classes":
        _check_classes(line)


def _check_classes(line: Mapping[str, Any]) -> None:
    """Check what a line on classes has of each.

    Raises:
        ValueError: if it is not as `MetricsWriter` writes it.
    """
    classes = line.get("classes")
    if line.get("part") not in _PARTS or not isinstance(classes, list):
        raise ValueError("it has no `part` or no `classes`")
    for each in classes:
        sound = (
            isinstance(each, dict)
            and isinstance(each.get("name"), str)
            and _fits(each.get("support"), int)
            and all(each.get(of) is None or _fits(each[of], float) for of in OF_A_CLASS)
        )
        if not sound:
            raise ValueError("one of its `classes` lacks a name, a support or a number")


def _fits(value: object, wanted: type) -> bool:
    """Return True if a value is an integer, or a number that is finite as a float."""
    if type(value) is int:
        return 0 <= value <= _LARGEST
    return wanted is float and type(value) is float and math.isfinite(value)
