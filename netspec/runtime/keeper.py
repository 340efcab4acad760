"""Which weights a run leaves behind, in the model and in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec.runtime.history import History
from netspec.runtime.job import Backend
from netspec.runtime.weights import save_weights

KEEP = ("last", "best")


class Keeper:
    """Keeps the weights of the last step, or of the epoch with the best validation accuracy.

    The file is written whole or not at all: for `best` at each epoch that is better than all
    before it, so that an end without warning leaves the best so far; for `last` at the end.

    Args:
        keep: One of `KEEP`.
        out: The file; None saves nothing.
        backend: Whose weights they are; only the process that writes saves.
    """

    def __init__(self, keep: str, out: str | Path | None, backend: Backend) -> None:
        self.best = keep == "best"
        self.out, self.backend = out, backend
        self._state: dict[str, NDArray[Any]] | None = None
        self._accuracy = -1.0

    def after_epoch(self, epoch: int, history: History) -> None:
        """Take note of an epoch whose accuracies are in the history."""
        if not self.best:
            history.kept_epoch = epoch
        elif history.val_acc_history[-1] > self._accuracy:
            self._accuracy = history.val_acc_history[-1]
            history.kept_epoch = epoch
            self._state = self.backend.state_dict()
            self._save(self._state, history)

    def finish(self, history: History) -> None:
        """End the run, whether it got to its last step or not."""
        if self._state is not None:
            self.backend.load_state_dict(self._state)
        elif self.out is not None:
            self._save(self.backend.state_dict(), history)

    def _save(self, state: dict[str, NDArray[Any]], history: History) -> None:
        if self.out is not None and self.backend.writes:
            save_weights(self.out, state, history.normalization)
