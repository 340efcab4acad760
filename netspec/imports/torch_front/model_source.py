"""Makes the PyTorch model that a command line names. This runs the Python code that it names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.model_files import what_to_do
from netspec.runtime.models.torch_build import require_torch

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

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
            for part in name.split("."):
                found = getattr(found, part)
            if not isinstance(found, torch.nn.Module):
                found = found(**arguments)
    except (Exception, SystemExit) as error:
        raise _failed(f"{source} cannot be made", error) from None
    if not isinstance(found, torch.nn.Module):
        message = f"{source} gives a {type(found).__name__}, and no torch.nn.Module"
        raise NetspecError.simple(codes.IMPORT_MODULE, message)
    return found


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
