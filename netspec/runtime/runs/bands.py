"""A measure of many runs over their epochs, in groups that differ in the seed alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError, suggest
from netspec.runtime.data.choices import is_number
from netspec.runtime.plots.bands import Band, BandPoint
from netspec.runtime.runs.listing import RunSummary, Spread, differing, seed_groups
from netspec.runtime.runs.metrics import read_metrics

# What is drawn unless something is asked for: the first of these that all runs have.
_USUAL = ("val_loss", "val", "loss")
# What else measures are called, as in a history.
_ALSO = {
    "perplexity": "val_perplexity",
    "val_acc": "val",
    "val_acc_history": "val",
    "train_acc": "train",
    "train_acc_history": "train",
    "loss_history": "loss",
    "val_loss_history": "val_loss",
}
_NO_MEASURES = ("kind", "epoch", "step")
_BEYOND = 1e300


def bands_of(runs: Sequence[RunSummary], what: str | None = None) -> tuple[str, list[Band]]:
    """Return what is measured, and a band for each group of runs that differ in the seed alone.

    Args:
        runs: the runs.
        what: a name in the epochs of `metrics.jsonl`, such as `val_loss`; `perplexity` is that on
            validation images. None takes the first of `val_loss`, `val` and `loss` that all runs have.

    Raises:
        NetspecError: `plot/nothing` for a measure that some run has not; `run/damaged`.
    """
    epochs = {run.path: read_metrics(run.path, ("epoch",)) for run in runs}
    names = _common(epochs.values())
    wanted = _ALSO.get(what or "", what)
    if wanted is None:
        wanted = next((name for name in _USUAL if name in names), None)
    if wanted is None or wanted not in names:
        raise _not_measured(
            wanted, [str(path) for path, lines in epochs.items() if not lines], names
        )
    groups = seed_groups(runs)
    firsts = [group.runs[0] for group in groups]
    settings = {n: values for n, values in differing(firsts).items() if n != "seed"}
    # Runs that are alike, such as one of a seed and another of it, are told apart by their folders.
    columns = [repr([values[i] for values in settings.values()]) for i in range(len(firsts))]
    if len({*columns}) < len(columns):
        settings["run"] = [first.path.name for first in firsts]
    bands = []
    for i, group in enumerate(groups):
        own = {name.removeprefix("set "): values[i] for name, values in settings.items()}
        found = _spreads([epochs[run.path] for run in group.runs], wanted)
        bands.append(Band(own or {"run": firsts[i].path.name}, found))
    return wanted, bands


def _common(runs: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    """The measures that every run has, of at least one epoch."""
    found = [
        {name for line in lines for name, value in line.items() if is_number(value)}
        for lines in runs
    ]
    return sorted(set.intersection(*found).difference(_NO_MEASURES)) if found else []


def _not_measured(what: str | None, without: Sequence[str], names: Sequence[str]) -> NetspecError:
    if without:
        more = f" and {len(without) - 1} more" if len(without) > 1 else ""
        message = f"{without[0]}{more} has no epoch to draw yet"
        return NetspecError.simple(codes.PLOT_NOTHING, message)
    meant = suggest(what or "", names)
    return NetspecError.simple(
        codes.PLOT_NOTHING,
        f"not every run has measured `{what}`" if what else "the runs have no measure in common",
        f"did you mean `{meant}`?" if meant else f"all have {', '.join(names)}",
    )


def _spreads(runs: Sequence[Sequence[Mapping[str, Any]]], what: str) -> list[BandPoint]:
    """The mean over runs at each epoch; the loss of training steps stands for the middle of its epoch."""
    at: dict[float, list[float]] = {}
    for lines in runs:
        for line in lines:
            # A loss that is not finite is kept as the largest number, which leaves no room for others.
            if is_number(line.get(what)) and line[what] < _BEYOND:
                middle = 0.5 if what == "loss" else 0
                at.setdefault(line["epoch"] - middle, []).append(line[what])
    spreads = [(epoch, Spread.of(values)) for epoch, values in sorted(at.items())]
    return [BandPoint(e, s.mean, s.spread, s.count) for e, s in spreads if s is not None]
