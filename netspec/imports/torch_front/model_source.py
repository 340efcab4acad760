"""Makes the PyTorch model that a command line names. This runs the Python code that it names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.diagnostics import NetspecError, suggest
from netspec.files.model_files import what_to_do
from netspec.runtime.models.torch_build import require_torch

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

_FUNCTION = "name a function without arguments that makes the model, as FILE.py:build"
_MODULE_NAME = "netspec_imported_model"


def load_program(path: Path) -> ExportedProgram:
    """Load what `torch.export.save` wrote. PyTorch unpickles it without restriction.

    Raises:
        NetspecError: `import/module`.
    """
    torch = require_torch()
    try:
        program: ExportedProgram = torch.export.load(path)
    except Exception as error:
        raise _failed(f"{path} cannot be loaded", error) from None
    return program


def require_settable(given: Sequence[str]) -> None:
    """Check that no setting of `NAME=VALUE` is a dict.

    Raises:
        NetspecError: `setting/value`.
    """
    for name, _, value in (text.partition("=") for text in given):
        if value.lstrip().startswith("{"):
            message = (
                f"`{name.strip()}` is a dict, and --set takes numbers, words and lists of them"
            )
            raise NetspecError.simple(codes.SETTING_VALUE, message, _FUNCTION)


def make_module(source: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return the model that `MODULE:NAME` or `FILE.py:NAME` names.

    Args:
        source: NAME is a module of PyTorch, or a class or function that gives one.
        arguments: what the class or the function is called with.

    Raises:
        NetspecError: `import/module`, also for what the code raises.
    """
    where, _, name = source.rpartition(":")
    if not where:
        help = what_to_do(source) or "FILE.py:CLASS, or MODULE:FACTORY"
        raise NetspecError.simple(codes.IMPORT_MODULE, f"{source} names no class or function", help)
    torch = require_torch()
    torch.manual_seed(0)  # the same weights each time, where none are loaded
    try:
        with _importable(Path(where).parent if where.endswith(".py") else Path()):
            found: Any = _run(Path(where)) if where.endswith(".py") else _imported(where)
            for part in _name_of(source, name).split("."):
                found = _member(source, found, part)
            if not isinstance(found, torch.nn.Module):
                _require_callable_with(source, found, arguments)
                found = found(**arguments)
    except NetspecError:
        raise
    except (Exception, SystemExit) as error:
        raise _failed(f"{source} cannot be made", error) from None
    if not isinstance(found, torch.nn.Module):
        message = f"{source} gives a {type(found).__name__}, and no torch.nn.Module"
        raise NetspecError.simple(codes.IMPORT_MODULE, message)
    return found


_CALL = re.compile(r"(?P<name>[\w.]+)\((?P<given>.*)\)", re.DOTALL)


def _name_of(source: str, name: str) -> str:
    """Return the name of a class or function.

    Raises:
        NetspecError: `import/module` if it is written as a call.
    """
    called = _CALL.fullmatch(name)
    if called is None:
        return name
    given = [part.strip().replace(" ", "") for part in called["given"].split(",") if part.strip()]
    options = "".join(f" --set {part if '=' in part else 'NAME=' + part}" for part in given)
    command = f"{source.removesuffix(name)}{called['name']}{options}"
    raise NetspecError.simple(
        codes.IMPORT_MODULE, f"{source} is a call, and a name is expected", f"write `{command}`"
    )


def _member(source: str, holder: object, name: str) -> Any:
    """Return what a module or a class calls so.

    Raises:
        NetspecError: `import/module` if there is nothing of that name.
    """
    try:
        return getattr(holder, name)
    except AttributeError:
        meant = suggest(name, [each for each in dir(holder) if not each.startswith("_")])
        raise NetspecError.simple(
            codes.IMPORT_MODULE, f"{source}: there is no `{name}`",
            f"did you mean `{meant}`?" if meant else None,
        ) from None  # fmt: skip


def _require_callable_with(source: str, found: object, arguments: Mapping[str, Any]) -> None:
    """Check that a class or a function takes arguments.

    Raises:
        NetspecError: `import/module` if it needs others, or has none of a name.
    """
    if not callable(found):
        return
    try:
        signature = inspect.signature(found)
    except (ValueError, TypeError):  # of some functions in C nothing is known
        return
    try:
        signature.bind(**arguments)
    except TypeError as error:
        named = [p for p in signature.parameters.values() if p.kind not in _MANY]
        missing = [p.name for p in named if p.default is p.empty and p.name not in arguments]
        takes = ", ".join(
            p.name if p.default is p.empty else f"{p.name} = {p.default!r}" for p in named
        )
        options = " ".join(f"--set {name}=..." for name in missing)
        raise NetspecError.simple(
            codes.IMPORT_MODULE, f"{source} cannot be made: {error}",
            f"it takes {takes[:300] or 'no arguments'}"
            + (f": give `{options}`, or {_FUNCTION}" if missing else ""),
        ) from None  # fmt: skip


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _imported(name: str) -> Any:
    return importlib.import_module(name)


def _run(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(_MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE_NAME] = module  # dataclasses and pickling look for it there
    spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the code import what lies beside it."""
    place = str(folder.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:
            sys.path.remove(place)


def _failed(what: str, error: Exception | SystemExit) -> NetspecError:
    return NetspecError.simple(
        codes.IMPORT_MODULE, f"{what}: {type(error).__name__}: {str(error).strip()[:300]}"
    )
