"""Runs that have some settings, of all that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError, suggest
from netspec.runtime.plots.bands import setting_word
from netspec.runtime.runs.listing import RunSummary, choices_of


def runs_with(runs: Sequence[RunSummary], wanted: Mapping[str, str]) -> list[RunSummary]:
    """Return the runs whose settings have these values, each as a recipe writes it.

    Args:
        runs: the runs, at least one.
        wanted: values by the names of options, and of arguments of nets.

    Raises:
        NetspecError: `plot/nothing` for a setting or a value that no run has, or if none has all of them.
    """
    settings = [_settings(run) for run in runs]
    known = dict.fromkeys(
        name for each in settings for name, own in each.items() if own is not None
    )
    for name, value in wanted.items():
        if name not in known:
            meant = suggest(name, known)
            help = f"did you mean `{meant}`?" if meant else f"there are {', '.join(known)}"
            raise NetspecError.simple(codes.PLOT_NOTHING, f"no run has a setting `{name}`", help)
        values = dict.fromkeys(setting_word(each.get(name)) for each in settings)
        if not any(_is(each.get(name), value) for each in settings):
            message = f"no run has `{name}` = {value}"
            raise NetspecError.simple(codes.PLOT_NOTHING, message, f"there are {', '.join(values)}")
    found = [
        run
        for run, own in zip(runs, settings, strict=True)
        if all(_is(own.get(name), value) for name, value in wanted.items())
    ]
    if not found:
        shown = ", ".join(f"`{name}` = {value}" for name, value in wanted.items())
        raise NetspecError.simple(codes.PLOT_NOTHING, f"no run has {shown} together")
    return found


def _settings(run: RunSummary) -> dict[str, Any]:
    """What was chosen for a run by its names in a legend, `depth` for an argument of its net."""
    chosen = choices_of(run)
    return chosen | {
        name.removeprefix("set "): value
        for name, value in chosen.items()
        if name.startswith("set ")
    }


def _is(value: object, text: str) -> bool:
    if setting_word(value) == text:
        return True
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return float(text) == value
    except ValueError:
        return False
