"""`metrics.jsonl`: what happened in a run, a line of JSON for some steps or for an epoch.

    {"kind": "step", "step": 100, "epoch": 2, "loss": 0.31, "lr": 0.002, "seconds": 4.1}
    {"kind": "epoch", "epoch": 2, "step": 112, "loss": 0.33, "lr": 0.002, "train": 0.93, "val": 0.91,
     "test": 0.92, "seconds": 4.6, "images_per_second": 812.0}

The loss of a `step` line is the mean of the steps since the line before it, that of an `epoch` line
the mean of its epoch. `seconds` is the time that the run has taken, for steps and for accuracies;
`images_per_second` is about the steps of the epoch alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.weights.atomic_write import told_plainly, write_all

NAME = "metrics.jsonl"
# What is not the same in two equal runs.
TIMES = ("seconds", "images_per_second")


class MetricsWriter:
    """Adds lines to a file; what is after a given length is cut off first.

    Args:
        path: The file.
        length: The bytes of it that count: those that were there when the state was saved from
            which the run goes on.

    Raises:
        NetspecError: `output/unwritable`.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        self._path = path
        with told_plainly(path):
            # Not `a`: after a checkpoint that is older than the file, it must be shortened.
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=0)
            self.complete = self._file.seek(0, os.SEEK_END) >= length
            self._file.truncate(min(length, self._file.tell()))
            self._file.seek(0, os.SEEK_END)

    def write(self, line: Mapping[str, Any]) -> None:
        """Add a line.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`.
        """
        with told_plainly(self._path, "the run goes on from its last checkpoint"):
            write_all(self._file, json.dumps(line, allow_nan=False).encode() + b"\n")

    def sync(self) -> int:
        """Make durable what was written; the length of the file.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`.
        """
        with told_plainly(self._path, "the run goes on from its last checkpoint"):
            os.fsync(self._file.fileno())
            return self._file.tell()

    def close(self) -> None:
        """Nothing more will be written."""
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics; what a killed run left unfinished at the end is left out.

    Args:
        path: The file, or the folder of the run.

    Raises:
        NetspecError: `run/damaged`.
    """
    path = path / NAME if path.is_dir() else path
    try:
        lines = path.read_text("utf-8").split("\n")
        found = [json.loads(line) for line in lines[:-1]]
    except (OSError, ValueError, RecursionError) as error:
        raise NetspecError.simple(codes.RUN_DAMAGED, f"cannot read {path}: {error}") from None
    if not all(isinstance(line, dict) for line in found):
        raise NetspecError.simple(codes.RUN_DAMAGED, f"{path} holds other things than metrics")
    return found
