"""Data sets larger than memory: a folder of `.npy` files, of which only the current batch is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_regular, read_regular
from netspec.files.unsound import UnsoundFileError
from netspec.runtime.data.dataset import IGNORED, Dataset, require_equal_counts
from netspec.runtime.data.files import read_error
from netspec.runtime.data.npy_array import read_header
from netspec.runtime.data.npz import ARRAYS, class_count

PARTS = ("train", "test")
# The names of the classes, one on each line in the order of the labels; the file is optional.
CLASS_NAMES = "classes.txt"
_MAX_NAME_BYTES = 1 << 20


def load_arrays(folder: Path, ignore_index: int = IGNORED) -> Dataset:
    """Load `x_train.npy`, `y_train.npy`, `x_test.npy` and `y_test.npy` from a folder.

    Shapes and labels are as in an `.npz` file. Images stay in the files: a batch is read when it is
    needed, and the operating system caches what fits into free memory. Without the test files there
    are no test images; without the training files it is a held-out set.

    Args:
        folder: The folder.
        ignore_index: A label that is not counted.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`, `data/shape`.
    """
    paths = {name: folder / f"{name}.npy" for name in ARRAYS}
    there = {part: any(paths[f"{kind}_{part}"].exists() for kind in "xy") for part in PARTS}
    if not any(there.values()):
        there["train"] = True  # which is said to be missing
    found = {
        part: [open_npy(paths[f"{kind}_{part}"]) for kind in "xy"] for part in PARTS if there[part]
    }
    (x_train, y_train), (x_test, y_test) = (
        found.get(part) or [array[:0] for array in found[other]]
        for part, other in (PARTS, PARTS[::-1])
    )
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        require_equal_counts(folder.resolve().name, part, x.shape, y.shape)
    # Labels are small enough to read now.
    y_train, y_test = np.array(y_train), np.array(y_test)
    names = class_names(folder / CLASS_NAMES)
    return Dataset(
        folder.resolve().name,
        x_train,
        y_train,
        x_test,
        y_test,
        classes=len(names) or class_count(y_train, y_test, ignore_index=ignore_index),
        class_names=names,
        ignore_index=ignore_index,
    )


def holds_arrays(folder: Path) -> bool:
    """Whether a folder has the samples of a part, which `load_arrays` reads."""
    return any((folder / f"x_{part}.npy").exists() for part in PARTS)


def open_npy(path: Path) -> NDArray[Any]:
    """Map the array of an `.npy` file read-only: no memory is allocated for the size that it claims.

    Raises:
        NetspecError: `data/missing-file`; `data/bad-file` for anything but a valid array of
            numbers.
    """
    if not path.is_file():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
    try:
        with open_regular(path) as file:
            header = read_header(file)
            size = os.fstat(file.fileno()).st_size
            if header.end != size:
                raise UnsoundFileError(f"should have {header.end} bytes and has {size}")
            if header.end == header.start:
                raise UnsoundFileError("holds no numbers")
            order: Literal["C", "F"] = "F" if header.fortran else "C"
            # A plain array: the class of a memory map is not needed.
            mapped = np.memmap(file, header.dtype, "r", header.start, header.shape, order)
            return mapped.view(np.ndarray)
    except UnsoundFileError as error:
        raise read_error(path, f"not a valid .npy file of numbers: it {error}") from None
    except (OSError, ValueError) as error:
        raise read_error(path, f"cannot be read: {error}") from None


def class_names(path: Path) -> tuple[str, ...]:
    """Return the names in a file, one on each line; none if there is no file.

    Raises:
        NetspecError: `data/bad-file`.
    """
    if not path.is_file():
        return ()
    try:
        if path.stat().st_size > _MAX_NAME_BYTES:
            raise read_error(path, f"more than {_MAX_NAME_BYTES:,} bytes of names")
        lines = read_regular(path, _MAX_NAME_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise read_error(path, f"cannot be read: {error}") from None
    return tuple(line.strip() for line in lines if line.strip())
