"""Pictures in tar archives, as WebDataset keeps them: `NAME.jpg` and `NAME.cls` one after the other.

The archives are not unpacked. They are read at the places that their headers say, so that an epoch can
take the pictures in any order: the same as from a folder.
"""

from __future__ import annotations

import io
import os
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_regular
from netspec.files.tar_index import Member, tar_members
from netspec.files.unsound import UnsoundFileError
from netspec.runtime.data.arrays import CLASS_NAMES, class_names
from netspec.runtime.data.dataset import MAX_CLASSES, Array, Dataset
from netspec.runtime.data.files import read_error
from netspec.runtime.data.pictures import MAX_BYTES, SUFFIXES, Resize
from netspec.runtime.data.shard_names import expanded, is_web, local_shard
from netspec.runtime.data.stored_pictures import StoredPictures

# The member with the number of a sample's class, and how long it may be.
LABEL, _LABEL_BYTES = "cls", 32
# How many files of a sample are looked at.
_MOST_PARTS = 64
# Parts in the names of shards: of training, and of the test shards that lie beside them.
_TRAIN, _TESTS = "train", ("test", "val")


@dataclass
class _Index:
    """Where samples lie, with a number for each in plain arrays: there may be millions."""

    shards: list[str] = field(default_factory=list)
    shard: array[int] = field(default_factory=lambda: array("l"))
    start: array[int] = field(default_factory=lambda: array("q"))
    size: array[int] = field(default_factory=lambda: array("q"))
    labels: array[int] = field(default_factory=lambda: array("q"))
    keys: list[bytes] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)


class ShardFiles:
    """Pictures in archives, see `netspec.runtime.data.stored_pictures.PictureFiles`."""

    def __init__(self, index: _Index) -> None:
        self._shards = index.shards
        self._shard, self._start, self._size = (
            np.array(each, np.int64) for each in (index.shard, index.start, index.size)
        )
        self._text = b"".join(index.keys)
        self._ends = np.cumsum([0, *map(len, index.keys)], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._start)

    def name(self, number: int) -> str:
        """See `PictureFiles`."""
        start, end = self._ends[number : number + 2]
        key = self._text[start:end].decode("utf-8", "replace")
        return f"{self._shards[self._shard[number]]}/{key}"

    def content(self, number: int) -> io.BytesIO:
        """See `PictureFiles`."""
        path, size = self._shards[self._shard[number]], int(self._size[number])
        try:
            with open_regular(path) as file:
                file.seek(int(self._start[number]))
                content = file.read(size)
        except FileNotFoundError:
            raise NetspecError.simple(codes.DATA_MISSING_FILE, f"no such file: {path}") from None
        except OSError as error:
            raise read_error(path, f"cannot be read: {error.strerror or error}") from None
        if len(content) < size:
            raise read_error(self.name(number), "the archive was cut off meanwhile")
        return io.BytesIO(content)

    def state(self) -> Iterator[bytes]:
        """See `PictureFiles`."""
        for path in self._shards:
            found = os.stat(path)
            yield f"{path} {found.st_size} {found.st_mtime_ns} ".encode("utf-8", "surrogateescape")


def load_shards(
    name: str, input_shape: tuple[int, ...] | None = None, *, resize: Resize = False
) -> Dataset:
    """Load pictures in archives, which are decoded when they are asked for.

    The names of classes are the lines of `classes.txt` beside the archives, if it is there. Shards
    whose names begin with `test-` or `val-`, beside such with `train-`, have the test images.

    Args:
        name: the path or the address of an archive, or of many: `train-{000000..000146}.tar`.
        input_shape: (C, H, W) of the network's input; None takes the first picture's.
        resize: how pictures of other sizes become of that, see `pictures.Resize`.

    Raises:
        NetspecError: `data/missing-file`, `data/bad-file`, `data/shape`.
    """
    paths = [local_shard(each) for each in expanded(name)]
    others = [] if is_web(name) else _test_shards(paths[0])
    index = _Index()
    for path in paths:
        _read(path, index)
    trained = len(index.keys)
    for path in others:
        _read(path, index)
    files = ShardFiles(index)
    shape = _wanted(files, input_shape)
    every = StoredPictures(files, np.arange(len(files)), shape, resize)
    every.require_readable()
    labels = np.array(index.labels, np.int64)
    names = () if is_web(name) else class_names(paths[0].parent / CLASS_NAMES)
    parts = (slice(trained), slice(trained, None))
    x_train, x_test = (cast("Array", every.chosen(part)) for part in parts)
    return Dataset(
        Path(name).name, x_train, labels[parts[0]], x_test, labels[parts[1]],
        max(len(names), int(labels.max()) + 1), names if len(names) > labels.max() else (),
        tuple(_notes(name, index)),
    )  # fmt: skip


