"""Calls functions written by others, and reports what they raise, return and change."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class FaultError(Exception):
    """The result of a function cannot be used; the message says why."""


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function for messages."""
    return getattr(function, "__name__", type(function).__name__)


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and return its result. What ends a program, such as `exit()`, ends the call alone.

    Raises:
        FaultError: with the exception that it raised, and the line of its own code.
    """
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        raise FaultError(_described(function, error)) from None


def forward(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """Return (out, cache).

    Raises:
        FaultError: if the function raises, or returns anything else.
    """
    result = call(function, *arguments)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise FaultError(f"{name_of(function)} must return (out, cache), not {_kind(result)}")
    _require_numbers(name_of(function), "out", result[0])
    return result[0], result[1]


def backward(
    function: Callable[..., Any], dout: Array, cache: Any, names: Sequence[str]
) -> dict[str, Any]:
    """Return the gradients by name; a single one need not be in a tuple.

    Raises:
        FaultError: if the function raises, or returns anything else.
    """
    result = call(function, dout, cache)
    if len(names) == 1 and not isinstance(result, tuple | list):
        result = (result,)
    if not isinstance(result, tuple | list) or len(result) != len(names):
        listed = ", ".join(names)
        raise FaultError(f"{name_of(function)} must return {listed}, not {_kind(result)}")
    for name, value in zip(names, result, strict=True):
        _require_numbers(name_of(function), name, value)
    return dict(zip(names, result, strict=True))


def changes(
    function: Callable[..., Any], before: Mapping[str, Array], after: Mapping[str, Array]
) -> list[str]:
    """Yield a fault for every array argument that a function changed."""
    return [
        f"{name_of(function)} changes `{name}` in place: the caller and later"
        f" code then see the changed numbers.\nwork on a copy: {name} = {name}.copy()"
        for name, array in before.items()
        if not np.array_equal(array, after[name], equal_nan=True)
    ]


def _require_numbers(function: str, name: str, value: Any) -> None:
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "fiub":
        raise FaultError(f"{function}: `{name}` is {_kind(value)}, not an array of numbers")


def _kind(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"{len(value)} values"
    if isinstance(value, np.ndarray):
        return f"one array of shape {list(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"


def _described(function: Callable[..., Any], error: Exception | SystemExit) -> str:
    """Describe an exception, with the last line of the function's own file in its traceback."""
    text = f"{name_of(function)} raises {type(error).__name__}: {error}"
    if isinstance(error, SystemExit):
        text = f"{name_of(function)} ends the program (SystemExit)"
    code = getattr(function, "__code__", None)
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first frame is `call`
    own = [f for f in frames if code is not None and f.filename == code.co_filename] or frames
    if not own:  # a wrong number of arguments: the function was never entered
        return text
    at = own[-1]
    return f"{text}\nat {_shown(at.filename)}:{at.lineno}: {at.line}"


def _shown(filename: str) -> str:
    path = Path(filename)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        return os.path.relpath(path)
    return filename
