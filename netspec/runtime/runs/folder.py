"""A run on disk: its folder, which is created as a whole, and the files in it.

run.json                what it was started with: the net, all options, the data, the versions
net/                    the .net file and what it imports
tokenizer.json          the tokenizer of its text, if it has one
recipe.toml             the training choices as they were resolved, to be used again
checkpoints/            last, previous (states to go on from), best (weights)
metrics.jsonl, log.txt  what happened
weights.safetensors     the weights that it ended with
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from netspec import codes
from netspec.compiler.elaborate.written import Written
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import holds, kind_of, open_own, read_regular
from netspec.files.run_facts import RUN_FACTS
from netspec.kernels.parallel import MOST_THREADS
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.runs.folder_lock import FolderLock
from netspec.runtime.runs.metrics import NAME as METRICS
from netspec.runtime.runs.option_types import is_name, problem
from netspec.runtime.runs.options import OPTIONS, TARGETS
from netspec.runtime.runs.recipe import as_constant, is_constant
from netspec.runtime.runs.recipe_place import RECIPE
from netspec.runtime.weights.atomic_write import (
    clear_parts,
    sync_folder,
    told_plainly,
    write_all,
    write_durably,
)
from netspec.runtime.weights.weights_file import RUN_WEIGHTS

FACTS, LOG, WEIGHTS = RUN_FACTS, "log.txt", RUN_WEIGHTS
TOKENIZER = "tokenizer.json"
NET, CHECKPOINTS = "net", "checkpoints"
FORMAT = 1
# What must be files of the run's own, if they are there.
_OWN = (FACTS, RECIPE, LOG, METRICS, WEIGHTS, TOKENIZER)
# The facts of a run take 2 KB, and parsed JSON takes twenty times as much memory as its text.
MAX_FACTS = 1 << 20
_STEP = re.compile(r"[0-9]{1,18}")
# A log or metrics that are hard links are copied through the memory.
_MAX_COPIED = 1 << 28
# An argument of a net may be a list of lists.
MAX_NESTING = 40
# Names, paths and words of a run, and the names in its tables, are shown in tables and messages; the
# longest path that a system takes is as long.
MAX_WORD = 4096
# The number of images whose pixels represent those of a whole data set.
_LOOKED_AT = 512


@dataclass(frozen=True)
class Facts:
    """What a run was started with: the contents of `run.json`.

    Attributes:
        target: one of `TARGETS`.
        net: The net's name.
        file: The `.net` file, below `net/`.
        written_as: Its name on the command line.
        arguments: Arguments of the net.
        options: A value for every training option, by name.
        data: The fingerprint of the data set.
        threads: How many threads were used.
        processes: How many processes shared each batch.
        versions: The versions of installed packages.
        started: The time, in ISO 8601.
        recipe: The recipe that was used; empty without.
        started_in: The folder that its relative paths start from; empty if unknown.
        before: What options were before a resumption changed them, by the number of the last step
            that was taken with them: the `epoch` of that step, and the `options` by name.
    """

    target: str
    net: str
    file: str
    written_as: str
    arguments: Mapping[str, Any]
    options: Mapping[str, Any]
    data: Mapping[str, Any]
    threads: int
    processes: int
    versions: Mapping[str, str]
    started: str
    recipe: str = ""
    started_in: str = ""
    before: Mapping[str, Any] = field(default_factory=dict)
    format: int = field(default=FORMAT)

    @property
    def constants(self) -> dict[str, Any]:
        """The arguments as constants of the language."""
        return {name: as_constant(value) for name, value in self.arguments.items()}


class RunFolder:
    """The folder of an existing run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def best(self) -> Path:
        """The weights of the best epoch."""
        return self.checkpoints / "best.safetensors"

    @property
    def weights(self) -> Path:
        """The final weights."""
        return self.path / WEIGHTS

    def final_weights(self) -> Path:
        """Return the file with the weights that the run ended with.

        Raises:
            NetspecError: `usage/weights` if the run has not finished.
        """
        if self.weights.is_file():
            return self.weights
        best = f", or give --weights {self.best}" if self.best.is_file() else ""
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS,
            f"{self.path} has not finished, and has no weights yet",
            f"continue it: netspec train --resume {self.path}{best}",
        )

    def facts(self) -> Facts:
        """Return what it was started with.

        Raises:
            NetspecError: `run/missing` if this is not a run, `run/damaged`.
        """
        path = self.path / FACTS
        if not path.is_file():
            reason = "it has no run.json" if self.path.is_dir() else "there is no such folder"
            raise NetspecError.simple(
                codes.RUN_MISSING,
                f"{self.path} is not a run: {reason}",
                "`netspec runs` lists the runs",
            )
        try:
            content = json.loads(read_regular(path, MAX_FACTS).decode("utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"it is of format {content['format']}, not {FORMAT}")
            facts = Facts(**content)
            _check(facts)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            text = str(error).splitlines() or [type(error).__name__]
            message = f"{path} is damaged: {text[0][:200]}"
            raise NetspecError.simple(codes.RUN_DAMAGED, message) from None
        return facts

    def net_file(self, facts: Facts) -> Path:
        """Return the path of the run's own copy of its net.

        Raises:
            NetspecError: `run/damaged` if the path leads out of the folder.
        """
        path = self.path / NET / facts.file
        if not os.path.realpath(path).startswith(os.path.realpath(self.path / NET) + os.sep):
            raise NetspecError.simple(
                codes.RUN_DAMAGED, f"{self.path / FACTS}: the net is elsewhere"
            )
        return path

    def write_files(self, files: Mapping[str, bytes]) -> None:
        """Replace files that describe a resumed run, each of them as a whole.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`.
        """
        for name, content in files.items():
            path = self.path / name
            if kind_of(path) != "file" or not holds(path, content):
                with told_plainly(path):
                    write_durably(path, content)

    def log(self, text: str) -> None:
        """Add lines to `log.txt`, with the time.

        Raises:
            NetspecError: `output/disk-full`, `output/unwritable`.
        """
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        lines = "".join(f"{now}  {line}\n" for line in text.splitlines())
        with told_plainly(self.path / LOG), open_own(self.path / LOG) as file:
            write_all(file, lines.encode("utf-8", "backslashreplace"))

    def check_own(self) -> None:
        """Check that all a run writes goes to its own files: the folder may come from anyone.

        Raises:
            NetspecError: `run/damaged` if one of them is a link, a FIFO or the like.
        """
        wanted = {self.path / name: "file" for name in _OWN}
        wanted[self.checkpoints] = "folder"
        for path, kind in wanted.items():
            _require_kind(path, kind)
        if kind_of(self.checkpoints) is not None:
            for path in self.checkpoints.iterdir():
                _require_kind(path, "file")

    def tidy(self) -> None:
        """Remove what a killed process left unfinished, and replace hard-linked files by copies.

        Raises:
            NetspecError: `run/damaged`, see `check_own`; `output/disk-full`, `output/unwritable`.
        """
        self.check_own()
        clear_parts(self.path)
        clear_parts(self.checkpoints)
        for path in (self.path / LOG, self.path / METRICS):  # appended to, not replaced
            if kind_of(path) is not None and path.lstat().st_nlink > 1:
                with told_plainly(path):
                    write_durably(path, read_regular(path, _MAX_COPIED))


def _require_kind(path: Path, wanted: str) -> None:
    kind = kind_of(path)
    if kind not in (None, wanted):
        raise NetspecError.simple(
            codes.RUN_DAMAGED,
            f"{path} is a {kind}, not a {wanted} of the run's own" if kind != "no file"
            else f"{path} is no file",
            "a run writes only to its own files: move it, or start a new run",
        )  # fmt: skip


def facts_text(facts: Facts) -> str:
    """Return the text of `run.json`. Bytes in file names that are not UTF-8 become JSON escapes."""
    text = json.dumps(asdict(facts), indent=1, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode()


def make_run(path: Path, files: Mapping[str, bytes]) -> FolderLock:
    """Create the folder of a run with these files, all of it or nothing.

    Args:
        path: The path; an existing folder must be empty.
        files: Contents by path below it.

    Returns:
        The lock of the folder, which is held since before the folder got its name, so that no other
        process can resume the run.

    Raises:
        NetspecError: `output/unwritable`, `output/disk-full`; `run/exists`.
    """
    with told_plainly(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_unfinished(path)
        part, lock = _unfinished(path)
        try:
            for name, content in files.items():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                    raise ValueError(f"{name} does not lie below a run")
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                write_durably(part / name, content)
            _put_in_place(part, path)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            lock.release()
            raise
        sync_folder(path.parent)
    return lock


def _clear_unfinished(path: Path) -> None:
    """Remove what killed processes left of this run; folders that are being created are locked."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        try:
            lock = FolderLock(part)
        except NetspecError:
            continue
        if lock.held:
            shutil.rmtree(part, ignore_errors=True)
        lock.release()


def _unfinished(path: Path) -> tuple[Path, FolderLock]:
    """Create a temporary folder beside `path`; returns it and its lock."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        part.mkdir()
        try:
            lock = FolderLock(part)
        except NetspecError:
            continue  # another process took it for the remains of a killed one
        if part.is_dir():
            return part, lock
        lock.release()


def _put_in_place(part: Path, path: Path) -> None:
    """Rename a folder, unless something exists under the name."""
    if path.is_dir():
        _require_empty(path)
        if os.name != "posix":  # on POSIX, renaming replaces an empty folder
            path.rmdir()
    try:
        part.rename(path)
    except OSError:
        if path.is_dir():
            _require_empty(path)  # another process was first
        raise


def check_place(path: Path) -> None:
    """Refuse now what could not be created after the data have been loaded.

    Raises:
        NetspecError: `run/exists`, `output/unwritable`.
    """
    if path.is_dir():
        _require_empty(path)
    if path.is_symlink():
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, f"cannot make {path}: it is a link")
    if path.exists() and not path.is_dir():
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, f"cannot make {path}: it is a file")
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise NetspecError.simple(
            codes.OUTPUT_UNWRITABLE, f"cannot make {path}: {above} is read-only"
        )


def _require_empty(path: Path) -> None:
    if any(path.iterdir()):
        run = (path / FACTS).exists()
        raise NetspecError.simple(
            codes.RUN_EXISTS,
            f"{path} holds a run" if run else f"{path} holds other files",
            f"continue it: netspec train --resume {path}; or name another folder with --out"
            if run
            else "name another folder with --out",
        )


def free_name(net: str, folder: Path = Path("runs")) -> Path:
    """Return `runs/<net>-<time>`, with a number appended if that exists."""
    stem = f"{net}-{time.strftime('%Y%m%d-%H%M%S')}"
    path, number = folder / stem, 2
    while path.exists():
        path, number = folder / f"{stem}-{number}", number + 1
    return path


@contextmanager
def reserved_name(net: str, folder: Path = Path("runs")) -> Iterator[Path]:
    """Context manager: reserve a `free_name` by an empty folder, removed if still empty at the end.

    Raises:
        NetspecError: `output/disk-full`, `output/unwritable`.
    """
    made = None if folder.exists() else folder
    path = free_name(net, folder)
    with told_plainly(path):
        folder.mkdir(parents=True, exist_ok=True)
        while not _make(path):
            path = free_name(net, folder)
    try:
        yield path
    finally:
        with contextlib.suppress(OSError):
            path.rmdir()
            if made is not None:
                made.rmdir()


def _make(path: Path) -> bool:
    """Make a folder; returns False if it exists."""
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True


# ------------------------------------------------------------------------------- what it is made of


def net_files(written: Written) -> tuple[str, dict[str, bytes]]:
    """Return the `.net` file and its imports: the path of the file, and contents by path.

    Each file is once in the copy, at its place in the tree of the net, and the copy needs no links.
    """
    modules = written.module.modules()
    files = {str(module.place): module.text_without_links().encode() for module in modules}
    return str(written.module.place), files


def fingerprint(data: Dataset) -> dict[str, Any]:
    """Return what identifies a data set, however large it is: sizes, labels and some images."""
    total = hashlib.sha256()
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        total.update(f"{x.shape} {x.dtype}".encode())
        total.update(np.ascontiguousarray(y, "<i8").tobytes())
        some = min(len(x), _LOOKED_AT)
        for i in np.linspace(0, len(x) - 1, some).astype(int):
            total.update(np.ascontiguousarray(x[i]).tobytes())
    return {
        "name": data.name,
        "train": len(data.x_train),
        "test": len(data.x_test),
        "sha256": total.hexdigest(),
    }


def _check(facts: Facts) -> None:
    _check_kinds(facts)
    if not 1 <= facts.threads <= MOST_THREADS:
        raise ValueError(f"`threads` is not from 1 to {MOST_THREADS:,}")
    if not is_name(facts.file):
        raise ValueError("`file` cannot be the name of a file")
    for name, value in facts.arguments.items():
        if not is_constant(value):
            raise ValueError(f"the argument `{name[:MAX_WORD]}` is no constant of the language")
    for step, changed in facts.before.items():
        sound = isinstance(changed, dict) and isinstance(changed.get("options"), dict)
        if not (sound and type(changed.get("epoch")) is int and _STEP.fullmatch(step)):
            raise ValueError("`before` lacks a step, an epoch or options")
    for options in (facts.options, *(changed["options"] for changed in facts.before.values())):
        _check_options(options)
    if facts.target not in TARGETS:
        raise ValueError(f"`target` is none of {', '.join(TARGETS)}")


def _check_kinds(facts: Facts) -> None:
    for name, kind in Facts.__annotations__.items():
        wanted = dict if "Mapping" in kind else {"int": int, "str": str}[kind]
        if not isinstance(getattr(facts, name), wanted):
            raise ValueError(f"`{name}` is {type(getattr(facts, name)).__name__}")
        if not _is_flat(getattr(facts, name), MAX_NESTING):
            raise ValueError(f"`{name}` nests deeper than {MAX_NESTING}")
        # The arguments of a net may be texts, which are as long as somebody wrote them.
        named = list(facts.arguments) if name == "arguments" else getattr(facts, name)
        if any(len(word) > MAX_WORD for word in _words(named)):
            raise ValueError(f"`{name}` has more than {MAX_WORD:,} characters in a row")


def _check_options(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if (wrong := wrong_option(name, value)) is not None:
            raise ValueError(f"`{name}`: {wrong}")


def wrong_option(name: str, value: object) -> str | None:
    """Return why no run had this value of an option; None if one could, or there is no such option."""
    if name not in OPTIONS or _is_unset(name, value):
        return None
    found = problem(OPTIONS[name].kind, value)
    return None if found is None else found[0]


# Options that others are given in place of.
_REPLACED = frozenset(name for each in OPTIONS.values() for name in each.instead_of)


def _is_unset(name: str, value: object) -> bool:
    """Whether a run writes this down for an option that nobody gave, or that another replaces."""
    default = OPTIONS[name].default
    if value == []:
        return default in (None, (), [])
    return (value is default and value is False) or (
        value is None and (default is None or name in _REPLACED)
    )


def _words(value: object) -> Iterator[str]:
    """Yield the texts in lists and tables, and the names in tables."""
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict):
            yield from each
            left.extend(each.values())
        elif isinstance(each, list):
            left.extend(each)


def _is_flat(value: object, depth: int) -> bool:
    """Return True if lists and tables are nested at most this deep."""
    if not isinstance(value, list | dict):
        return True
    inside = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(_is_flat(item, depth - 1) for item in inside)
