"""MNIST, for tests that need the real one: it is not downloaded for them."""

from __future__ import annotations

import struct
from pathlib import Path
from unittest import mock

import pytest

from netspec.diagnostics import NetspecError
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.files import CACHE_VARIABLE, DownloadError
from netspec.runtime.data.idx import load_idx


def mnist() -> Dataset:
    """Return MNIST, or skip the test with a word if its files are not on the machine."""
    missing = DownloadError("tests download nothing")
    with mock.patch("netspec.runtime.data.idx.download", side_effect=missing):
        try:
            return load_idx("mnist", None)
        except NetspecError:
            pytest.skip(f"MNIST is not here: {CACHE_VARIABLE} names the folder of MNIST/raw")


def idx_files(data: Dataset, folder: Path) -> list[Path]:
    """Write pictures and labels as files that are not packed: of training, and of the test."""
    arrays = {"x": data.x_train, "y": data.y_train, "x_test": data.x_test, "y_test": data.y_test}
    for name, array in arrays.items():
        extents = array.shape if array.ndim == 1 else (len(array), *array.shape[-2:])
        head = struct.pack(f">{1 + len(extents)}i", 2048 + len(extents), *extents)
        (folder / name).write_bytes(head + array.astype("u1").tobytes())
    return [folder / name for name in arrays]
