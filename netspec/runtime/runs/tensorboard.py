"""Event files for TensorBoard, where that is installed (`pip install 'netspec-dsl[tensorboard]'`)."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_new
from netspec.runtime.weights.atomic_write import told_plainly

# What a line of metrics becomes: its key, and the curve that it belongs to.
_STEP = {"loss": "loss/steps", "lr": "learning rate"}
_EPOCH = {
    "loss": "loss/epochs", "train": "accuracy/train", "val": "accuracy/val",
    "test": "accuracy/test", "images_per_second": "images per second",
}  # fmt: skip
_CURVES = {"step": _STEP, "epoch": _EPOCH, "result": _EPOCH}


def require_tensorboard() -> None:
    """Check that it is there.

    Raises:
        NetspecError: `run/no-tensorboard`.
    """
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ImportError:
        raise NetspecError.simple(
            codes.RUN_NO_TENSORBOARD,
            "TensorBoard is not installed",
            "pip install 'netspec-dsl[tensorboard]'",
        ) from None


class Events:
    """Writes the lines of the metrics to an event file.

    Args:
        folder: Of the run.
        step: The step that the run goes on from: what files before say of later ones is void.
        choices: What the run was trained with, for TensorBoard's table of hyperparameters.
    """

    def __init__(self, folder: Path, step: int, choices: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._proto = event_pb2
        self._path, file = _new_file(folder)
        self._writer = RecordWriter(io.BufferedWriter(file))
        self._add(0, file_version="brain.Event:2")  # what each such file begins with
        if step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            # TensorBoard drops what it has of this step, and of all after it.
            self._add(step + 1, session_log=start)
        plain = {name: _plain(value) for name, value in choices.items() if value is not None}
        self._add(step, summary=hparams_pb(plain, trial_id=folder.name))
        self.flush()

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of a line of metrics."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        curves = _CURVES[line["kind"]]
        values = [
            Summary.Value(tag=curves[key], simple_value=line[key]) for key in curves if key in line
        ]
        self._add(line["step"], summary=Summary(value=values))

    def _add(self, step: int, **content: Any) -> None:
        event = self._proto.Event(wall_time=time.time(), step=step, **content)
        with self._told():
            self._writer.write(event.SerializeToString())

    def flush(self) -> None:
        """Hand over to the system what was written.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`; so do `write` and `close`.
        """
        with self._told():
            self._writer.flush()

    def close(self) -> None:
        """Nothing more will be written."""
        with self._told():
            self._writer.close()

    def _told(self) -> AbstractContextManager[None]:
        return told_plainly(self._path, "the run goes on from its last checkpoint")


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    """A file with a name of its own, by which TensorBoard knows what it is, and its order in time.

    Whatever lies in the folder of a run, nothing is written over, and nothing through a link.
    """
    stem = f"events.out.tfevents.{int(time.time()):010}.netspec.{os.getpid()}"
    for number in itertools.count():
        path = folder / f"{stem}.{number}"
        with told_plainly(path), contextlib.suppress(FileExistsError):
            return path, open_new(path)
    raise AssertionError("numbers do not end")


def _plain(value: Any) -> Any:
    """A value that the table of hyperparameters can hold: a number, a bool or a text."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
