"""Trackers get the lines of `metrics.jsonl` as they are written, under names that all of them share."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from netspec.files.regular_file import kind_of, read_regular
from netspec.runtime.runs.metrics import key_of
from netspec.runtime.weights.atomic_write import told_plainly, write_durably
from netspec.text.printable import as_utf8

_LOG = logging.getLogger(__name__)

# How a run ended: all of it, stopped by a signal, or by an error.
End = Literal["finished", "stopped", "failed"]

# The curves for a line of metrics: keys, and names of curves.
_STEP = {"loss": "loss/steps", "lr": "learning rate"}
_BESIDE = {"loss": "loss", "perplexity": "perplexity", "top5": "top-5", "macro_f1": "macro F1"}
_EPOCH = {
    "loss": "loss/epochs", "train": "accuracy/train", "val": "accuracy/val",
    "test": "accuracy/test", "images_per_second": "images per second",
    **{
        key_of(part, each): f"{name}/{part}"
        for part in ("train", "val", "test")
        for each, name in _BESIDE.items()
    },
}  # fmt: skip
_CURVES = {"step": _STEP, "epoch": _EPOCH, "result": _EPOCH}

# The name of a class in that of a curve: MLflow takes no other characters.
_UNSAFE = re.compile(r"[^\w .-]")
_LONGEST = 100

# The names of a run in the stores of others, in its folder.
TRACKED = "tracked.json"
_LARGEST = 1 << 16


class Tracker(Protocol):
    """Gets what a run writes to its metrics."""

    def write(self, line: Mapping[str, Any]) -> None:
        """Add the numbers of a line of metrics."""
        ...

    def flush(self) -> None:
        """Pass on what was written; called with each checkpoint."""
        ...

    def close(self, end: End) -> None:
        """End, however the run ended."""
        ...


def curves(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of a line of metrics by the names of their curves."""
    if line["kind"] == "classes":
        return {
            f"F1/{line['part']}/{_UNSAFE.sub('_', each['name'])[:_LONGEST]}": each["f1"]
            for each in line["classes"]
            if each["f1"] is not None
        }
    names = _CURVES[line["kind"]]
    return {names[key]: line[key] for key in names if key in line}


def plain(value: Any) -> Any:
    """Convert a value of an option for a table of choices: a number, a bool or a text in UTF-8."""
    if isinstance(value, Mapping):
        value = ",".join(f"{name}={item}" for name, item in value.items())
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    return as_utf8(value) if isinstance(value, str) else value


class Lenient:
    """A tracker whose errors end the tracking, with a warning, and never the run.

    Args:
        name: what it is, for the warning.
        tracker: the tracker.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        self._name = name
        self._tracker: Tracker | None = tracker

    def write(self, line: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._try(lambda tracker: tracker.write(line))

    def flush(self) -> None:
        """See `Tracker`."""
        self._try(lambda tracker: tracker.flush())

    def close(self, end: End) -> None:
        """See `Tracker`."""
        self._try(lambda tracker: tracker.close(end))

    def _try(self, act: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            act(self._tracker)
        except Exception as error:  # whatever a client raises, such as for a lost connection
            self._tracker = None
            what = (str(error).splitlines() or [type(error).__name__])[0]
            _LOG.warning("%s is not told any more: %s", self._name, what[:300])


def known_as(folder: Path, tracker: str) -> str | None:
    """Return the name that a run has in a tracker's store, if it has one."""
    found = _names(folder).get(tracker)
    return found if isinstance(found, str) and found.isalnum() and len(found) <= 64 else None


def remember(folder: Path, tracker: str, name: str) -> None:
    """Keep the name that a run has in a tracker's store, so that it goes on there.

    Raises:
        NetspecError: `output/disk-full`, `output/unwritable`.
    """
    path = folder / TRACKED
    with told_plainly(path):
        write_durably(path, json.dumps({**_names(folder), tracker: name}).encode() + b"\n")


def _names(folder: Path) -> dict[str, Any]:
    """Return what is kept; nothing if the file is not as `remember` writes it."""
    path = folder / TRACKED
    try:
        found = json.loads(read_regular(path, _LARGEST)) if kind_of(path) == "file" else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
