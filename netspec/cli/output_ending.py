"""Names of compiled files that end as files of another kind do."""

from __future__ import annotations

from pathlib import Path

from netspec import codes
from netspec.diagnostics import NetspecError

# What each target writes, how its file is named, and the endings of what is no such file.
_WHAT = {
    "c": ("C source", "NAME.c"),
    "numpy": ("a Python program", "NAME.py"),
    "torch": ("a Python module", "NAME.py"),
    "onnx": ("an ONNX model", "NAME.onnx"),
}
_ENDS = {"c": (".c",), "numpy": (".py",), "torch": (".py",), "onnx": (".onnx",)}
_HEADERS = (".h", ".hh", ".hpp")


def check_ending(path: Path, target: str) -> None:
    """Refuse a name that says that the file is of another kind.

    Args:
        path: the file to be written.
        target: that of `compile`.

    Raises:
        NetspecError: `usage/target`.
    """
    suffix = path.suffix.lower()
    others = {end for ends in _ENDS.values() for end in ends} - {*_ENDS[target]}
    if suffix not in others and suffix not in _HEADERS:
        return
    what, name = _WHAT[target]
    help = f"name it {name}"
    if target == "c" and suffix in _HEADERS:
        help += f": with --header the declarations go to {path.with_suffix('.h').name} beside it"
    message = f"{path} would be {what}, and is not named like that"
    raise NetspecError.simple(codes.USAGE_TARGET, message, help)
