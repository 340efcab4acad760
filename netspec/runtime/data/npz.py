"""A data set as a NumPy archive: an `.npz` file with x_train, y_train, x_test and y_test."""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.unsound import UnsoundFileError
from netspec.files.zip_archive import open_archive
from netspec.runtime.data.dataset import IGNORED, Dataset, is_one_hot, require_equal_counts
from netspec.runtime.data.files import read_error
from netspec.runtime.data.npy_members import (
    member_array,
    member_header,
    member_names,
    require_likely_size,
)
from netspec.runtime.data.samples import packed

# The names of the classes, which are optional.
CLASS_NAMES = "class_names"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# The limit on the unpacked size of the four arrays; a zip archive can be a thousand times smaller.
MAX_BYTES = 1 << 33
# The samples of one of several inputs.
_INPUT = re.compile(r"x_(train|test)\.(.+)", re.DOTALL)
_OF_TRAINING = re.compile(r"x_train\.")
# How many members a message names.
_SHOWN, _SHOWN_NAME = 8, 80


def load_npz(path: Path, ignore_index: int = IGNORED) -> Dataset:
    """Load a data set from an `.npz` file.

    Images are (N, C, H, W), or (N, H, W) for one channel, or signals (N, C, L), (N, F) features, or
    tokens (N, T); labels are integers (N,) or (N, 1), or more for each image, see `Dataset`.
    `class_names`, if it is there, holds the names of the classes, strings in the order of the labels;
    without it the number of classes is the largest label plus one. Pickled arrays are never loaded. For
    a net with several inputs there are arrays `x_train.NAME` and `x_test.NAME` for each of them,
    (N, ...), in place of `x_train` and `x_test`. A file of test images alone is a held-out set.

    Args:
        path: The file.
        ignore_index: A label that is not counted.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`, `data/shape`.
    """
    if not path.is_file():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
    try:
        with open_archive(path) as archive:
            arrays, names = _read_arrays(path, archive), _read_names(archive)
    except UnsoundFileError as error:
        raise read_error(path, str(error)) from None
    x_test, y_test = _samples(path.stem, "test", arrays), arrays["y_test"]
    is_held_out = "y_train" not in arrays
    x_train = x_test[:0] if is_held_out else _samples(path.stem, "train", arrays)
    y_train = y_test[:0] if is_held_out else arrays["y_train"]
    return Dataset(
        path.stem,
        x_train,
        y_train,
        x_test,
        y_test,
        classes=len(names) or class_count(y_train, y_test, ignore_index=ignore_index),
        class_names=names,
        ignore_index=ignore_index,
    )


def _read_arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    parts = [name for name in members if _INPUT.fullmatch(name)]
    names = [*parts, *(ARRAYS[1::2] if parts else ARRAYS)]
    if {"x_train", "y_train"}.isdisjoint(members) and not any(map(_OF_TRAINING.match, parts)):
        names = [name for name in names if not name.endswith("_train")]
    missing = [name for name in names if name not in members]
    if missing:
        there = sorted(members)
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        found = ", ".join(name[:_SHOWN_NAME] for name in there[:_SHOWN]) + more
        raise UnsoundFileError(f"has no {', '.join(missing)}; it holds {found or 'nothing'}")
    wanted = {name: members[name] for name in names}
    total = sum(info.file_size for info in wanted.values())
    if total > MAX_BYTES:
        raise UnsoundFileError(f"unpacks to {total} bytes; the limit is {MAX_BYTES}")
    # All headers are checked before memory is allocated for any array.
    headers = {name: member_header(archive, info) for name, info in wanted.items()}
    for name, header in headers.items():
        part = name.removeprefix("x_").partition(".")[0]
        if name.startswith("x_"):
            require_equal_counts(path.stem, part, header.shape, headers[f"y_{part}"].shape)
        else:
            total += 8 * math.prod(header.shape)  # the type of stored labels
    require_likely_size(total, path.stat().st_size, "data set")
    return {name: member_array(archive, info, headers[name]) for name, info in wanted.items()}


def _read_names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Return the names of the classes; none where the archive has none."""
    found = (i for i in archive.infolist() if i.filename.removesuffix(".npy") == CLASS_NAMES)
    info = next(found, None)
    return () if info is None else member_names(archive, info)


def _samples(name: str, part: str, arrays: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """Return the samples of a part: those of one input, or of each."""
    start = f"x_{part}."
    if f"x_{part}" in arrays:
        return arrays[f"x_{part}"]
    inputs = {n.removeprefix(start): x for n, x in arrays.items() if n.startswith(start)}
    return packed(name, part, inputs)


def class_count(*labels: NDArray[Any], ignore_index: int = IGNORED) -> int:
    """Return the largest label plus one; invalid labels are found later, by `Dataset`.

    One-hot rows, of whatever type, count as labels 0 and 1, and are refused where a net is trained.
    """
    whole = (y for y in labels if y.size and (y.dtype.kind in "uib" or _is_one_hot(y)))
    return max((int(y.max(initial=0, where=y != ignore_index)) for y in whole), default=0) + 1


def _is_one_hot(y: NDArray[Any]) -> bool:
    return y.ndim == 2 and y.dtype.kind == "f" and is_one_hot(y)
