"""The folder of a sweep: its runs, and beside them in `sweep/` what it was started with.

sweep/sweep.json   the options that all runs have, and the net
sweep/NAME.toml    the recipe of a run
sweep/NAME.end     how it ended, written when it has
sweep/NAME.log     what it said
sweep/trial-N.json what a trial of a search has chosen
NAME/              the run

Each of these files is written as a whole, so that a sweep can be killed at any moment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint, NetspecError, quoted
from netspec.files.regular_file import holds, kind_of, read_end, read_regular
from netspec.files.run_facts import RUN_FACTS
from netspec.runtime.runs.folder import LOG, MAX_FACTS, RunFolder, check_place, make_run
from netspec.runtime.runs.folder_lock import FolderLock
from netspec.runtime.runs.recipe import recipe_text
from netspec.runtime.runs.resume import shown
from netspec.runtime.runs.sweeps.search_table import Place, Search
from netspec.runtime.runs.sweeps.sweep_file import Member
from netspec.runtime.weights.atomic_write import clear_parts, told_plainly, write_durably

INSIDE = "sweep"
FACTS = "sweep.json"

# `done` has weights; `diverged` has none, and would diverge again; `pruned` was stopped by a search, as
# it was worse than others; `failed` may be tried again.
End = Literal["done", "diverged", "pruned", "failed"]
_FINAL = ("done", "diverged", "pruned")
_CHOICES = 1 << 16
# Of the log of a run that failed: the error is at its end.
_LOOKED_AT, _LINES = 4000, 4


class SweepFolder:
    """The folder of a sweep, which this process alone may change.

    Args:
        path: The folder; it is made if there is none, or an empty one.
        facts: What its runs have in common: if the folder has a sweep already, it must be this one.

    Raises:
        NetspecError: `run/in-use` if another process runs it; `run/exists` if it holds something
            else, `run/fixed` if another sweep; `run/damaged`; `output/...`.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        self.inside = path / INSIDE
        plain = json.loads(json.dumps(facts))
        if (self.inside / FACTS).is_file():
            self._lock = FolderLock(path)
            self._require(plain)
            clear_parts(self.inside)
        else:
            check_place(path)
            text = json.dumps(plain, indent=1) + "\n"
            self._lock = make_run(path, {f"{INSIDE}/{FACTS}": text.encode()})

    def _require(self, facts: Mapping[str, Any]) -> None:
        """Check that the folder has this sweep, and nothing but files of its own."""
        if kind_of(self.inside) != "folder" or any(
            kind_of(p) != "file" for p in self.inside.iterdir()
        ):
            message = f"{self.inside} holds what is no file of the sweep's own"
            raise NetspecError.simple(codes.RUN_DAMAGED, message)
        before = _read_json(self.inside / FACTS, MAX_FACTS)
        names = [name for name in {**before, **facts} if before.get(name) != facts.get(name)]
        if names:
            raise NetspecError([
                Diagnostic(
                    codes.RUN_FIXED,
                    f"{self.path} is a sweep with another {quoted(name)}: {shown(before.get(name))},"
                    f" not {shown(facts.get(name))}",
                    hints=(Hint("start another sweep: --out DIR"),),
                    notes=self._own_net() if name == "net" else (),
                )
                for name in names
            ])  # fmt: skip

    def _own_net(self) -> tuple[str, ...]:
        """Return a note on where the text of the sweep's net is: in the folder of any of its runs."""
        for place in sorted(self.path.glob(f"*/{RUN_FACTS}")):
            run = RunFolder(place.parent)
            with suppress(NetspecError):
                net = run.net_file(run.facts())
                if kind_of(net) == "file":
                    return (f"the net of the sweep is in {net}",)
        return ()

    def release(self) -> None:
        """Let other processes use the folder."""
        self._lock.release()

    def recipe(self, member: Member) -> Path:
        """Return the file of a run's recipe, which is written if it is not there."""
        path = self.inside / f"{member.name}.toml"
        about = f"A run of the sweep {member.recipe.name}."
        text = recipe_text(member.recipe.values, member.recipe.arguments, about).encode()
        self._write(path, text)
        return path

    def is_in_use(self, member: Member) -> bool:
        """Whether a process works on a run: one of this sweep, or of one that was just killed."""
        try:
            FolderLock(self.path / member.name).release()
        except NetspecError:
            return True
        return False

    def log(self, member: Member) -> Path:
        """Return the file of what a run says."""
        return self.inside / f"{member.name}.log"

    def end(self, member: Member) -> End | None:
        """Return how a run ended; None for one that is to be run, or to go on."""
        path = self.inside / f"{member.name}.end"
        if kind_of(path) != "file" or not (self.path / member.name / RUN_FACTS).is_file():
            return None
        text = read_regular(path, 100).decode("utf-8", "replace").strip()
        return next((e for e in get_args(End) if e == text and e in _FINAL), None)

    def ended(self, member: Member, code: int, *, pruned: bool = False) -> End:
        """Take note of how a run ended, by the exit code of its process."""
        end: End = "failed"
        if code == 0:
            end = "done"
        elif pruned:
            end = "pruned"
        elif self._diverged(member):
            end = "diverged"
        if end in _FINAL:
            self._write(self.inside / f"{member.name}.end", f"{end}\n".encode())
        return end

    def reason(self, member: Member) -> str | None:
        """Return the error that a run ended with, as the last one in what it said; None for none."""
        told = [line for line in _end_of(self.log(member)) if line.startswith("error[")]
        return told[-1] if told else None

    def _diverged(self, member: Member) -> bool:
        last = _end_of(self.path / member.name / LOG)[-_LINES:]
        return any(f"error[{codes.TRAIN_DIVERGED}]" in line for line in last)

    def write_trial(self, number: int, choices: Mapping[Place, Any]) -> None:
        """Take note of what a trial of a search has chosen, before it begins."""
        named = {"/".join(place): value for place, value in choices.items()}
        self._write(self._trial(number), (json.dumps(named) + "\n").encode())

    def trials(self, search: Search) -> list[dict[Place, Any]]:
        """Return the choices of the trials so far, in order.

        Raises:
            NetspecError: `run/damaged`.
        """
        found: list[dict[Place, Any]] = []
        while (path := self._trial(len(found))).is_file():
            try:
                found.append(search.choices(_read_json(path, _CHOICES)))
            except ValueError as error:
                message = f"{path} is damaged: {error}"
                raise NetspecError.simple(codes.RUN_DAMAGED, message) from None
        return found

    def _trial(self, number: int) -> Path:
        return self.inside / f"trial-{number:04}.json"

    def _write(self, path: Path, content: bytes) -> None:
        if kind_of(path) != "file" or not holds(path, content):
            with told_plainly(path):
                write_durably(path, content)


def _end_of(log: Path) -> list[str]:
    """Return the last lines of a log; none if it is no file."""
    if kind_of(log) != "file":
        return []
    return read_end(log, _LOOKED_AT).decode("utf-8", "replace").splitlines()


def _read_json(path: Path, most: int) -> dict[str, Any]:
    try:
        content = json.loads(read_regular(path, most).decode("utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no object")
    except (OSError, ValueError, RecursionError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise NetspecError.simple(codes.RUN_DAMAGED, f"{path} is damaged: {reason}") from None
    return content
