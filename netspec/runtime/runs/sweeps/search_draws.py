"""Draws the trials of a search with Optuna, if it is installed (`pip install 'netspec-dsl[sweep]'`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.runs.sweeps.search_table import Place, Range, Search


def require_optuna() -> None:
    """Check that Optuna is installed.

    Raises:
        NetspecError: `library/optuna`.
    """
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_OPTUNA, "Optuna is not installed", "pip install 'netspec-dsl[sweep]'"
        ) from None


class Draws:
    """The trials of a search, in their order.

    The study is in memory alone: what was tried is known from the folder of the sweep, and told to a
    new study when a sweep goes on.

    Args:
        search: What is searched.
        maximize: True if more is better.
        before: How many trials there are already: what is drawn next depends on it, and on the seed.
        parallel: True if trials are drawn while others run.
    """

    def __init__(self, search: Search, *, maximize: bool, before: int, parallel: bool) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._ranges = search.ranges
        self._study = optuna.create_study(
            direction="maximize" if maximize else "minimize",
            sampler=optuna.samplers.TPESampler(
                seed=(search.seed + before * 7919) % (1 << 32), constant_liar=parallel
            ),
            pruner=_pruner(search.pruner),
        )
        self._open: dict[int, Any] = {}
        self._reported: dict[int, int] = {}

    def repeat(self, number: int, choices: Mapping[Place, Any]) -> None:
        """Take up a trial that was drawn before."""
        self._study.enqueue_trial({_name(p): self._plain(p, v) for p, v in choices.items()})
        self.draw(number)

    def draw(self, number: int) -> dict[Place, Any]:
        """Draw a trial; returns what it chose."""
        trial = self._study.ask()
        self._open[number] = trial
        return {place: _suggest(trial, place, found) for place, found in self._ranges.items()}

    def _plain(self, place: Place, value: Any) -> Any:
        """Return a value as Optuna has it: of a list, the number of the item."""
        found = self._ranges[place]
        return value if isinstance(found, Range) else found.index(value)

    def report(self, number: int, epoch: int, score: float) -> bool:
        """Say what a trial has come to after an epoch; returns whether it is worth no more."""
        trial = self._open[number]
        if epoch > self._reported.get(number, 0):
            self._reported[number] = epoch
            trial.report(score, epoch)
        return bool(trial.should_prune())

    def prune(self, number: int) -> None:
        """Say that a trial was ended before its time."""
        from optuna.trial import TrialState

        self._study.tell(self._open.pop(number), state=TrialState.PRUNED)

    def tell(self, number: int, score: float | None) -> None:
        """Say what a trial came to; None if it failed."""
        from optuna.trial import TrialState

        trial = self._open.pop(number)
        state = TrialState.FAIL if score is None else TrialState.COMPLETE
        self._study.tell(trial, score, state)


def _pruner(name: str) -> Any:
    """Return Optuna's pruner: the first five trials, and the first epoch of each, are left alone."""
    import optuna

    return optuna.pruners.MedianPruner(5, 1) if name else optuna.pruners.NopPruner()


def _name(place: Place) -> str:
    return "/".join(place)


def _suggest(trial: Any, place: Place, found: Range | tuple[Any, ...]) -> Any:
    name = _name(place)
    if not isinstance(found, Range):
        # Optuna takes plain values alone; an item may be a list.
        return found[trial.suggest_categorical(name, [*range(len(found))])]
    if found.is_whole:
        return trial.suggest_int(
            name, found.low, found.high, step=int(found.step or 1), log=found.log
        )
    return trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log)
