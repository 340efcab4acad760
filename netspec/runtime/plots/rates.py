"""Draws how a loss changes with a rising learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netspec.runtime.plots.figures import COLORS, figure, save

_SIZE = (6, 4.2)


def draw_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smooth: Sequence[float],
    suggestion: float | None,
    path: Path,
) -> None:
    """Write a picture: the loss of each step, smoothed too, over its rate on a logarithmic axis.

    Args:
        rates: of each step.
        losses: likewise.
        smooth: likewise.
        suggestion: the rate that is marked; None for none.
        path: PNG or SVG.

    Raises:
        NetspecError: `library/matplotlib`, `usage/picture`, `output/unwritable`.
    """
    made, axes = figure(1, 1, _SIZE)
    ax = axes[0][0]
    ax.plot(rates, losses, color=COLORS[0], alpha=0.35, linewidth=1)
    ax.plot(rates, smooth, color=COLORS[0])
    if suggestion is not None:
        ax.axvline(suggestion, color=COLORS[1], linestyle="--", label=f"{suggestion:.2g}")
        ax.legend(fontsize=8, frameon=False)
    ax.set_xscale("log")
    # What diverges at the end would hide all that came before.
    low, high = min(smooth), max(smooth[: max(1, len(smooth) // 2)])
    room = max(high - low, 1e-9) / 5
    ax.set_ylim(low - room, high + 2 * room)
    ax.set_xlabel("learning rate")
    ax.set_ylabel("loss")
    save(made, path)
