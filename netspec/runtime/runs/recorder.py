"""Writes a run to its folder while it is in progress, and restores a run from its folder."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError
from netspec.runtime.models.history import PARTS, History, sound_number
from netspec.runtime.models.protocols import Snapshot, check_snapshot, sound_snapshot
from netspec.runtime.runs import metrics
from netspec.runtime.runs.checkpoint import (
    LAST,
    NEXT,
    PREVIOUS,
    Checkpoint,
    checkpoint_bytes,
    save_checkpoint,
    settle,
)
from netspec.runtime.runs.folder import CHECKPOINTS, FACTS, RunFolder, make_run
from netspec.runtime.runs.folder_lock import FolderLock
from netspec.runtime.runs.options import LOG_EVERY
from netspec.runtime.runs.recipe_place import RECIPE
from netspec.runtime.runs.tracking.tensorboard import Events
from netspec.runtime.runs.tracking.tracker import End, Tracker
from netspec.runtime.runs.tracking.trackers import track
from netspec.runtime.training.loop import TrainingRecorder, TrainingRun
from netspec.runtime.weights.data_facts import complete

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Keeping:
    """What is kept of a run, and how often.

    Attributes:
        path: The run's folder.
        files: Other files in it, by path below it: for a new run.
        checkpoint: The state to resume from; None for a new run.
        checkpoint_every: The number of steps between two checkpoints within an epoch; None for
            none.
        log_every: The number of steps in a line of the metrics.
        tensorboard: Whether event files are written too.
        writes: True if this process, of several, is the one that writes.
        choices: The options the run is trained with, by name.
        track: The other trackers that are told, see `CLIENTS`.
        lock: The lock of a resumed run's folder; a new run is locked when its folder is made.
        graph: The net, for event files.
        is_changed: Whether the choices differ from those of the run so far.
    """

    path: Path
    files: Mapping[str, bytes]
    checkpoint: Checkpoint | None = None
    checkpoint_every: int | None = None
    log_every: int = LOG_EVERY
    tensorboard: bool = False
    writes: bool = True
    choices: Mapping[str, Any] = field(default_factory=dict)
    track: Sequence[str] = ()
    lock: FolderLock | None = None
    graph: Graph | None = None
    is_changed: bool = False


class RunRecorder(TrainingRecorder):
    """See `TrainingRecorder`.

    The folder of a new run is created together with its first checkpoint, before the first step: as
    soon as it exists, the run can be resumed.
    """

    keeps_states = True

    def __init__(self, keeping: Keeping) -> None:
        self.folder = RunFolder(keeping.path)
        self.checkpoint_every = keeping.checkpoint_every
        self.best_out = self.folder.best
        self._keeping = keeping
        self._metrics: metrics.MetricsWriter | None = None
        self._trackers: list[Tracker] = []
        self._events: Events | None = None
        self._logged = 0
        self._lock = keeping.lock
        # Whether the folder exists, and a function that is called when it does.
        self.began = False
        self.on_begin: Callable[[], None] = lambda: None

    def begin(self, run: TrainingRun) -> None:
        """See `TrainingRecorder`."""
        keeping = self._keeping
        if keeping.checkpoint is not None:
            if keeping.writes:
                self.folder.check_own()  # again, because loading data may have taken long
            length = _take_up(run, keeping.checkpoint)
        else:
            length = 0
            state = self._state(run, 0)
            if keeping.writes:
                first = {f"{CHECKPOINTS}/{LAST}": checkpoint_bytes(state)}
                self._lock = make_run(keeping.path, {**keeping.files, **first})
        self.began = True
        if not keeping.writes:
            return
        self.folder.tidy()
        if keeping.checkpoint is not None:
            settle(self.folder.checkpoints)
            self.folder.write_files(self._files_of_resumed(run))
        self.on_begin()
        if keeping.checkpoint is not None:
            self._say_what_is_left(run)
        else:
            _LOG.info("the run is saved in %s", keeping.path)
        self._metrics = metrics.MetricsWriter(keeping.path / metrics.NAME, length)
        if not self._metrics.complete:
            lost = "%s is shorter than it was: lines are missing"
            _LOG.warning(lost, keeping.path / metrics.NAME)
        self._logged = run.steps // keeping.log_every * keeping.log_every
        self._begin_tracking(run)

    def _begin_tracking(self, run: TrainingRun) -> None:
        keeping = self._keeping
        choices = keeping.choices
        if run.is_over:  # no step is taken with others
            own = self.folder.facts().options
            choices = {name: own.get(name) for name in choices}
        if keeping.tensorboard:
            self._events = Events(keeping.path, run.steps)
            self._events.begin(keeping.path.name, run.steps, choices, keeping.graph)
            self._trackers.append(self._events)
        for name in keeping.track:
            self._trackers.append(track(name, keeping.path, choices))

    def _files_of_resumed(self, run: TrainingRun) -> dict[str, bytes]:
        """Return the files to write: options that no step is taken with are not written down."""
        kept = (FACTS, RECIPE) if run.is_over else ()
        return {name: text for name, text in self._keeping.files.items() if name not in kept}

    def _say_what_is_left(self, run: TrainingRun) -> None:
        path = self._keeping.path
        if not run.is_over:
            _LOG.info("%s continues from step %s", path, f"{run.steps:,}")
            if self._keeping.is_changed and self.folder.weights.is_file():
                _LOG.info("the weights at its end take the place of %s", self.folder.weights)
            return
        stay = "; the options stay as they were" if self._keeping.is_changed else ""
        more = "" if run.is_settled else " (more --epochs go on)"
        _LOG.info("%s: nothing is left to train%s%s", path, stay, more)

    def after_steps(self, run: TrainingRun) -> None:
        """See `TrainingRecorder`."""
        if self._metrics is None:
            return
        every = self._keeping.log_every
        for step in range(self._logged + every, run.steps + 1, every):
            line = {
                "kind": "step",
                "step": step,
                "epoch": (step - 1) // len(run.parts) + 1,
                "loss": float(np.mean(run.history.loss_history[step - every : step])),
                "lr": run.history.learning_rates[step - 1],
                "seconds": _seconds(run),
            }
            self._write(line)
            self._logged = step

    def after_epoch(self, run: TrainingRun, line: str) -> None:
        """See `TrainingRecorder`."""
        if self._metrics is None:
            return
        history = run.history
        entry: dict[str, Any] = {
            "kind": "epoch",
            "epoch": run.epoch,
            "step": run.steps,
            "loss": float(np.mean(history.loss_history[-len(run.parts) :])),
            "lr": history.learning_rates[-1],
            **_measures(history, PARTS, run.epoch),
            "seconds": history.seconds,
            "images_per_second": history.images_per_second[-1],
        }
        self._write(entry)
        self._write_classes(run, PARTS, run.epoch)
        if self._events is not None:
            self._events.write_weights(run.steps, run.backend.state_dict())
        self.folder.log(line)

    def after_result(self, run: TrainingRun, name: str, line: str) -> None:
        """See `TrainingRecorder`."""
        if self._metrics is None:
            return
        history = run.history
        entry = {
            "kind": "result",
            "epoch": history.kept_epoch,
            "step": history.kept_epoch * len(run.parts),
            **_measures(history, [name], history.kept_epoch),
            "seconds": history.seconds,
        }
        self._write(entry)
        self._write_classes(run, [name], history.kept_epoch)
        self._metrics.sync()
        self.folder.log(line)

    def _write_classes(self, run: TrainingRun, parts: Sequence[str], epoch: int) -> None:
        """Write a line on the classes for each of some parts that has counts of them."""
        data = run.job.data
        for part in parts:
            counts = run.history.class_counts.get(part, {}).get(epoch)
            if counts is not None:
                names = complete(data.class_names, len(counts.wanted))
                self._write({
                    "kind": "classes", "epoch": epoch, "step": epoch * len(run.parts), "part": part,
                    "classes": counts.to_list(names),
                })  # fmt: skip

    def _write(self, line: Mapping[str, Any]) -> None:
        assert self._metrics is not None
        self._metrics.write(line)
        for tracker in self._trackers:
            tracker.write(line)

    def checkpoint(self, run: TrainingRun) -> None:
        """See `TrainingRecorder`."""
        length = self._metrics.sync() if self._metrics is not None else 0
        state = self._state(run, length)
        if self._keeping.writes:
            save_checkpoint(self.folder.checkpoints, state)
        for tracker in self._trackers:
            tracker.flush()

    def finish(self, run: TrainingRun) -> None:
        """See `TrainingRecorder`."""
        if self._metrics is not None:
            self._metrics.close()
        self._end_tracking("stopped" if run.history.stopped else "finished")

    def can_go_on(self) -> bool:
        """See `TrainingRecorder`."""
        states = (self.folder.checkpoints / name for name in (NEXT, LAST, PREVIOUS))
        return self.began and any(state.is_file() for state in states)

    def _end_tracking(self, end: End) -> None:
        while self._trackers:
            self._trackers.pop().close(end)

    def release(self) -> None:
        """Release the lock, so that other processes can use the folder, however the run ended."""
        self._end_tracking("failed")
        if self._lock is not None:
            self._lock.release()

    def _state(self, run: TrainingRun, metrics_length: int) -> Checkpoint:
        """Return the complete state of a run. All processes must call this at the same time."""
        snapshot = run.backend.snapshot()
        arrays, facts = run.history.state()
        tensors = {**snapshot.tensors, **{f"history.{name}": a for name, a in arrays.items()}}
        keeper = run.keeper
        # After the best epoch, the best weights are equal to the model's.
        is_current = keeper.best_epoch == run.epoch - 1 and run.done == 0
        if keeper.best is not None and not is_current:
            tensors |= {f"best.{name}": array for name, array in keeper.best.items()}
        state = {
            "step": run.steps,
            "epoch": run.epoch,
            "done": run.done,
            "seconds": run.seconds,
            "metrics": metrics_length,
            "history": facts,
            "backend": dict(snapshot.facts),
            "best_epoch": keeper.best_epoch,
            "normalization": run.history.normalization.to_json(),
        }
        return Checkpoint(tensors, state)


def _take_up(run: TrainingRun, checkpoint: Checkpoint) -> int:
    """Restore a run from a checkpoint; returns how many bytes of metrics it had.

    Raises:
        NetspecError: `run/checkpoint` for a state that does not belong to this run.
    """
    state = checkpoint.state
    parts: dict[str, dict[str, Any]] = {"history": {}, "best": {}, "backend": {}}
    for full, array in checkpoint.tensors.items():
        group, _, name = full.partition(".")
        if group in ("history", "best"):
            parts[group][name] = array
        else:
            parts["backend"][full] = array
    with sound_snapshot():
        run.backend.restore(Snapshot(parts["backend"], state["backend"]))
        run.history.load_state(parts["history"], state["history"])
        run.epoch, run.done = int(state["epoch"]), int(state["done"])
        run.seconds = sound_number(state["seconds"])
        best_epoch = int(state["best_epoch"])
        at = (run.epoch - 1) * len(run.parts) + run.done
        if not 0 <= run.done <= len(run.parts) or at != run.steps:
            raise ValueError(f"step {run.steps} is not the current one, {at}")
        best = parts["best"] or None
        if best is not None:
            shapes = {f"best.{n}": t.shape for n, t in run.backend.state_dict().items()}
            check_snapshot(Snapshot({f"best.{n}": t for n, t in best.items()}, {}), shapes)
        elif best_epoch:
            best = run.backend.state_dict()
        length = int(state["metrics"])
        if length < 0:
            raise ValueError(f"metrics of {length} bytes")
        run.keeper.restore(best, best_epoch, run.history)
    return length


def log_error(folder: RunFolder, error: NetspecError) -> None:
    """Write the error that ended a run to `log.txt`, if the run exists and can be written to."""
    if not (folder.path / FACTS).is_file():
        return
    with contextlib.suppress(NetspecError):
        folder.log("\n".join(f"error[{d.code}]: {d.message}" for d in error.diagnostics))


def _measures(history: History, parts: Sequence[str], epoch: int) -> dict[str, float]:
    """Return the accuracies of an epoch, and what else was measured, by their keys in the metrics."""
    beside = [metrics.key_of(name, each) for name in parts for each in metrics.BESIDE]
    found = {key: history.measure(key, epoch) for key in (*parts, *beside)}
    return {key: value for key, value in found.items() if value is not None}


def _seconds(run: TrainingRun) -> float:
    return run.history.seconds + run.seconds
