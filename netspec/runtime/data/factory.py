"""Data that Python code makes: `MODULE:FACTORY`, or `FILE.py:FACTORY`. This runs the code."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.given_data import dataset_of
from netspec.runtime.data.pictures import Resize

_FACTORY = re.compile(r"(?P<place>[^:]+\.py|[A-Za-z_][\w.]*):(?P<name>[A-Za-z_]\w*)")


def is_factory(name: str) -> bool:
    """Return True if a name of data is that of code."""
    return _FACTORY.fullmatch(name) is not None


def file_of(name: str) -> Path | None:
    """Return the Python file that a name of code has; None for a module."""
    found = _FACTORY.fullmatch(name)
    return Path(found["place"]) if found is not None and found["place"].endswith(".py") else None


def load_factory(
    name: str, input_shape: tuple[int, ...] | None = None, *, resize: Resize = False
) -> Dataset:
    """Return the data that a function gives, see `given_data.dataset_of`.

    The folder of the code stays where Python looks for modules, because workers look there.

    Raises:
        NetspecError: `data/missing-file` if the code fails, with its error; `data/shape`.
    """
    found = _FACTORY.fullmatch(name)
    assert found is not None, "a name of code"
    path = file_of(name)
    folder = str((path.parent if path is not None else Path()).absolute())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(path.stem if path is not None else found["place"])
        given = getattr(module, found["name"])
        given = given() if callable(given) else given
    except NetspecError:
        raise
    except (Exception, SystemExit) as error:
        first = (str(error).splitlines() or [""])[0][:300]
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE, f"{name} gives no data: {type(error).__name__}: {first}"
        ) from None
    return dataset_of(given, found["name"], input_shape, resize)


def refuse_unasked(name: str) -> NetspecError:
    """Return the error for code that a file names and nobody on the command line or in Python."""
    return NetspecError.simple(
        codes.TRAIN_BAD_OPTION,
        f"the data are made by code, {name}, which runs only if it is named",
        f"--data {name}, or netspec.load_data({name!r}, code=True)",
    )
