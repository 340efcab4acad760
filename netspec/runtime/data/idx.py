"""MNIST and Fashion-MNIST: the IDX files of LeCun, Cortes and Burges, raw or gzipped.

An IDX file is: two zero bytes, a type code (8 is unsigned byte), the number of dimensions, each
dimension as a big-endian 32-bit number, then the data. http://yann.lecun.com/exdb/mnist/
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_regular
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.files import download, find_or_download, read_error

# MNIST's largest file is 47 MB. A file that claims more than this is damaged, or is meant to
# exhaust memory.
MAX_BYTES = 1 << 28
MAX_LABELS = 1 << 23
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 8

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class _Source:
    name: str
    folder: str
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...]  # of the .gz files, in the order of NAMES
    labels_sha256: str  # of the 60,000 training labels, a byte each
    class_names: tuple[str, ...]


SOURCES = {
    source.name: source
    for source in (
        _Source(
            "mnist",
            "MNIST/raw",
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
            tuple("0123456789"),
        ),
        _Source(
            "fashion-mnist",
            "FashionMNIST/raw",
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
            "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
            (
                "T-shirt/top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ),
        ),
    )
}


def load_idx(name: str, data_dir: Path | None) -> Dataset:
    """Load `mnist` or `fashion-mnist`: images (N, 1, 28, 28) uint8, 10 classes.

    Raises:
        NetspecError: `data/missing-file`; `data/bad-file`, also for the files of the other one.
    """
    source = SOURCES[name]

    def fetch(folder: Path) -> None:
        for file, sha256 in zip(NAMES, source.sha256, strict=True):
            download(f"{file}.gz", sha256, [m + f"{file}.gz" for m in source.mirrors], folder)

    paths = find_or_download(
        name,
        NAMES,
        folders=(source.folder, source.name, "."),
        data_dir=data_dir,
        fetch=fetch,
        suffixes=("", ".gz"),
    )
    x_train, y_train, x_test, y_test = (
        read_idx(path, 3 if "images" in file else 1)
        for path, file in zip(paths, NAMES, strict=True)
    )
    _check_is_meant(source, y_train, paths[0].parent)
    return Dataset(
        name,
        x_train[:, None],
        y_train.astype(np.int64),
        x_test[:, None],
        y_test.astype(np.int64),
        classes=10,
        class_names=source.class_names,
    )


def _check_is_meant(source: _Source, labels: NDArray[np.uint8], folder: Path) -> None:
    """Refuse the files of the other data set, which have the same names.

    Its training labels are known; of other files, such as a part of a data set, the folder's name
    says what they are.
    """
    found = hashlib.sha256(labels.tobytes()).hexdigest()
    known = [other for other in SOURCES.values() if other.labels_sha256 == found]
    meant = known or [other for other in SOURCES.values() if _is_named_after(folder, other)]
    if not meant or source in meant:
        return
    raise NetspecError.simple(
        codes.DATA_BAD_FILE,
        f"{folder} holds the files of {meant[0].name}, not of {source.name}: their names are the same",
        f"`--data {meant[0].name}`, or name a folder of {source.name} with `--data-dir`",
    )


def _is_named_after(folder: Path, source: _Source) -> bool:
    """Whether a folder, or the one above its `raw`, has the name of a data set."""
    whole = folder.absolute()
    own = whole.parent.name if whole.name == "raw" else whole.name
    return own.lower() in (source.name, source.folder.partition("/")[0].lower())


def read_idx(path: Path, ndim: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes with `ndim` dimensions; gzip is recognized by content.

    The sizes in the header are checked before memory is allocated for them, and no more data than
    they announce are unpacked.

    Raises:
        NetspecError: `data/bad-file` for a wrong magic number, wrong sizes in the header, a file
            that is too short or too long, damaged gzip.
    """
    try:
        with open_regular(path) as file:
            zipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if zipped:
                return _read(path, _Gunzipped(file), ndim, None)
            return _read(path, file, ndim, os.fstat(file.fileno()).st_size)
    except (OSError, EOFError, zlib.error) as error:
        raise read_error(path, f"cannot be read: {error}") from None


class _Stream(Protocol):
    def read(self, count: int) -> bytes: ...


class _Gunzipped:
    """The contents of a gzip file with a single member, read from the beginning.

    The format allows any number of members, even empty ones, of which a small file can have
    millions.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def read(self, count: int) -> bytes:
        """Return up to the given number of bytes; empty only at the end.

        Raises:
            EOFError: If the file is truncated, or has another member.
            zlib.error: If it is damaged.
        """
        while not self._zlib.eof:
            packed = self._zlib.unconsumed_tail or self._file.read(_CHUNK)
            if not packed:
                raise EOFError("it is cut short")
            if found := self._zlib.decompress(packed, count):
                return found
        if self._zlib.unused_data.strip(b"\0") or self._file.read(1).strip(b"\0"):
            raise EOFError("it continues after its end")
        return b""


def _exactly(stream: _Stream, count: int) -> bytes:
    """Read the given number of bytes, or as many as there are."""
    found = b""
    while len(found) < count and (more := stream.read(count - len(found))):
        found += more
    return found


def _read(path: Path, stream: _Stream, ndim: int, size: int | None) -> NDArray[np.uint8]:
    header = _exactly(stream, 4 + 4 * ndim)
    magic = bytes([0, 0, _UNSIGNED_BYTE, ndim])
    if header[:4] != magic:
        raise read_error(
            path,
            f"not an IDX file of {ndim}-d bytes: it begins {header[:4].hex()}, not {magic.hex()}",
        )
    if len(header) < 4 + 4 * ndim:
        raise read_error(path, "cut short inside its header")
    shape = struct.unpack(f">{ndim}I", header[4:])
    count = math.prod(shape)
    # A label becomes 8 bytes.
    if not 0 < count <= (MAX_BYTES if ndim > 1 else MAX_LABELS):
        raise read_error(path, f"its header claims {shape}; that is not a sensible size")
    if size is not None and size != len(header) + count:
        raise read_error(
            path, f"its header promises {len(header) + count} bytes, the file has {size}"
        )
    data = bytearray()
    while len(data) <= count and (chunk := stream.read(min(_CHUNK, count + 1 - len(data)))):
        data += chunk
    if len(data) != count:
        found = "more" if len(data) > count else f"only {len(data)}"
        raise read_error(path, f"its header promises {count} bytes of data, but it has {found}")
    return np.frombuffer(data, np.uint8).reshape(shape)
