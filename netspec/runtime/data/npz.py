"""Any data set as a NumPy archive: an `.npz` with x_train, y_train, x_test and y_test."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.files import read_error

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# What the four arrays may take when unpacked; a zip archive can be a thousand times smaller.
MAX_BYTES = 1 << 33


def load_npz(path: Path) -> Dataset:
    """Load a data set from an `.npz` file.

    Images are (N, C, H, W), or (N, H, W) for one channel, or (N, F) features; labels (N,) or
    (N, 1) whole numbers. The number of classes is the largest label plus one. Pickled arrays are
    never loaded.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`, `data/shape`.
    """
    if not path.is_file():
        raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            arrays = _read_arrays(path, archive)
    except NetspecError:
        raise
    except (OSError, EOFError, ValueError, NotImplementedError, RuntimeError, MemoryError) as error:
        # zipfile raises NotImplementedError for exotic compression, RuntimeError for encryption.
        raise read_error(path, f"cannot be read: {error or type(error).__name__}") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise read_error(path, f"not a sound .npz archive: {error}") from None
    x_train, y_train, x_test, y_test = (arrays[name] for name in ARRAYS)
    return Dataset(
        path.stem,
        with_channel(x_train),
        y_train,
        with_channel(x_test),
        y_test,
        classes=class_count(y_train, y_test),
    )


def _read_arrays(path: Path, archive: zipfile.ZipFile) -> dict[str, NDArray[Any]]:
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    missing = [name for name in ARRAYS if name not in members]
    if missing:
        raise read_error(
            path, f"has no {', '.join(missing)}; it holds {', '.join(sorted(members)) or 'nothing'}"
        )
    total = sum(members[name].file_size for name in ARRAYS)
    if total > MAX_BYTES:
        raise read_error(path, f"unpacks to {total} bytes; the limit is {MAX_BYTES}")
    for name in ARRAYS:
        _check_header(path, archive, members[name])
    with np.load(path, allow_pickle=False) as loaded:
        return {name: loaded[name] for name in ARRAYS}


def _check_header(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    """NumPy takes the memory a header asks for before it reads: hold the two against each other."""
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise read_error(
                path, f"{info.filename} has npy version {version}; 1.0 and 2.0 are read"
            )
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            raise read_error(path, f"{info.filename} holds pickled objects, which are never loaded")
        promised = stream.tell() + math.prod(shape) * dtype.itemsize
    if promised != info.file_size:
        raise read_error(
            path, f"{info.filename} promises {promised} bytes and holds {info.file_size}"
        )


def class_count(*labels: NDArray[Any]) -> int:
    """The largest label plus one; what is no label is found later, by `Dataset`."""
    return max((int(y.max()) for y in labels if y.size and y.dtype.kind in "ui"), default=0) + 1


def with_channel(x: NDArray[Any]) -> NDArray[Any]:
    """(N, C, H, W) of pictures (N, H, W); all else as it is."""
    return x[:, None] if x.ndim == 3 else x
