"""The trackers that a run may have beside TensorBoard, by the names of `--track`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.runs.tracking import in_mlflow, in_wandb
from netspec.runtime.runs.tracking.tracker import Lenient, Tracker


class _Client(NamedTuple):
    about: str
    require: Callable[[], None]
    make: Callable[[Path, Mapping[str, Any]], Tracker]


CLIENTS: Mapping[str, _Client] = {
    in_mlflow.NAME: _Client("MLflow", in_mlflow.require_mlflow, in_mlflow.InMlflow),
    in_wandb.NAME: _Client("Weights & Biases", in_wandb.require_wandb, in_wandb.InWandb),
}


def require_clients(names: Iterable[str]) -> None:
    """Check that these are installed.

    Raises:
        NetspecError: `library/mlflow`, `library/wandb`.
    """
    for name in names:
        CLIENTS[name].require()


def track(name: str, folder: Path, choices: Mapping[str, Any]) -> Tracker:
    """Begin to track a run.

    Args:
        name: one of `CLIENTS`.
        folder: the folder of the run.
        choices: its options.

    Raises:
        NetspecError: `run/track` if the client cannot.
    """
    client = CLIENTS[name]
    try:
        return Lenient(client.about, client.make(folder, choices))
    except NetspecError:
        raise
    except Exception as error:  # whatever a client raises, such as for a store that is not there
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise NetspecError.simple(
            codes.RUN_TRACK, f"{client.about} cannot take the run: {what[:300]}",
            f"netspec train --resume {folder} goes on with it",
        ) from None  # fmt: skip
