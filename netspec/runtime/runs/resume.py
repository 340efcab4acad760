"""Resuming a run: what may differ, what must not, and what is reported."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.files.regular_file import holds, read_regular
from netspec.runtime.data.catalog import NAMES
from netspec.runtime.data.shard_names import is_shards, is_web
from netspec.runtime.data.vocabularies import tokenizer_file
from netspec.runtime.runs.checkpoint import Checkpoint, newest_checkpoint
from netspec.runtime.runs.choice_defaults import choice_defaults
from netspec.runtime.runs.folder import TOKENIZER, Facts, RunFolder, wrong_option
from netspec.runtime.runs.options import OPTIONS, keywords
from netspec.runtime.runs.resolve import Settings, resolve

MAX_NET = 1 << 24  # bytes of a `.net` file that is compared with a run's copy


@dataclasses.dataclass(frozen=True)
class Note:
    """A message to log before a run begins; `level` is one of `logging`'s."""

    text: str
    level: int = logging.INFO


@dataclasses.dataclass(frozen=True)
class Resumed:
    """A run to resume.

    Attributes:
        folder: Its folder.
        facts: What it was started with.
        settings: The settings that it continues with.
        checkpoint: The state that it continues from.
        notes: Notes to log: what differs, what is damaged.
    """

    folder: RunFolder
    facts: Facts
    settings: Settings
    checkpoint: Checkpoint
    notes: tuple[Note, ...]


def take_up(
    path: Path,
    given: Mapping[str, Any],
    target: str | None,
    arguments: Mapping[str, Any],
    net: str | None,
) -> Resumed:
    """Open a run to resume it.

    Args:
        path: Its folder.
        given: The options given on the command line, by name.
        target: The target given there.
        arguments: The arguments of the net given there.
        net: The name of the net given there.

    Raises:
        NetspecError: `run/missing`, `run/damaged`, `run/checkpoint`; `run/fixed` for each thing
            that must not differ.
    """
    folder = RunFolder(path)
    folder.check_own()
    facts = folder.facts()
    values = checked_options(folder, facts)
    wrong = [*_fixed(folder, facts, values, given, target, arguments, net)]
    if wrong:
        raise NetspecError(wrong)
    told = {n: v for n, v in given.items() if not is_same(values.get(n), v) and n != "out"}
    # What another schedule was told is not for the one that takes its place.
    stale = {o.name for choice in told for o in keywords(choice)} - {*given}
    own = {
        n: v
        for n, v in values.items()
        if n not in stale and (n in given or OPTIONS[n].on_resume != "forgotten")
    }
    known = {name: value for name, value in {**own, **told}.items() if value is not None}
    settings = dataclasses.replace(resolve(known), given=frozenset(told))
    checkpoint, damaged = newest_checkpoint(folder.checkpoints)
    notes = [Note(f"{text}; continuing from the one before", logging.WARNING) for text in damaged]
    notes += [
        Note(f"{name} differs from the run's: {shown(values.get(name))} -> {shown(value)}")
        for name, value in told.items()
        if OPTIONS[name].on_resume == "said"
    ]
    return Resumed(folder, facts, settings, checkpoint, tuple(notes))


def options_before(run: Resumed) -> dict[str, Any]:
    """Return what options were until the step from which a run goes on, and until earlier changes.

    Options that no step was taken with, or only steps that are lost, are left out.

    Returns:
        See `Facts.before`.
    """
    state = run.checkpoint.state
    step, at_epoch, done = (state.get(name) for name in ("step", "epoch", "done"))
    if not (isinstance(step, int) and isinstance(at_epoch, int) and isinstance(done, int)):
        return {}  # the state is refused where it is taken up
    epoch = at_epoch - (not done)
    known = {
        int(at): {**changed, "epoch": min(changed["epoch"], epoch)}
        for at, changed in sorted(run.facts.before.items(), key=lambda item: int(item[0]))
    }
    before: dict[int, dict[str, Any]] = {}
    for at, changed in known.items():
        before.setdefault(min(at, step), changed)
    now, usual = run.settings.values, choice_defaults(run.settings.values)
    options = {
        name: value
        for name, value in run.facts.options.items()
        if OPTIONS[name].on_resume == "said"
        and not is_same(value, now[name])
        and (value is not None or now[name] != usual.get(name))
    }
    if options and step:
        before.setdefault(step, {"epoch": epoch, "options": options})
    return {str(at): changed for at, changed in before.items()}


def checked_options(folder: RunFolder, facts: Facts) -> dict[str, Any]:
    """Return the options of a run; those missing in `run.json` have their defaults.

    Raises:
        NetspecError: `run/damaged`.
    """
    values = {}
    for name, value in facts.options.items():
        wrong = "there is no such option" if name not in OPTIONS else wrong_option(name, value)
        if wrong:
            message = f"{folder.path}/run.json is damaged: `{name}`: {wrong}"
            raise NetspecError.simple(codes.RUN_DAMAGED, message)
        values[name] = _located(facts, value) if name in ("data", "data-dir") else value
    return values


