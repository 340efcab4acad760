"""Lists and compares runs by their records, without loading weights."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.models.history import MONITORS
from netspec.runtime.runs.choice_defaults import choice_defaults
from netspec.runtime.runs.folder import FACTS, Facts, RunFolder
from netspec.runtime.runs.metrics import key_of, read_metrics
from netspec.runtime.runs.net_text import net_digest
from netspec.runtime.runs.options import OPTIONS

# The accuracies that determine the best epoch, in order of preference, with the least number of
# measurements. Test images are usually measured only once.
_JUDGES = {"val": 1, "test": 2, "train": 1}
# So many digits of a digest tell the nets of a list apart.
_DIGITS = 6
# What is measured beside them, and has no column of its own in tables.
_BESIDE = ("perplexity", "top5", "macro_f1")
# Whose perplexity it is, is said everywhere: on test images it is another number than in validation.
PERPLEXITIES = tuple(key_of(part, "perplexity") for part in ("val", "test", "train"))


@dataclass(frozen=True)
class RunSummary:
    """The main results of a run.

    Attributes:
        path: Its folder.
        facts: What it was started with.
        epochs: The number of completed epochs.
        kept: The metrics of the weights that are kept, and of the result: the latest value of each
            key, or with `keep = "best"` those of the best epoch; empty before the first.
        seconds: How long it took, as far as it is known.
        best: The best epoch; None before one was measured.
        best_by: What was compared: what the run monitors, by default `val`, else `test` if it was
            measured more than once, else `train`.
        has_ended: Whether it took all of its epochs, or was ended by `early-stopping` or
            `max-seconds`.
        text: A digest of its net's text, see `net_digest`.
    """

    path: Path
    facts: Facts
    epochs: int
    kept: Mapping[str, Any]
    seconds: float | None
    best: int | None
    best_by: str | None
    has_ended: bool = True
    text: str = ""

    def row(self) -> dict[str, Any]:
        """Return its row in a table: plain values, None if unknown."""
        return {
            "run": str(self.path),
            "net": self.facts.net,
            "target": self.facts.target,
            "data": self.facts.options.get("data"),
            "epochs": f"{self.epochs}/{self.facts.options.get('epochs', '?')}",
            "loss": self.kept.get("loss"),
            "train": self.kept.get("train"),
            "val": self.kept.get("val"),
            "val_loss": self.kept.get("val_loss"),
            "test": self.kept.get("test"),
            **{key: self.kept.get(key) for key in PERPLEXITIES},
            "best": self.best,
            "best_by": self.best_by,
            "seconds": self.seconds,
            "started": self.facts.started,
        }

    def details(self) -> dict[str, Any]:
        """Return its row for programs, with all that was measured, the learning rate and the seed."""
        options, keys = self.facts.options, [key_of(*names) for names in product(_JUDGES, _BESIDE)]
        return {
            **self.row(),
            **{key: self.kept.get(key) for key in keys},
            "lr": options.get("lr"),
            "seed": options.get("seed"),
        }


def summarize_run(path: Path) -> RunSummary:
    """Return the main results of a run.

    Raises:
        NetspecError: `run/missing`, `run/damaged`.
    """
    facts = RunFolder(path).facts()
    lines = read_metrics(path, ("epoch", "result"))
    epochs = [line for line in lines if line["kind"] == "epoch"]
    monitor = facts.options.get("monitor", "val")
    judges = {monitor: 1, **_JUDGES} if monitor in MONITORS else _JUDGES
    # A loss that is the output of its net has no accuracies.
    judges = {**judges, "val_loss": 1}
    by = next((name for name, least in judges.items() if _count(epochs, name) >= least), None)
    best: Mapping[str, Any] = {}
    if by is not None:
        sign = 1 if MONITORS.get(by, True) else -1
        best = max(
            (line for line in epochs if by in line),
            key=lambda line: (sign * line[by], -line.get("val_loss", math.inf)),
        )
    keeps_best = facts.options.get("keep") == "best" and best
    of_kept = [best, *lines[len(epochs) :]] if keeps_best else lines
    kept = {key: value for line in of_kept for key, value in line.items()}
    seconds = lines[-1]["seconds"] if lines else None
    return RunSummary(
        path, facts, len(epochs), kept, seconds, best.get("epoch"), by,
        _has_ended(facts, lines, by, best), net_digest(path, facts),
    )  # fmt: skip


def _has_ended(
    facts: Facts, lines: Sequence[Mapping[str, Any]], by: str | None, best: Mapping[str, Any]
) -> bool:
    options, epochs = facts.options, [line for line in lines if line["kind"] == "epoch"]
    if len(epochs) == options.get("epochs") or len(lines) > len(epochs):
        return True
    patience = options.get("early-stopping")
    if patience and by is not None:
        first = next(line["epoch"] for line in epochs if line.get(by) == best[by])
        behind = [line for line in epochs if by in line and line["epoch"] > first]
        return len(behind) >= int(patience)
    return options.get("max-seconds") is not None


def _count(lines: Sequence[Mapping[str, Any]], part: str) -> int:
    return sum(part in line for line in lines)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Find the runs among folders: each folder itself, or else the runs directly inside.

    Others are skipped.

    Raises:
        NetspecError: `run/missing` if there are none.
    """
    found = []
    for path in paths:
        below = sorted(facts.parent for facts in path.glob(f"*/{FACTS}"))
        found += [path] if (path / FACTS).is_file() else [p for p in below if p.name[0] != "."]
    if not found:
        raise NetspecError.simple(
            codes.RUN_MISSING,
            f"there are no runs in {', '.join(map(str, paths))}",
            "netspec train makes one in runs/",
        )
    return found


