"""How measures of runs are written in tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.runtime.runs.listing import Spread

FORMATS = {"loss": ".4f", "train": ".2%", "val": ".2%", "val_loss": ".4f", "test": ".2%",
           "perplexity": ".4g", "val_macro_f1": ".2%", "seconds": ",.1f"}  # fmt: skip


def measure_text(name: str, value: float | None) -> str:
    """Return a value of a measure as text; a dash for none."""
    return "-" if value is None else format(value, FORMATS[name])


def spread_text(name: str, value: Spread | None) -> str:
    """Return the mean of a measure, and the spread of several."""
    if value is None:
        return "-"
    text = measure_text(name, value.mean)
    return text if value.spread is None else f"{text} ± {measure_text(name, value.spread)}"


def means(measured: Mapping[str, Sequence[Spread | None]]) -> dict[str, list[float | None]]:
    """Return the means of measures, by their names and rows."""
    return {
        name: [None if value is None else value.mean for value in values]
        for name, values in measured.items()
    }