def _wanted(files: ShardFiles, input_shape: tuple[int, ...] | None) -> tuple[int, int, int]:
    """Return the shape that every picture must have."""
    from netspec.runtime.data.pictures import picture_array

    if input_shape is None:
        channels, height, width = picture_array(files.name(0), files.content(0)).shape
        return channels, height, width
    if len(input_shape) != 3 or input_shape[0] not in (1, 3):
        raise NetspecError.simple(
            codes.DATA_SHAPE,
            f"shards hold pictures, grey or RGB; the network's input is {list(input_shape)}",
        )
    return input_shape[0], input_shape[1], input_shape[2]


def _test_shards(first: Path) -> list[Path]:
    """Return the shards of the test images beside those of training."""
    prefix, dash, _ = first.name.partition("-")
    if prefix != _TRAIN or not dash:
        return []
    for part in _TESTS:
        if found := sorted(first.parent.glob(f"{part}-*.tar")):
            return found
    return []


def _read(path: Path, index: _Index) -> None:
    """Add the samples of an archive.

    Raises:
        NetspecError: `data/bad-file`, naming it.
    """
    try:
        with open_regular(path) as file:
            length = os.fstat(file.fileno()).st_size
            members = tar_members(file, length)
            number, before = len(index.shards), len(index.keys)
            index.shards.append(str(path))
            for key, parts in groupby(members, lambda each: _key(each.name)):
                sample = {_suffix(each.name): each for each in islice(parts, _MOST_PARTS)}
                picture = next((s for s in sample if f".{s}" in SUFFIXES), None)
                index.others.update(s for s in sample if s not in (picture, LABEL))
                if picture is None:
                    continue
                if LABEL not in sample:
                    raise UnsoundFileError(f"`{key}` has a picture and no .{LABEL}")
                if sample[picture].size > MAX_BYTES:
                    raise UnsoundFileError(
                        f"`{key}.{picture}` is larger than {MAX_BYTES >> 20} MiB"
                    )
                index.shard.append(number)
                index.start.append(sample[picture].start)
                index.size.append(sample[picture].size)
                index.keys.append(f"{key}.{picture}".encode())
                index.labels.append(_label(file, sample[LABEL]))
            if len(index.keys) == before:
                raise UnsoundFileError("there is no picture in it")
    except UnsoundFileError as error:
        raise read_error(path, str(error)) from None
    except OSError as error:
        raise read_error(path, f"cannot be read: {error.strerror or error}") from None


def _key(name: str) -> str:
    """Return what the files of a sample have in common: all up to the first dot of the last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def _suffix(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[2].lower()


def _label(file: BinaryIO, member: Member) -> int:
    text = b""
    if member.size <= _LABEL_BYTES:
        file.seek(member.start)  # headers are sought, too
        text = file.read(member.size).strip()
    if not text.isdigit() or int(text) >= MAX_CLASSES:
        raise UnsoundFileError(
            f"`{member.name}` is no number of a class from 0 to {MAX_CLASSES - 1:,}"
        )
    return int(text)


def _notes(name: str, index: _Index) -> Iterator[str]:
    if index.others:
        kinds = ", ".join(f"{count:,} .{suffix}" for suffix, count in index.others.most_common(5))
        yield f"{index.others.total():,} files of {name} were not read ({kinds})"