@dataclass(frozen=True)
class Spread:
    """The mean of some numbers, and how far they lie apart.

    Attributes:
        mean: Their mean.
        spread: Their standard deviation, with n - 1; None for a single one.
        count: How many they are.
    """

    mean: float
    spread: float | None
    count: int

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Spread | None:
        """Return that of these numbers; None of none."""
        if not numbers:
            return None
        several = len(numbers) > 1
        return cls(fmean(numbers), stdev(numbers) if several else None, len(numbers))


# What is compared over seeds, and what of it tables show.
IN_TABLES = ("val", "test", "train", *PERPLEXITIES, "val_loss", "loss", "seconds")
MEASURED = tuple(
    dict.fromkeys([*IN_TABLES, *(key_of(*names) for names in product(_JUDGES, _BESIDE))])
)


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ in the seed alone."""

    runs: tuple[RunSummary, ...]

    @property
    def seeds(self) -> list[Any]:
        """Their seeds."""
        return [run.facts.options.get("seed") for run in self.runs]

    def measure(self, name: str) -> Spread | None:
        """Return the mean and spread of one of `MEASURED`, over the runs that have it."""
        found = (run.details()[name] for run in self.runs)
        return Spread.of([value for value in found if value is not None])


def seed_groups(runs: Sequence[RunSummary]) -> list[SeedGroup]:
    """Return the runs in groups that differ in the seed alone: not in net, choices, data or target.

    A run that has not ended is a group of its own, and so is one whose seed the group already has. The
    runs of a group are in the order of their seeds: those of a sweep start in any order.
    """
    groups: dict[str, list[RunSummary]] = {}
    again: Counter[str] = Counter()
    for run in runs:
        key = {**choices_of(run), "text of net": run.text, "data of": run.facts.data.get("sha256")}
        key["unfinished"] = None if run.has_ended else str(run.path)
        equal = json.dumps(key, sort_keys=True, default=str)
        again[equal] += 1
        key |= {"seed": None, "repeated": again[equal]}
        groups.setdefault(json.dumps(key, sort_keys=True, default=str), []).append(run)
    return [SeedGroup(tuple(sorted(group, key=_seed))) for group in groups.values()]


def _seed(run: RunSummary) -> int:
    seed = run.facts.options.get("seed")
    return seed if isinstance(seed, int) else -1


def matters(option: str) -> bool:
    """Return True if an option affects the result of a run."""
    if option not in OPTIONS:
        return True
    return option != "out" and OPTIONS[option].on_resume in ("fixed", "said")


def differing(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """Return the training choices in which runs differ, by name, with a value for each run.

    Options of which each run has the default of its own optimizer, schedule or loss are left out.
    """
    choices = [
        {**choices_of(run), "net": name} for run, name in zip(runs, _nets(runs), strict=True)
    ]
    unsaid = [choice_defaults(run.facts.options) for run in runs]
    names = dict.fromkeys(name for choice in choices for name in choice)
    table = {name: [choice.get(name) for choice in choices] for name in names}
    return {
        name: values
        for name, values in table.items()
        if any(v != values[0] for v in values)
        and any(v not in (None, u.get(name)) for v, u in zip(values, unsaid, strict=True))
    }


def _nets(runs: Sequence[RunSummary]) -> list[str]:
    """Return the names of nets; of one name with several texts, with the beginning of the digest."""
    texts: dict[str, set[str]] = {}
    for run in runs:
        texts.setdefault(run.facts.net, set()).add(run.text)
    return [
        run.facts.net if len(texts[run.facts.net]) == 1
        else f"{run.facts.net} ({run.text[:_DIGITS] or 'unknown'})"
        for run in runs
    ]  # fmt: skip


def choices_of(run: RunSummary) -> dict[str, Any]:
    """Return what was chosen for a run, by name: an argument `depth` of its net is `set depth`."""
    facts = run.facts
    options = {name: value for name, value in facts.options.items() if value is not None}
    options = {**dict.fromkeys(facts.options), **choice_defaults(facts.options), **options}
    before = {
        f"{name} until step {step}": value
        for step, changed in facts.before.items()
        for name, value in changed["options"].items()
    }
    return (
        {"net": facts.net, "target": facts.target}
        | {f"set {name}": value for name, value in facts.arguments.items()}
        | {name: value for name, value in options.items() if matters(name)}
        | before
    )
