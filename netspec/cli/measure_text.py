"""How measures of runs are written in tables: with the same number of decimals all down a column."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netspec.runtime.runs.listing import Spread

FORMATS = {"loss": ".4f", "train": ".2%", "val": ".2%", "val_loss": ".4f", "test": ".2%",
           "val_macro_f1": ".2%", "seconds": ",.1f"}  # fmt: skip
# Of a perplexity the least of a column has so many digits.
_DIGITS = 4
_OF_TRAINING = "train_perplexity"
# What is larger is no result, as of a run that diverged: all of its digits would fill the line.
_LARGEST = 1e7


def is_measure(name: str) -> bool:
    """Return True for the name of a measure that tables show."""
    return name in FORMATS or name.endswith("_perplexity")


def measures_on_demand(names: Collection[str]) -> list[str]:
    """Return which of these measures tables show only where they are named: the perplexity of training
    images beside another.
    """
    others = {name for name in names if name.endswith("_perplexity")} - {_OF_TRAINING}
    return [_OF_TRAINING] if others else []


def measure_texts(name: str, values: Sequence[float | None]) -> list[str]:
    """Return the values of a measure, those of a column, as text; a dash for none."""
    form = _form(name, [value for value in values if value is not None])
    return ["-" if value is None else _text(value, form) for value in values]


def spread_texts(name: str, values: Sequence[Spread | None]) -> list[str]:
    """Return the means of a measure, those of a column, and of several runs how they are spread."""
    form = _form(name, [value.mean for value in values if value is not None])
    return ["-" if value is None else _spread_text(value, form) for value in values]


def _spread_text(value: Spread, form: str) -> str:
    text = _text(value.mean, form)
    return text if value.spread is None else f"{text} ± {_text(value.spread, form)}"


def _text(value: float, form: str) -> str:
    return format(value, form) if abs(value) < _LARGEST else f"{value:.2e}"


def _form(name: str, values: Collection[float]) -> str:
    """Return the format of a column. A perplexity is 1 or more, of a thousand as of two."""
    if name in FORMATS:
        return FORMATS[name]
    least = min(values, default=1.0)
    before = 1 + math.floor(math.log10(max(least, 1.0)))
    return f".{max(_DIGITS - before, 0)}f"


def means(measured: Mapping[str, Sequence[Spread | None]]) -> dict[str, list[float | None]]:
    """Return the means of measures, by their names and rows."""
    return {
        name: [None if value is None else value.mean for value in values]
        for name, values in measured.items()
    }


def csv_cell(value: Any) -> Any:
    """Return what stands for a value in CSV: nothing for none, `true` as a recipe has it, a number as it
    is.
    """
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else value
