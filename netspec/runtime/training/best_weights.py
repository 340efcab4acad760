"""Which weights a run leaves behind, in the model and in files."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec.runtime.models.protocols import Backend
from netspec.runtime.training.history import History
from netspec.runtime.weights.atomic_write import told_plainly, write_durably
from netspec.runtime.weights.output_file import write_output
from netspec.runtime.weights.safetensors_file import weights_bytes

KEEP = ("last", "best")
State = dict[str, NDArray[Any]]


class Keeper:
    """Keeps the weights of the last step, or of the epoch with the best validation accuracy measured.

    A file is written whole or not at all: for `best` at each epoch that is better than all
    before it, so that an end without warning leaves the best so far; for `last` at the end.

    Args:
        keep: One of `KEEP`.
        out: The file that was asked for; None saves nothing.
        backend: Whose weights they are; only the process that writes saves.
        best_out: A file of the run for the weights of the best epoch, whatever `keep` says.

    Attributes:
        best: The best epoch's weights, where they are kept; None before its first epoch.
        best_epoch: That epoch, from 1; 0 before the first.
    """

    def __init__(
        self, keep: str, out: str | Path | None, backend: Backend, best_out: Path | None = None
    ) -> None:
        self.backend = backend
        self.best: State | None = None
        self.best_epoch = 0
        self._keeps_best = keep == "best"
        self._out, self._best_out = out, best_out
        self._accuracy = -1.0

    def after_epoch(self, epoch: int, history: History) -> None:
        """Take note of an epoch; those of its accuracies that were measured are in the history."""
        if not self._keeps_best:
            history.kept_epoch = epoch
        accuracy = history.accuracy("val", epoch)
        if accuracy is None or not (self._keeps_best or self._best_out):
            return
        if accuracy > self._accuracy:
            self._accuracy = accuracy
            self.best, self.best_epoch = self.backend.state_dict(), epoch
            self._save_best(history)
            if self._keeps_best:
                history.kept_epoch = epoch

    def restore(self, best: State | None, epoch: int, history: History) -> None:
        """Take up what was best when a run was saved; files that are newer than that go back.

        Raises:
            ValueError: the validation accuracy of that epoch was not measured.
        """
        accuracy = history.accuracy("val", epoch)
        if epoch and accuracy is None:
            raise ValueError(f"epoch {epoch} cannot be the best")
        self.best, self.best_epoch = best, epoch
        if best is not None and accuracy is not None:
            self._accuracy = accuracy
            self._save_best(history)

    def finish(self, history: History) -> None:
        """End the run, whether it got to its last step or not."""
        if self._keeps_best and self.best is not None:
            self.backend.load_state_dict(self.best)
            self._save_out(self.best, history)
        elif self._out is not None:
            self._save_out(self.backend.state_dict(), history)

    def save_elsewhere(self, history: History) -> Path | None:
        """Save what `out` was to hold where that can be done: in the working folder, or a temporary one.

        None where nothing was to be saved, where another process saves, and where no folder takes it.
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
