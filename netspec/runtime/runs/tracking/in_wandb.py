"""A run in Weights & Biases, by its own client (`pip install 'netspec-dsl[wandb]'`).

`WANDB_MODE=offline` keeps it on this machine, in the folder of the run; `WANDB_PROJECT` and the client's
other variables hold as ever.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.runs.tracking.tracker import End, curves, known_as, plain, remember

NAME = "wandb"


def require_wandb() -> None:
    """Check that the client is installed.

    Raises:
        NetspecError: `library/wandb`.
    """
    try:
        import wandb

        wandb.init  # noqa: B018 - a folder `wandb`, as the client makes, is a package without it
    except (ImportError, AttributeError):
        raise NetspecError.simple(
            codes.LIBRARY_WANDB, "wandb is not installed", "pip install 'netspec-dsl[wandb]'"
        ) from None


class InWandb:
    """See `Tracker`. A run that goes on goes on there too.

    Args:
        folder: The folder of the run.
        choices: Its options.
    """

    def __init__(self, folder: Path, choices: Mapping[str, Any]) -> None:
        import wandb

        name = known_as(folder, NAME) or secrets.token_hex(8)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "netspec"), id=name, name=plain(folder.name),
            dir=str(folder), resume="allow", reinit="create_new",
            config={option: plain(value) for option, value in choices.items()},
            settings=wandb.Settings(console="off", silent=True, save_code=False),
        )  # fmt: skip
        # Steps are the run's: those of the client count calls.
        self._run.define_metric("*", step_metric="step")
        remember(folder, NAME, name)

    def write(self, line: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._run.log({"step": line["step"], **curves(line)})

    def flush(self) -> None:
        """See `Tracker`."""

    def close(self, end: End) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=0 if end == "finished" else 1)
