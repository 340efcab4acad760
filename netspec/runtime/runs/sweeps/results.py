"""What came out of a sweep: a row for each combination, over its seeds, the best first."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netspec.runtime.runs.listing import MEASURED, SeedGroup, Spread, summarize_run
from netspec.runtime.runs.sweeps.sweep_file import MEASURES, SEED, Member
from netspec.runtime.runs.sweeps.sweep_folder import SweepFolder

# What a run is that has not ended.
UNFINISHED = "unfinished"
# What is counted of each net.
COUNTED = ("params", "macs")


@dataclass(frozen=True)
class Row:
    """Runs of a sweep that differ in the seed alone.

    Attributes:
        choices: What is varied, but for the seed, by its name.
        facts: Those of the net, `COUNTED`; none if it is faulty with these choices.
        group: Those that are done.
        ends: How many ended how: `done`, `diverged`, `failed`, `unfinished`.
    """

    choices: Mapping[str, Any]
    facts: Mapping[str, int]
    group: SeedGroup
    ends: Mapping[str, int]

    @property
    def is_whole(self) -> bool:
        """Whether all of its runs are done."""
        return set(self.ends) == {"done"}

    def score(self, by: str) -> Spread | None:
        """Return what it is compared by, over the seeds."""
        return self.group.measure(by)

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs: choices, and mean and spread of each measure that there is."""
        found = {name: self.group.measure(name) for name in MEASURED}
        measures = {
            name: {"mean": s.mean, "spread": s.spread} for name, s in found.items() if s is not None
        }
        runs = [str(run.path) for run in self.group.runs]
        choices = dict(self.choices)
        return {
            "choices": choices,
            **dict(self.facts),
            "ends": dict(self.ends),
            "runs": runs,
            **measures,
        }


def rows_of(
    members: Iterable[Member],
    folder: SweepFolder,
    failed: set[str],
    by: str,
    facts: Callable[[Member], Mapping[str, int]],
) -> list[Row]:
    """Return the rows of a sweep: whole ones first, of these the best.

    Args:
        members: Its runs.
        folder: Where they are.
        failed: The names of those that failed.
        by: What they are compared by, see `MEASURES`.
        facts: Returns those of a run's net.

    Raises:
        NetspecError: `run/damaged`.
    """
    groups: dict[str, list[Member]] = {}
    for member in members:
        named = {"/".join(place): v for place, v in member.choices.items() if place != SEED}
        groups.setdefault(json.dumps(named, sort_keys=True, default=str), []).append(member)
    rows = [_row(group, folder, failed, facts(group[0])) for group in groups.values()]

    def order(row: Row) -> tuple[bool, bool, float]:
        score = row.score(by)
        value = 0.0 if score is None else -score.mean if MEASURES[by] else score.mean
        return score is None, not row.is_whole, value

    return sorted(rows, key=order)


def _row(
    group: list[Member], folder: SweepFolder, failed: set[str], facts: Mapping[str, int]
) -> Row:
    ends: Counter[str] = Counter()
    done = []
    for member in group:
        end = folder.end(member) or ("failed" if member.name in failed else UNFINISHED)
        ends[end] += 1
        if end == "done":
            done.append(summarize_run(folder.path / member.name))
    choices = {place[-1]: v for place, v in group[0].choices.items() if place != SEED}
    return Row(choices, facts, SeedGroup(tuple(done)), ends)