def tokens_of(run: Resumed) -> str:
    """Return the kind of tokens with which a resumed run reads its text: of a tokenizer's file, the
    run's own copy, else the file that it was started with.

    Raises:
        NetspecError: `run/damaged` if neither is there.
    """
    tokens: str = run.settings["tokens"]
    if tokenizer_file(tokens) is None:
        return tokens
    own = run.folder.path / TOKENIZER
    found = _located(run.facts, tokens)
    if own.is_file():
        return str(own)
    if not Path(found).expanduser().is_file():
        raise NetspecError.simple(
            codes.RUN_DAMAGED,
            f"{run.folder.path} has no {TOKENIZER}, and {found} is not there either",
            f"put the tokenizer that the run was started with back, as {own}",
        )
    return str(found)


def _located(facts: Facts, value: Any) -> Any:
    """Return a path of a run as seen from here: a relative path starts where the run was started."""
    if not isinstance(value, str) or value in NAMES or facts.started_in in ("", str(Path.cwd())):
        return value
    if is_web(value):
        return value
    place = Path(facts.started_in) / value
    there = place.parent.is_dir() if is_shards(value) else place.exists()
    return str(place) if there else value


def _fixed(
    folder: RunFolder,
    facts: Facts,
    values: Mapping[str, Any],
    given: Mapping[str, Any],
    target: str | None,
    arguments: Mapping[str, Any],
    net: str | None,
) -> Iterator[Diagnostic]:
    """Yield what was requested but cannot be changed."""
    if target not in (None, facts.target):
        yield _refusal("the target", facts.target, target)
    if net not in (None, facts.net):
        yield _refusal("--net", facts.net, net)
    for name, value in arguments.items():
        before = facts.arguments.get(name)
        if not is_same(before, value):
            yield _refusal(f"--set {name}", before, value)
    for name, value in given.items():
        before = str(folder.path) if name == "out" else values.get(name)
        same = is_same(before, value) or (name == "out" and Path(value) == folder.path)
        if OPTIONS[name].on_resume == "fixed" and not same:
            yield _refusal(f"--{name}", before, value)


def _refusal(what: str, before: Any, now: Any) -> Diagnostic:
    message = f"{what} cannot change when a run is resumed: it is {shown(before)}, not {shown(now)}"
    return Diagnostic(codes.RUN_FIXED, message, hints=(Hint("start a new run"),))


def check_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Check that the images are those that a run was started with.

    Args:
        before: The `fingerprint` of those.
        now: The `fingerprint` of the current images.

    Raises:
        NetspecError: `run/data-changed`.
    """
    if before.get("sha256") != now["sha256"]:  # a file may have been renamed
        what = [key for key in ("name", "train", "test") if before.get(key) != now[key]]
        told = ", ".join(f"{key}: {shown(before.get(key))} -> {shown(now[key])}" for key in what)
        raise NetspecError.simple(
            codes.RUN_DATA_CHANGED,
            f"the data are not those of the run: {told or 'their numbers differ'}",
            "start a new run, from these weights if you like (--weights)",
        )


def processes_note(facts: Facts, processes: int) -> Note | None:
    """Return a note if another number of processes shares the batches than before.

    The steps are the same but for what a process does by itself.
    """
    if processes == facts.processes:
        return None
    return Note(
        f"the number of processes was {facts.processes} and is {processes}:"
        " dropout is drawn differently, and batch norm sees other shares unless it is synchronised"
    )


def check_source(facts: Facts, folder: RunFolder, files: Mapping[str, bytes]) -> None:
    """Check that a `.net` file is the same as when the run was started.

    Raises:
        NetspecError: `run/fixed`.
    """
    for name, content in files.items():
        kept = folder.path / "net" / name
        if not kept.is_file() or not holds(kept, content):
            raise NetspecError.simple(
                codes.RUN_FIXED,
                f"{name} has changed since the run was started",
                f"without FILE, the run's own copy is used: netspec train --resume {folder.path}",
            )


def changed_note(folder: RunFolder, facts: Facts) -> Note | None:
    """Return a note if the file that a run was started with is another now; its own copy is used."""
    beside = Path(facts.started_in) / facts.written_as
    try:
        content, kept = (read_regular(p, MAX_NET) for p in (beside, folder.net_file(facts)))
    except OSError:
        return None  # it was moved, or belongs to another machine
    if _without_imports(content) == _without_imports(kept):
        return None
    return Note(
        f"note: {facts.written_as} has changed since the run was started, and the run's own copy of it"
        " is used: a changed net is trained in a new run"
    )


def _without_imports(content: bytes) -> list[bytes]:
    """Return the lines of a `.net` file. Those with its imports name other places in a run's copy."""
    return [line for line in content.splitlines() if not line.startswith(b"from ")]


def version_notes(facts: Facts, now: Mapping[str, str]) -> list[Note]:
    """Yield notes on packages whose version has changed since the run was started."""
    return [
        Note(f"{name} was {facts.versions[name]} and is {version}: the last bits may differ")
        for name, version in now.items()
        if facts.versions.get(name, version) != version
    ]


def is_same(before: Any, now: Any) -> bool:
    """Return True if two values of an option are equal; a list may equal a tuple."""

    def plain(value: Any) -> Any:
        return [plain(item) for item in value] if isinstance(value, list | tuple) else value

    return bool(plain(before) == plain(now)) and type(plain(before)) is type(plain(now))


# So much of a value is shown, in items and in characters.
_SHOWN = 80


def shown(value: Any) -> str:
    """Format a value of an option for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value[:_SHOWN])) or "nothing"
    return str(value)[:_SHOWN]
