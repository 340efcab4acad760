"""What the chosen optimizer, schedule and loss take where nothing is said, to be written down."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from netspec.runtime.optim.losses import LOSSES
from netspec.runtime.optim.lr_schedules import SCHEDULES
from netspec.runtime.optim.optimizers import OPTIMIZERS
from netspec.runtime.runs.options import keywords

_TABLES: Mapping[str, Mapping[str, Callable[..., object]]] = {
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "loss": LOSSES,
}


def choice_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the defaults of the options of these choices, by the names of the options.

    A default that is found when the run is planned, such as a third of it, and an empty one are not
    among them.

    Args:
        values: Settings, of which `optimizer`, `schedule` and `loss` are looked at, if they are there.
    """
    found: dict[str, Any] = {}
    for choice, table in _TABLES.items():
        factory = table.get(str(values.get(choice)))
        taken = {} if factory is None else inspect.signature(factory).parameters
        for option in keywords(choice):
            default = taken[option.key].default if option.key in taken else None
            if default is not None and default != ():
                found[option.name] = [*default] if isinstance(default, tuple) else default
    return found
