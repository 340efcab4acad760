"""Runs what has not ended of a sweep: the runs of a grid, or trials that are drawn one by one."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from netspec.cli.common import tell
from netspec.cli.measure_text import measure_texts
from netspec.cli.sweep_processes import Command, Processes, places_for
from netspec.diagnostics import plural
from netspec.kernels.parallel import available
from netspec.runtime.runs.listing import summarize_run
from netspec.runtime.runs.metrics import NAME as METRICS
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.runs.sweeps.search_draws import Draws
from netspec.runtime.runs.sweeps.search_table import Search
from netspec.runtime.runs.sweeps.sweep_file import MEASURES, Member, SweepFile, flags
from netspec.runtime.runs.sweeps.sweep_folder import SweepFolder
from netspec.text.printable import printable

# How long, and how often, it is looked whether the processes of a killed sweep have ended.
_PATIENCE, _PAUSE = 60.0, 0.1
# Seconds between two looks at the metrics of trials, where there is a pruner.
_LOOK = 0.5


class Runner:
    """Runs the members of a sweep that have not ended.

    Args:
        sweep: The sweep.
        folder: Its folder.
        net: The `.net` file.
        jobs: How many runs at once; None for as many as there are GPUs or cores.

    Attributes:
        members: Those that are known.
        failed: The names of those that failed.
    """

    def __init__(self, sweep: SweepFile, folder: SweepFolder, net: Path, jobs: int | None) -> None:
        self.members: list[Member] = []
        self.failed: set[str] = set()
        self._sweep, self._folder, self._net = sweep, folder, net
        self._places = places_for(jobs, sweep.target, sweep.fixed.values.get("device"))
        self._threads = max(1, available() // len(self._places))
        self._total = self._ended = 0
        self._pruned: set[str] = set()
        self._next_look = 0.0

    def run_grid(self, members: Sequence[Member], stop: Callable[[], bool]) -> None:
        """Run those of a grid that have not ended, until it is asked to stop."""
        self.members = [*members]
        queue = deque(self._begin(len(members), stop))
        self._run(lambda: queue.popleft() if queue else None, self._take_note, stop)

    def run_search(self, search: Search, stop: Callable[[], bool]) -> None:
        """Take up the trials that there are, and draw the others, until it is asked to stop."""
        kept = self._folder.trials(search)
        draws = Draws(
            search,
            maximize=MEASURES[self._sweep.measure],
            before=len(kept),
            parallel=len(self._places) > 1,
        )
        trials: list[list[Member]] = []
        for choices in kept:
            draws.repeat(len(trials), choices)
            trials.append(self._sweep.trial(len(trials), choices))
            self.members += trials[-1]
        seeds = len(self._sweep.varied.get(("seed",), ())) or 1
        queue = deque(self._begin(max(search.trials, len(kept)) * seeds, stop))
        number_of = {member.name: i for i, trial in enumerate(trials) for member in trial}
        for number in range(len(trials)):
            self._tell(draws, number, trials[number])

        def take() -> Member | None:
            if not queue and len(trials) < search.trials:
                number = len(trials)
                choices = draws.draw(number)
                self._folder.write_trial(number, choices)
                trials.append(self._sweep.trial(number, choices))
                self.members += trials[-1]
                number_of.update((member.name, number) for member in trials[-1])
                queue.extend(trials[-1])
            return queue.popleft() if queue else None

        def take_note(member: Member, code: int) -> None:
            self._take_note(member, code)
            number = number_of[member.name]
            self._tell(draws, number, trials[number])

        self._run(
            take, take_note, stop, lambda running: self._worth_no_more(draws, number_of, running)
        )

    def _worth_no_more(
        self, draws: Draws, number_of: Mapping[str, int], running: Sequence[Member]
    ) -> list[Member]:
        """Tell the search how the running trials do, now and then; returns those it gives up."""
        search, now = self._sweep.search, time.monotonic()
        if search is None or not search.pruner or now < self._next_look:
            return []
        self._next_look = now + _LOOK
        found = []
        for member in running:
            if member.name not in self._pruned and self._report(
                draws, number_of[member.name], member
            ):
                self._pruned.add(member.name)
                found.append(member)
        return found

    def _report(self, draws: Draws, number: int, member: Member) -> bool:
        """Tell the search what a trial came to after each epoch; returns whether it is given up."""
        path = self._folder.path / member.name
        if not (path / METRICS).is_file():
            return False
        by, worth = self._sweep.measure, True
        for line in read_metrics(path):
            if line["kind"] == "epoch" and by in line:
                worth = not draws.report(number, line["epoch"], line[by])
        return not worth

    def _tell(self, draws: Draws, number: int, trial: Sequence[Member]) -> None:
        """Tell the search what a trial came to, if all of its runs have ended."""
        ends = [self._folder.end(m) or ("failed" if m.name in self.failed else None) for m in trial]
        if None in ends:
            return
        for member in trial:
            if self._sweep.search is not None and self._sweep.search.pruner:
                self._report(draws, number, member)
        if "pruned" in ends:
            draws.prune(number)
            return
        by = self._sweep.measure
        scores = [summarize_run(self._folder.path / member.name).details()[by]
                  for member, end in zip(trial, ends, strict=True) if end == "done"]  # fmt: skip
        whole = len(scores) == len(trial) and None not in scores
        draws.tell(number, fmean(scores) if whole else None)

    def _begin(self, total: int, stop: Callable[[], bool]) -> list[Member]:
        """Say what there is, and return those known members that have not ended."""
        left = [member for member in self.members if self._folder.end(member) is None]
        self._total, self._ended = total, len(self.members) - len(left)
        done = f", {self._ended} of them ended before" if self._ended else ""
        at_once = min(total - self._ended, len(self._places))
        now = f"{at_once} at once" if at_once else "nothing is left to do"
        tell(f"{plural(total, 'run')} in {self._folder.path}{done}; {now}")
        self._wait_for_others(left, stop)
        return left

    def _wait_for_others(self, left: Iterable[Member], stop: Callable[[], bool]) -> None:
        """Wait until the processes of a sweep that was killed have saved their runs."""
        end = time.monotonic() + _PATIENCE
        for member in left:
            while self._folder.is_in_use(member) and time.monotonic() < end and not stop():
                time.sleep(_PAUSE)

    def _run(
        self,
        take: Callable[[], Member | None],
        take_note: Callable[[Member, int], None],
        stop: Callable[[], bool],
        given_up: Callable[[Sequence[Member]], Sequence[Member]] = lambda jobs: (),  # noqa: ARG005
    ) -> None:
        Processes(self._places, self._command, take_note).run(take, stop, given_up)

    def _command(self, member: Member) -> Command:
        given = flags(member.recipe)
        if "threads" not in member.recipe.values:
            given.append(f"--threads={self._threads}")
        recipe = self._folder.recipe(member)
        out = self._folder.path / member.name
        words = ["train", self._sweep.target, str(self._net), "--recipe", str(recipe), "--out", str(out),
                 "--restartable", *given]  # fmt: skip
        return Command(words, self._folder.log(member))

    def _reason(self, member: Member, code: int) -> str:
        """Return why a run failed: the signal that ended it, or what it said last."""
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        return printable(self._folder.reason(member) or f"exit code {code}")

    def _take_note(self, member: Member, code: int) -> None:
        self._ended += 1
        end = self._folder.ended(member, code, pruned=member.name in self._pruned)
        if end == "done":
            by = self._sweep.measure
            value = summarize_run(self._folder.path / member.name).details()[by]
            told = f"{by} {measure_texts(by, [value])[0]}"
        elif end in ("diverged", "pruned"):
            told = end
        else:
            self.failed.add(member.name)
            told = f"failed: {self._reason(member, code)}; see {self._folder.log(member)}"
        tell(f"[{self._ended}/{self._total}] {member.name}: {told}")
