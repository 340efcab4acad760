"""Event files for TensorBoard, where that is installed (`pip install 'netspec-dsl[tensorboard]'`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError

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
        import tensorboard.summary.writer.event_file_writer  # noqa: F401
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
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._proto = event_pb2
        self._writer = EventFileWriter(str(folder))
        if step:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            # TensorBoard drops what it has of this step, and of all after it.
            self._add(step + 1, session_log=start)
        plain = {name: _plain(value) for name, value in choices.items() if value is not None}
        self._add(step, summary=hparams_pb(plain, trial_id=folder.name))

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of a line of metrics."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        curves = _CURVES[line["kind"]]
        values = [
            Summary.Value(tag=curves[key], simple_value=line[key]) for key in curves if key in line
        ]
        self._add(line["step"], summary=Summary(value=values))

    def _add(self, step: int, **content: Any) -> None:
        self._writer.add_event(self._proto.Event(wall_time=time.time(), step=step, **content))

    def flush(self) -> None:
        """Hand over to the system what was written."""
        self._writer.flush()

    def close(self) -> None:
        """Nothing more will be written."""
        self._writer.close()


def _plain(value: Any) -> Any:
    """A value that the table of hyperparameters can hold: a number, a bool or a text."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
