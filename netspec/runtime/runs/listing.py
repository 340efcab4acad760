"""What runs there are, and how they compare: from what they remember, without their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.runs.folder import FACTS, Facts, RunFolder
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.runs.options import OPTIONS

# What tells the best epoch, from so many measurements on: test images are mostly looked at once.
_JUDGES = {"val": 1, "test": 2, "train": 1}


@dataclass(frozen=True)
class RunSummary:
    """A run in a few numbers.

    Attributes:
        path: Its folder.
        facts: What it was started with.
        epochs: How many epochs are over.
        last: What the lines of metrics of these, and of the result, said last, by key; empty before
            the first.
        best: The epoch with the best accuracy; None before one was measured.
        best_by: Whose accuracy that is: `val`, else `test` where it was measured more than once, else
            `train`.
    """

    path: Path
    facts: Facts
    epochs: int
    last: Mapping[str, Any]
    best: int | None
    best_by: str | None

    def row(self) -> dict[str, Any]:
        """Its line in a table: plain values, None for what is not known."""
        return {
            "run": str(self.path),
            "net": self.facts.net,
            "target": self.facts.target,
            "data": self.facts.options.get("data"),
            "epochs": f"{self.epochs}/{self.facts.options.get('epochs', '?')}",
            "loss": self.last.get("loss"),
            "train": self.last.get("train"),
            "val": self.last.get("val"),
            "test": self.last.get("test"),
            "best": self.best,
            "best_by": self.best_by,
            "seconds": self.last.get("seconds"),
            "started": self.facts.started,
        }

    def details(self) -> dict[str, Any]:
        """Its line for programs: with the rate and the seed."""
        options = self.facts.options
        return {**self.row(), "lr": options.get("lr"), "seed": options.get("seed")}


def summarize_run(path: Path) -> RunSummary:
    """A run in a few numbers.

    Raises:
        NetspecError: `run/missing`, `run/damaged`.
    """
    facts = RunFolder(path).facts()
    lines = [line for line in read_metrics(path) if line["kind"] in ("epoch", "result")]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    last = {key: value for line in lines for key, value in line.items()}
    by = next((part for part, least in _JUDGES.items() if _count(epochs, part) >= least), None)
    measured = [line for line in epochs if by in line]
    best = max(measured, key=lambda line: line[by])["epoch"] if by is not None else None
    return RunSummary(path, facts, len(epochs), last, best, by)


def _count(lines: Sequence[Mapping[str, Any]], part: str) -> int:
    return sum(part in line for line in lines)


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """The runs among folders: each of them, or else those right below it. What is none is stepped over.

    Raises:
        NetspecError: `run/missing` where there is none at all.
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


def matters(option: str) -> bool:
    """Whether it has a say in what comes of a run."""
    if option not in OPTIONS:
        return True
    return option != "out" and OPTIONS[option].on_resume in ("fixed", "said")


def differing(runs: Sequence[RunSummary]) -> dict[str, list[Any]]:
    """The training choices in which runs differ, by name: a value for each run."""
    choices = [
        {"net": run.facts.net, "target": run.facts.target}
        | {f"set {name}": value for name, value in run.facts.arguments.items()}
        | {name: value for name, value in run.facts.options.items() if matters(name)}
        for run in runs
    ]
    names = dict.fromkeys(name for choice in choices for name in choice)
    table = {name: [choice.get(name) for choice in choices] for name in names}
    return {name: values for name, values in table.items() if any(v != values[0] for v in values)}
