"""Determines which weights a run leaves in the model and in files."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec.runtime.models.history import History
from netspec.runtime.models.protocols import Backend
from netspec.runtime.weights.atomic_write import told_plainly, write_durably
from netspec.runtime.weights.output_file import write_output
from netspec.runtime.weights.safetensors_file import weights_bytes

KEEP = ("last", "best")
State = dict[str, NDArray[Any]]


class Keeper:
    """Keeps the weights of the last step, or of the best epoch: by what the history monitors, and of
    equal epochs the one with the smaller loss on validation images.

    A file is written completely or not at all: for `best` after each epoch that is better than all
    before it, so that a sudden end leaves the best weights so far; for `last` at the end.

    Args:
        keep: One of `KEEP`.
        out: The file to write; None saves nothing.
        backend: The backend that has the weights; only the process that writes saves them.
        best_out: The run's file for the weights of the best epoch, whatever `keep` is.

    Attributes:
        best: The best epoch's weights, if they are kept; None before its first epoch.
        best_epoch: The number of that epoch, from 1; 0 before the first.
    """

    def __init__(
        self, keep: str, out: str | Path | None, backend: Backend, best_out: Path | None = None
    ) -> None:
        self.backend = backend
        self.best: State | None = None
        self.best_epoch = 0
        self._keeps_best = keep == "best"
        self._out, self._best_out = out, best_out
        self._rank = (-math.inf, -math.inf)

    def after_epoch(self, epoch: int, history: History) -> None:
        """Process the end of an epoch; what was measured after it is in the history."""
        if not self._keeps_best:
            history.kept_epoch = epoch
        rank = history.rank(epoch)
        if rank is None or not (self._keeps_best or self._best_out):
            return
        if rank > self._rank:
            self._rank = rank
            self.best, self.best_epoch = self.backend.state_dict(), epoch
            self._save_best(history)
            if self._keeps_best:
                history.kept_epoch = epoch

    def restore(self, best: State | None, epoch: int, history: History) -> None:
        """Restore the best weights from a checkpoint; files that are newer than it are overwritten.

        Raises:
            ValueError: if nothing was measured after that epoch that could tell.
        """
        rank = history.rank(epoch)
        if epoch and rank is None:
            raise ValueError(f"epoch {epoch} cannot be the best")
        self.best, self.best_epoch = best, epoch
        if best is not None and rank is not None:
            self._rank = rank
            self._save_best(history)

    def finish(self, history: History) -> None:
        """End the run, whether or not it completed its last step."""
        if self._keeps_best and self.best is not None:
            self.backend.load_state_dict(self.best)
            self._save_out(self.best, history)
            return
        state = self.backend.state_dict()
        self.backend.load_state_dict(state)  # an average takes the place of the last weights
        if self._out is not None:
            self._save_out(state, history)

    def save_elsewhere(self, history: History) -> Path | None:
        """Save the contents for `out` elsewhere: in the working folder, or else in a temporary one.

        Returns None if nothing was to be saved, if another process saves, or if no folder is
        writable.
        """
        if self._out is None or not self.backend.writes:
            return None
        state = self.best if self._keeps_best else None
        state = self.backend.state_dict() if state is None else state
        content = weights_bytes(state, history.normalization, history.about_data)
        for folder in (os.getcwd, tempfile.gettempdir):
            with contextlib.suppress(OSError):
                path = Path(folder()) / f"netspec-weights-{secrets.token_hex(4)}.safetensors"
                write_durably(path, content)
                return path.resolve()
        return None

    def _save_best(self, history: History) -> None:
        assert self.best is not None
        self._save(self._best_out, self.best, history, write_durably)
        if self._keeps_best:
            self._save_out(self.best, history)

    def _save_out(self, state: State, history: History) -> None:
        self._save(None if self._out is None else Path(self._out), state, history, write_output)

    def _save(
        self,
        path: Path | None,
        state: State,
        history: History,
        write: Callable[[Path, bytes], None],
    ) -> None:
        if path is not None and self.backend.writes:
            content = weights_bytes(state, history.normalization, history.about_data)
            with told_plainly(path):
                write(path, content)
