"""Draws one measure of many runs: a line for each combination of settings, its mean over seeds in a band.

The band reaches one standard deviation, with n - 1, above and below the mean.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from netspec.runtime.plots.figures import (
    COLORS,
    LEAVES,
    add_legend,
    figure,
    highest_of,
    is_beyond,
    marker_of,
    plain,
    save,
    set_epochs,
)

_STYLES = ("-", "--", ":", "-.")
_SIZE = (6, 4.2)
# What measures are called on an axis, and which of them are shares, as in the tables.
_NAMES = {
    "val": "validation accuracy",
    "train": "training accuracy",
    "test": "test accuracy",
    "val_loss": "validation loss",
    "loss": "training loss",
    "val_macro_f1": "validation macro F1",
    "val_perplexity": "validation perplexity",
}
_SHARES = ("val", "train", "test", "val_macro_f1")


class BandPoint(NamedTuple):
    """A measure at an epoch: its mean over runs, their deviation (None of one), and how many they are."""

    epoch: float
    mean: float
    deviation: float | None
    runs: int


@dataclass(frozen=True)
class Band:
    """A measure of runs that differ in the seed alone.

    Attributes:
        settings: the settings in which other bands differ from it, by name.
        points: its values, in the order of the epochs.
    """

    settings: Mapping[str, Any]
    points: Sequence[BandPoint]

    @property
    def label(self) -> str:
        """Its settings in words."""
        return ", ".join(f"{name} {setting_word(value)}" for name, value in self.settings.items())

    @property
    def count(self) -> str:
        """How many runs it is the mean of: `n = 3`, or `n = 2 to 3` if some ended before others."""
        counts = {point.runs for point in self.points}
        least, most = min(counts, default=0), max(counts, default=0)
        return f"n = {most}" if least == most else f"n = {least} to {most}"


def draw_bands(
    what: str,
    bands: Sequence[Band],
    path: Path,
    *,
    log: bool = False,
    size: tuple[float, float] | None = None,
) -> None:
    """Write a picture of the bands.

    Args:
        what: the measure.
        bands: at least one.
        path: PNG, SVG or PDF.
        log: whether the measure has a logarithmic axis.
        size: width and height in inches; by default those of a column, and what the legend takes.

    Raises:
        NetspecError: `library/matplotlib`, `usage/picture`, `output/unwritable`.
    """
    made, axes = figure(1, 1, size or _SIZE)
    ax = axes[0][0]
    top = None if log else highest_of([point.mean for point in band.points] for band in bands)
    differ = _have_deviations(bands) and len({band.count for band in bands}) > 1
    for i, band in enumerate(bands):
        color, style = COLORS[i % len(COLORS)], _STYLES[i // len(COLORS) % len(_STYLES)]
        epochs = [point.epoch for point in band.points]
        means = [point.mean for point in band.points]
        own = f"{band.label} ({band.count})" if differ else band.label
        label = plain(own) + (LEAVES if is_beyond(top, means) else "")
        ax.plot(epochs, means, style, color=color, label=label, **marker_of("o", epochs))
        off = [point.deviation or 0.0 for point in band.points]
        if any(off):
            low, high = (
                [m + sign * o for m, o in zip(means, off, strict=True)] for sign in (-1, 1)
            )
            ax.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
    ax.set_xlabel("epoch")
    ax.set_ylabel(plain(_NAMES.get(what, what.replace("_", " "))))
    if what in _SHARES:
        from matplotlib.ticker import PercentFormatter

        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    set_epochs(ax, (point.epoch for band in bands for point in band.points))
    if log:
        ax.set_yscale("log")
    if top is not None:
        lowest = min(point.mean for band in bands for point in band.points)
        ax.set_ylim(min(lowest * 1.05, 0.0), top * 1.05)
    add_legend(made, ax, _about_bands(bands), grows=size is None)
    save(made, path)


def _about_bands(bands: Sequence[Band]) -> str | None:
    """Say what the bands are; None if there are none, as of single runs. Where they are of unequally
    many runs, each has its own number beside its name.
    """
    if not _have_deviations(bands):
        return None
    counts = {band.count for band in bands}
    return "mean ± standard deviation" + (f", {counts.pop()}" if len(counts) == 1 else "")


def _have_deviations(bands: Sequence[Band]) -> bool:
    return any(point.deviation for band in bands for point in band.points)


def bands_csv(what: str, bands: Sequence[Band]) -> str:
    """Return the numbers of the bands: settings, epoch, mean, deviation and how many runs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*bands[0].settings, "epoch", what, "deviation", "runs"])
    for band in bands:
        own = [setting_word(value) for value in band.settings.values()]
        for epoch, mean, deviation, count in band.points:
            writer.writerow([*own, epoch, mean, "" if deviation is None else deviation, count])
    return text.getvalue()


def setting_word(value: object) -> str:
    """Return a setting as a recipe writes it."""
    if isinstance(value, list):
        return ",".join(map(setting_word, value))
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
