"""Files of ops outside the package, which `use` names.

A `.net` file alone never runs code. Its `use "my_ops.py"` says only where its ops come from; the
file is run by `load_ops`, which the command line's `--ops my_ops.py` or a Python program calls. An
installed package that declares ops, under the entry point group `netspec.ops`, was allowed to run by
whoever installed it, and is imported when a `use` names it.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.ir.op import Op, missing_members
from netspec.compiler.ops import registry
from netspec.compiler.parse.tables import load_tables
from netspec.diagnostics import Diagnostic, NetspecError, Source, suggest
from netspec.files.regular_file import read_regular
from netspec.records import record

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "netspec.ops"
"""The entry point group of installed packages of ops."""

_OP_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PACKAGE = "netspec.compiler."
# No file of ops that a person wrote is larger.
_MAX_BYTES = 1 << 24


@record
class OpFile:
    """The ops of one file or of one installed package, by name.

    Attributes:
        name: how `use` names it: the name of the file, or that of the entry point.
    """

    name: str
    ops: Mapping[str, type[Op]]


@record
class _Loaded:
    path: Path
    content: bytes
    file: OpFile


_lock = threading.RLock()
_loaded: dict[str, _Loaded] = {}
_packages: dict[str, OpFile] = {}


def load_ops(path: str | Path) -> OpFile:
    """Run a Python file that defines ops, so that `.net` files can `use` them.

    It runs once; again if its content has changed. Nets that were checked before keep the ops that
    they have.

    Args:
        path: the file, written as `docs/add-an-op.md` says; it may define several ops.

    Raises:
        NetspecError: `file/unreadable`; `use/file` if it fails, if it defines no op or a bad one, or
            if another file of the same name was loaded.
    """
    given = Path(path)
    content = _read(given)
    resolved = Path(os.path.realpath(given))
    name = resolved.name
    with _lock:
        earlier = _loaded.get(name)
        if earlier is not None and earlier.path != resolved:
            message = f"{given}: ops of another file `{name}` are loaded, {earlier.path}"
            raise NetspecError.simple(
                codes.USE_FILE, message, "`use` names a file without its folder: rename one of them"
            )
        if earlier is None or earlier.content != content:
            file = OpFile(name, _run(given, resolved, content))
            _loaded[name] = _Loaded(resolved, content, file)
        return _loaded[name].file


class Installed:
    """The installed packages that declare ops; they are looked for once, which takes time."""

    @cached_property
    def entries(self) -> Mapping[str, EntryPoint]:
        """Their entry points, by name."""
        from importlib.metadata import entry_points

        found: dict[str, EntryPoint] = {}
        for entry in entry_points(group=GROUP):
            found.setdefault(entry.name, entry)
        return found


def op_file(name: str, installed: Installed | None = None) -> OpFile | None:
    """Return the loaded file, or the installed package, that `use "NAME"` means; None if there is
    none.

    Raises:
        NetspecError: `use/file` for a package whose ops cannot be loaded.
    """
    with _lock:
        if name in _loaded:
            return _loaded[name].file
        if name.endswith(".py"):
            return None
        if name not in _packages:
            ops = _package_ops(name, installed or Installed())
            if ops is None:
                return None
            _packages[name] = OpFile(name, ops)
        return _packages[name]


def offering(op: str) -> str | None:
    """Return the name of a loaded file or package that has an op of this name."""
    with _lock:
        known = [*(each.file for each in _loaded.values()), *_packages.values()]
    return next((file.name for file in known if op in file.ops), None)


def meant_by(name: str, installed: Installed) -> str | None:
    """Return the name of a loaded file or an installed package that is close to a name."""
    with _lock:
        known = [*_loaded, *installed.entries]
    return suggest(name, known)


def op_failure(error: Exception | SystemExit) -> Diagnostic | None:
    """Return the error for an exception of the code of somebody's own op, at the line that failed.

    Returns:
        None if it passed through no file of ops.
    """
    from traceback import extract_tb

    homes: dict[str, str] = {}
    with _lock:
        for file in (*(each.file for each in _loaded.values()), *_packages.values()):
            modules = {sys.modules[op.__module__] for op in file.ops.values()}
            homes |= dict.fromkeys((str(module.__file__) for module in modules), file.name)
    for frame in reversed(extract_tb(error.__traceback__)):
        if frame.filename in homes:
            path = Path(frame.filename)
            with suppress(OSError):  # it may be gone
                return _failure(error, Path(homes[frame.filename]), path, path.read_bytes())
    return None


def place_in_ops(error: Exception | SystemExit) -> str:
    """Return where in a file of ops an exception comes from, such as ` (my_ops.py:12)`, or ``."""
    found = op_failure(error)
    return "" if found is None or found.span is None else f" ({found.span.where})"


def _read(path: Path) -> bytes:
    if path.suffix != ".py":
        message = f"{path}: a file of ops is a Python file, whose name ends in .py"
        raise NetspecError.simple(codes.USE_FILE, message)
    try:
        return read_regular(path, _MAX_BYTES)
    except OSError as error:
        reason = error.strerror or error
        raise NetspecError.simple(codes.FILE_UNREADABLE, f"cannot read {path}: {reason}") from None


def _run(shown: Path, path: Path, content: bytes) -> Mapping[str, type[Op]]:
    """Execute a file that the user has allowed to run, and return its ops."""
    module = ModuleType(f"netspec_op_file_{path.stem}")
    module.__file__ = str(path)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for it
    try:
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
        return _ops_of(module, shown.name)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[module.__name__]
        else:
            sys.modules[module.__name__] = before
        if isinstance(error, NetspecError):
            raise
        raise NetspecError([_failure(error, shown, path, content)]) from error


def _failure(error: BaseException, shown: Path, path: Path, content: bytes) -> Diagnostic:
    """Return the error of a file of ops that raised, at its own line that was running."""
    from traceback import extract_tb

    message = f"{shown} fails: {_reason(error)}"
    source = Source(str(shown), content.decode("utf-8", "replace"))
    frames = extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    if isinstance(error, SyntaxError) and error.filename == str(path):
        lines.append(error.lineno)
    if not lines or lines[-1] is None or lines[-1] > source.text.count("\n") + 1:
        return Diagnostic(codes.USE_FILE, message)
    return Diagnostic(codes.USE_FILE, message, source.line_span(lines[-1]))


def _reason(error: BaseException) -> str:
    from traceback import format_exception_only

    return format_exception_only(error)[-1].strip()


def _package_ops(name: str, installed: Installed) -> Mapping[str, type[Op]] | None:
    entry = installed.entries.get(name)
    if entry is None:
        return None
    try:
        loaded = entry.load()
    except Exception as error:
        message = f"the installed package of ops `{name}` fails: {_reason(error)}"
        raise NetspecError.simple(codes.USE_FILE, message) from error
    if not isinstance(loaded, ModuleType):
        message = f"the entry point `{name}` of {GROUP} is no module: {entry.value}"
        raise NetspecError.simple(codes.USE_FILE, message)
    return _ops_of(loaded, name)


def _ops_of(module: ModuleType, name: str) -> Mapping[str, type[Op]]:
    """Return the ops among the names of a module: the classes with `@register`.

    Raises:
        NetspecError: `use/file`.
    """
    ops: dict[str, type[Op]] = {}
    for cls in _registered(vars(module).values()):
        if (problem := _problem(cls, ops)) is not None:
            raise NetspecError.simple(codes.USE_FILE, f"{name}: {cls.__name__} {problem}")
        ops[cls.name] = cls
    if not ops:
        message = f"{name} defines no op: no class with `@register`"
        raise NetspecError.simple(codes.USE_FILE, message)
    return ops


def _registered(values: Iterable[object]) -> list[type[Op]]:
    classes = [value for value in values if isinstance(value, type) and issubclass(value, Op)]
    return [
        cls
        for cls in dict.fromkeys(classes)  # one class can have two names
        if "__dataclass_params__" in vars(cls) and not cls.__module__.startswith(_PACKAGE)
    ]


def _problem(cls: type[Op], others: Mapping[str, type[Op]]) -> str | None:
    """Return why a class cannot be an op of a file."""
    name = getattr(cls, "name", None)
    if not isinstance(name, str) or not _OP_NAME.fullmatch(name):
        return "needs a `name` of small letters, digits and `_`, the word in a `.net` file"
    if missing := missing_members(cls):
        return f"needs {', '.join(f'`{member}`' for member in missing)}"
    if name in registry():
        return f"is called `{name}`, like one of netspec's own ops"
    if name in load_tables().keywords.get("NAME", {}):
        return f"is called `{name}`, a keyword of the language"
    if name in others:
        return f"is called `{name}`, like {others[name].__name__}"
    return None
