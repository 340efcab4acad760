"""CIFAR-10 from its Python batch files: these are pickles, but are only read as plain data.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec.files.plain_pickle import PickleRefusedError
from netspec.files.regular_file import read_regular
from netspec.runtime.data.cifar_pickle import load_dict
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.files import DownloadError, download, find_or_download, read_error

FOLDER = "cifar-10-batches-py"
TRAIN_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
TEST_BATCH = "test_batch"
# The names in `batches.meta`.
CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
# An official batch is 31 MB.
MAX_BYTES = 1 << 26
_IMAGE_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32

_ARCHIVE = "cifar-10-python.tar.gz"
_URLS = (f"https://www.cs.toronto.edu/~kriz/{_ARCHIVE}",)
_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"


def load_cifar10(data_dir: Path | None) -> Dataset:
    """Load CIFAR-10: 50,000 training and 10,000 test images (3, 32, 32) uint8, RGB; 10 classes.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`.
    """
    names = (*TRAIN_BATCHES, TEST_BATCH)
    paths = find_or_download(
        "cifar10", names, folders=(FOLDER, "cifar10", "."), data_dir=data_dir, fetch=_fetch
    )
    *train, (x_test, y_test) = [read_batch(path) for path in paths]
    x_train = np.concatenate([x for x, _ in train])
    y_train = np.concatenate([y for _, y in train])
    return Dataset("cifar10", x_train, y_train, x_test, y_test, 10, CLASS_NAMES)


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one batch file: images (N, 3, 32, 32) uint8 and labels (N,).

    Raises:
        NetspecError: `data/bad-file` for anything but the plain arrays and lists of CIFAR-10.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise read_error(path, f"{size} bytes; a batch of CIFAR-10 has 31 million")
        content = load_dict(read_regular(path, MAX_BYTES))
    except OSError as error:
        raise read_error(path, f"cannot be read: {error}") from None
    except PickleRefusedError as error:
        raise read_error(path, f"not a CIFAR-10 batch: {error}") from None
    data, labels = content.get("data"), content.get("labels")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != _PIXELS:
        raise read_error(path, f"not a CIFAR-10 batch: `data` is not an array of {_PIXELS} columns")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise read_error(
            path, f"not a CIFAR-10 batch: `labels` is not a list of {len(data)} labels"
        )
    if not all(isinstance(label, int) and 0 <= label < 10 for label in labels):
        raise read_error(path, "not a CIFAR-10 batch: a label is not one of 0 to 9")
    return data.reshape(-1, *_IMAGE_SHAPE), np.array(labels, np.int64)


def _fetch(folder: Path) -> None:
    """Download the archive to the parent of `folder`, and extract the batches into `folder`."""
    archive = download(_ARCHIVE, _SHA256, _URLS, folder.parent)
    try:
        unpack(archive, folder)
        archive.unlink()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DownloadError(f"{archive} could not be unpacked: {error}") from None


def unpack(archive: Path, folder: Path) -> None:
    """Extract the batch files of `archive` into `folder`, and nothing else that it may contain.

    Members are chosen by their full name and written under fixed names, so no path in the archive
    matters. Each file appears as a whole or not at all.

    Raises:
        OSError, EOFError, tarfile.TarError: If archive or folder cannot be used.
    """
    wanted = {f"{FOLDER}/{name}": name for name in (*TRAIN_BATCHES, TEST_BATCH)}
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tarfile.open(archive, "r:gz") as tar,
        tempfile.TemporaryDirectory(dir=folder, prefix=".") as own,
    ):
        for member in tar:
            name = wanted.get(member.name)
            if name is None or not member.isfile() or member.size > MAX_BYTES:
                continue
            stream = tar.extractfile(member)
            if stream is None:
                continue
            part = Path(own) / name
            part.write_bytes(stream.read())
            os.replace(part, folder / name)
