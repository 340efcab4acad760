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

from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_new
from netspec.runtime.runs.tracking.tensorboard_parts import graph_def, histograms, picture
from netspec.runtime.runs.tracking.tracker import End, curves, plain
from netspec.runtime.weights.atomic_write import told_plainly


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
    """Writes what TensorBoard shows to an event file: the metrics, and beside them what is given.

    Args:
        folder: The folder of the run.
        step: The step that the run is resumed from; values of later steps in older files become
            void.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._proto = event_pb2
        self._path, file = _new_file(folder)
        self._writer = RecordWriter(io.BufferedWriter(file))
        self._add(0, file_version="brain.Event:2")  # the first record of every event file
        if step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            # Makes TensorBoard drop its values of this step and later ones.
            self._add(step + 1, session_log=start)
        self.flush()

    def begin(self, name: str, step: int, choices: Mapping[str, Any], graph: Graph | None) -> None:
        """Add what the run is.

        Args:
            name: Its name.
            step: The step that it begins or goes on with.
            choices: Its options, for the table of hyperparameters.
            graph: Its net.
        """
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        known = {option: plain(value) for option, value in choices.items() if value is not None}
        self._add(step, summary=hparams_pb(known, trial_id=plain(name)))
        if graph is not None:
            self._add(step, graph_def=graph_def(graph))
        self.flush()

    def write_weights(self, step: int, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Add a histogram of each tensor."""
        self._add(step, summary=histograms(tensors))

    def write_mistakes(self, step: int, png: bytes, size: tuple[int, int], text: str) -> None:
        """Add a picture of mistakes, of a height and a width, and what they are."""
        self._add(step, summary=picture("mistakes", png, *size, text))

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of a line of metrics."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value) for name, value in curves(line).items()
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

    def close(self, end: End) -> None:
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
