"""Draws the loss and the accuracies of runs over their epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
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

# The line styles of one run's accuracies, and the markers for those with few points.
_STYLES = {"train": ":", "val": "-", "test": "--"}
_MARKS = {"train": "^", "val": "o", "test": "s"}
# The least range of the axis, so that tiny differences in accuracy do not fill the picture.
_LEAST_SPAN = 0.1
_SIZE = (11, 4.2)
_BEYOND = 1e300

Line = Mapping[str, Any]


@dataclass(frozen=True)
class Curves:
    """The curves of a run over its epochs.

    Attributes:
        name: the name of the run; empty for one that needs none, beside no other.
        steps: (epoch, loss) of some steps.
        epochs: (epoch, mean loss).
        accuracies: `train`, `val`, `test` -> (epoch, accuracy).
        val_losses: (epoch, loss on validation images).
    """

    name: str
    steps: Sequence[tuple[float, float]]
    epochs: Sequence[tuple[float, float]]
    accuracies: Mapping[str, Sequence[tuple[float, float]]]
    val_losses: Sequence[tuple[float, float]] = ()


def curves_of(name: str, lines: Sequence[Line]) -> Curves:
    """Return the curves in the lines of a `metrics.jsonl`.

    Raises:
        NetspecError: `plot/nothing` if there are none yet.
    """
    steps = [x for x in lines if x.get("kind") == "step" and _has(x, "step", "loss")]
    epochs = [x for x in lines if x.get("kind") == "epoch" and _has(x, "epoch", "step", "loss")]
    results = [x for x in lines if x.get("kind") == "result" and _has(x, "epoch")]
    if not steps and not epochs:
        raise NetspecError.simple(
            codes.PLOT_NOTHING, f"{name} has nothing to draw: its metrics.jsonl has no lines yet"
        )
    # All epochs of a run have the same number of steps. Before the first one ends, a step counts as
    # an epoch.
    measured = [*epochs, *results]
    each = epochs[0]["step"] / epochs[0]["epoch"] if epochs else 1
    return Curves(
        name,
        _at_middles(lines, each),
        # The mean of an epoch is drawn at its middle, or else it would lag behind the steps.
        [(x["epoch"] - 0.5, x["loss"]) for x in epochs],
        {
            part: sorted((x["epoch"], x[part]) for x in measured if _has(x, part))
            for part in _STYLES
            if any(_has(x, part) for x in measured)
        },
        [(x["epoch"], x["val_loss"]) for x in epochs if _has(x, "val_loss")],
    )


def _at_middles(lines: Sequence[Line], each: float) -> list[tuple[float, float]]:
    """The mean loss of some steps at the middle of them, in epochs of so many steps."""
    found, before = [], 0
    for line in lines:
        if line.get("kind") == "step" and _has(line, "step"):
            if _has(line, "loss"):
                found.append(((before + line["step"]) / 2 / each, line["loss"]))
            before = line["step"]
    return found


def _has(line: Line, *names: str) -> bool:
    """Return True if all of these are numbers; an infinite loss is stored as null."""
    return all(
        isinstance(line.get(n), int | float) and not isinstance(line[n], bool) for n in names
    ) and all(line[n] > 0 for n in names if n in ("epoch", "step"))


def draw_curves(
    runs: Sequence[Curves],
    path: Path,
    *,
    log: bool = False,
    size: tuple[float, float] | None = None,
) -> None:
    """Write a picture: losses on the left, accuracies on the right, a color for each run.

    Args:
        runs: at least one.
        path: PNG, SVG or PDF.
        log: whether losses have a logarithmic axis.
        size: width and height in inches; by default those of a page, and what the legends take.

    Raises:
        NetspecError: `library/matplotlib`, `usage/picture`, `output/unwritable`.
    """
    has_accuracies = any(run.accuracies for run in runs)
    usual = _SIZE if has_accuracies else (6, 4.2)
    made, axes = figure(1, 2 if has_accuracies else 1, size or usual)
    top = None if log else highest_of(map(_all_losses, runs))
    for i, run in enumerate(runs):
        _losses(axes[0][0], run, COLORS[i % len(COLORS)], top)
        if has_accuracies:
            _accuracies(axes[0][1], run, COLORS[i % len(COLORS)], several=len(runs) > 1)
    in_epochs = any(run.epochs for run in runs)
    for ax, what in zip(axes[0], ("loss", "accuracy"), strict=False):
        ax.set_xlabel("epoch" if in_epochs else "step")
        ax.set_ylabel(what)
        set_epochs(ax, (epoch for line in ax.get_lines() for epoch in line.get_xdata()))
    if has_accuracies:
        low, high = axes[0][1].get_ylim()
        room = max(0.0, _LEAST_SPAN - (high - low)) / 2
        axes[0][1].set_ylim(max(0.0, low - room), min(1.0, high + room))
    if log:
        axes[0][0].set_yscale("log")
    else:
        axes[0][0].set_ylim(bottom=0, top=None if top is None else top * 1.05)
    for ax in axes[0]:
        add_legend(made, ax, grows=size is None)
    save(made, path)


def _all_losses(run: Curves) -> list[float]:
    return [loss for _, loss in (*run.steps, *run.epochs)]


def _losses(ax: Any, run: Curves, color: str, top: float | None) -> None:
    label = plain(run.name) or "train"
    if is_beyond(top, _all_losses(run)):
        label += LEAVES
    if run.steps:
        # If there are means of epochs, the steps are drawn in the background.
        faint = {"alpha": 0.35, "linewidth": 1} if run.epochs else {"label": label}
        ax.plot(*zip(*run.steps, strict=True), color=color, **faint)
    if run.epochs:
        marks = marker_of("o", run.epochs)
        ax.plot(*zip(*run.epochs, strict=True), color=color, label=label, **marks)
    # One that is not finite is kept as the largest number, which would leave no room for others.
    held_out = [point for point in run.val_losses if point[1] < _BEYOND]
    if held_out:
        marks = marker_of("s", held_out)
        name = f"val, {plain(run.name)}" if run.name else "val"
        ax.plot(*zip(*held_out, strict=True), "--", color=color, label=name, **marks)


def _accuracies(ax: Any, run: Curves, color: str, *, several: bool) -> None:
    for part, points in run.accuracies.items():
        ax.plot(
            *zip(*points, strict=True),
            linestyle=_STYLES[part] if len(points) > 1 else "",
            color=color,
            label=f"{part}, {plain(run.name)}" if several else part,
            **marker_of(_MARKS[part], points),
        )
