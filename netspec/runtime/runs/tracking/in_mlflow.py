"""A run in MLflow's store, by its own client (`pip install 'netspec-dsl[mlflow]'`).

Where the store is says `MLFLOW_TRACKING_URI`, and in which experiment `MLFLOW_EXPERIMENT_NAME`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.runs.tracking.tracker import End, curves, known_as, plain, remember

NAME = "mlflow"
_ENDS: Mapping[End, str] = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
_LONGEST = 500
# So many numbers its servers take in a call.
_AT_ONCE = 1000


def require_mlflow() -> None:
    """Check that MLflow is installed.

    Raises:
        NetspecError: `library/mlflow`.
    """
    try:
        import mlflow.entities  # noqa: F401
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_MLFLOW, "MLflow is not installed", "pip install 'netspec-dsl[mlflow]'"
        ) from None


class InMlflow:
    """See `Tracker`. A run that goes on goes on there too, and no step is written twice.

    Args:
        folder: The folder of the run.
        choices: Its options.
    """

    def __init__(self, folder: Path, choices: Mapping[str, Any]) -> None:
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        self._before: dict[str, int] = {}
        self._run = self._found(known_as(folder, NAME)) or self._made(folder, choices)

    def _found(self, run: str | None) -> str | None:
        """Return a run that the store has, and note the last step of each of its curves."""
        from mlflow.exceptions import MlflowException

        if run is None:
            return None
        try:
            held = self._client.get_run(run)
        except MlflowException:
            return None
        for curve in held.data.metrics:
            steps = [point.step for point in self._client.get_metric_history(run, curve)]
            self._before[curve] = max(steps, default=-1)
        self._client.update_run(run, status="RUNNING")
        return run

    def _made(self, folder: Path, choices: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "netspec")
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        run = str(self._client.create_run(number, run_name=plain(folder.name)).info.run_id)
        params = [
            Param(option, str(plain(value))[:_LONGEST])
            for option, value in choices.items()
            if value is not None
        ]
        self._client.log_batch(run, params=params)
        remember(folder, NAME, run)
        return run

    def write(self, line: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now, step = int(time.time() * 1000), line["step"]
        new = {
            name: value for name, value in curves(line).items() if step > self._before.get(name, -1)
        }
        metrics = [Metric(name, value, now, step) for name, value in new.items()]
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics[start : start + _AT_ONCE])

    def flush(self) -> None:
        """See `Tracker`."""

    def close(self, end: End) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self._run, _ENDS[end])
