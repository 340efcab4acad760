"""Event files for TensorBoard, if it is installed (`pip install 'netspec-dsl[tensorboard]'`)."""

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

# The curves for a line of metrics: keys, and names of curves.
_STEP = {"loss": "loss/steps", "lr": "learning rate"}
_EPOCH = {
    "loss": "loss/epochs", "train": "accuracy/train", "val": "accuracy/val",
    "test": "accuracy/test", "images_per_second": "images per second",
    **{f"{part}_perplexity": f"perplexity/{part}" for part in ("train", "val", "test")},
}  # fmt: skip
_CURVES = {"step": _STEP, "epoch": _EPOCH, "result": _EPOCH}


def require_tensorboard() -> None:
    """Check that TensorBoard is installed.

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
        folder: The folder of the run.
        step: The step that the run is resumed from; values of later steps in older files become
            void.
        choices: The options of the run, for TensorBoard's table of hyperparameters.
    """

    def __init__(self, folder: Path, step: int, choices: Mapping[str, Any]) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._proto = event_pb2
        self._path, file = _new_file(folder)
        self._writer = RecordWriter(io.BufferedWriter(file))
        self._add(0, file_version="brain.Event:2")  # the first record of every event file
        if step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            # Makes TensorBoard drop its values of this step and later ones.
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
        """Pass written data to the operating system.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`; so do `write` and `close`.
        """
        with self._told():
            self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        with self._told():
            self._writer.close()

    def _told(self) -> AbstractContextManager[None]:
        return told_plainly(self._path, "the run goes on from its last checkpoint")


def _new_file(folder: Path) -> tuple[Path, BinaryIO]:
    """Create a file with a unique name, from which TensorBoard knows its type and order in time.

    Whatever is in the folder of a run, no file is overwritten, and nothing is written through a
    link.
    """
    stem = f"events.out.tfevents.{int(time.time()):010}.netspec.{os.getpid()}"
    for number in itertools.count():
        path = folder / f"{stem}.{number}"
        with told_plainly(path), contextlib.suppress(FileExistsError):
            return path, open_new(path)
    raise AssertionError("numbers do not end")


def _plain(value: Any) -> Any:
    """Convert a value for the table of hyperparameters: a number, a bool or a text."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
