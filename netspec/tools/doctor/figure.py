"""The findings as a picture: gradients, dead units, and the losses of the short trainings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.plots.figures import COLORS, figure, plain, save
from netspec.tools.doctor.initial_checks import DEAD
from netspec.tools.doctor.report import DoctorReport

# With up to this many layers all names are written; with more, only the first and the last.
_READABLE = 40
# Inches between two names in a font of 8 points: anything closer would overlap.
_LINE = 0.22
# A longer name would leave no room for its panel, so its middle is left out.
_LONGEST = 28
_LABELLED_POWERS = 5


def draw(report: DoctorReport, path: Path) -> None:
    """Write the picture of a report.

    Raises:
        NetspecError: `library/matplotlib`, `usage/picture`, `output/unwritable`.
    """
    shown = report.pictured
    layers = max(len(shown.gradients), len(shown.dead), 8)
    made, axes = figure(1, 3, (14, 1.5 + _LINE * min(layers, _READABLE)))
    _bars(axes[0][0], shown.gradients, COLORS[0], "gradient relative to its weight", log=True)
    _bars(axes[0][1], shown.dead, COLORS[1], "share of dead units")
    axes[0][1].set_xlim(0, 1)
    axes[0][1].axvline(DEAD, color="grey", linestyle=":")
    _losses(axes[0][2], shown.trials, shown.expected)
    made.suptitle(plain(report.title), fontsize=10)
    save(made, path)


def _bars(
    ax: Any, values: Mapping[str, float], color: str, label: str, *, log: bool = False
) -> None:
    """Draw a bar for each layer, the first at the top."""
    ax.set_xlabel(label)
    if not values:
        ax.text(0.5, 0.5, "none", ha="center", va="center", transform=ax.transAxes)
        ax.set_yticks([])
        return
    at = np.arange(len(values))
    sizes = np.array(list(values.values()))
    if log and (sizes > 0).any():
        # Points, because the length of a bar has no meaning on a logarithmic axis.
        ax.plot(sizes, at, "o", color=color)
        ax.set_xscale("log")
        _few_ticks(ax, sizes[(sizes > 0) & np.isfinite(sizes)])
    else:
        ax.barh(at, sizes, color=color)
    names = list(values)
    step = -(-len(names) // _READABLE)
    ax.set_yticks(at[::step], [_short(name) for name in names[::step]], fontsize=8)
    ax.set_ylim(len(names) - 0.4, -0.6)


def _few_ticks(ax: Any, sizes: NDArray[np.float64]) -> None:
    """Label few numbers of a logarithmic axis: the default labels between powers of 10 overlap."""
    from matplotlib.ticker import FixedLocator, NullLocator

    low, high = np.log10(sizes.min()), np.log10(sizes.max())
    parts = (1.0, 2.0, 5.0) if high - low < 1 else (1.0, 3.0) if high - low < 2 else (1.0,)
    powers = range(int(np.floor(low)), int(np.ceil(high)) + 1)
    step = -(-len(powers) // _LABELLED_POWERS)
    # Fixed, because the labels within one power of 10 differ between versions of matplotlib.
    labelled = [part * 10.0**power for power in powers[::step] for part in parts]
    ax.xaxis.set_major_locator(FixedLocator(labelled))
    ax.xaxis.set_minor_locator(NullLocator())


def _short(name: str) -> str:
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _losses(ax: Any, trials: Mapping[str, list[float]], expected: float) -> None:
    for color, (title, losses) in zip(COLORS, trials.items(), strict=False):
        ax.plot(np.arange(1, len(losses) + 1), losses, color=color, label=title)
    ax.axhline(expected, color="grey", linestyle=":", label="all scores equal")
    ax.set_xlabel("step")
    ax.set_ylabel("loss of a batch")
    finite = [v for losses in trials.values() for v in losses if np.isfinite(v) and v > 0]
    if finite and max(finite) > 20 * max(expected, 1e-9):
        ax.set_yscale("log")
    else:
        ax.set_ylim(bottom=0)
    ax.legend(fontsize=8, frameon=False)
