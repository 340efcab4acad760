"""A folder of pictures, with a folder for each class: `DIR/<class>/*.png`, or in `train` and `test`."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import Diagnostic, NetspecError
from netspec.runtime.data.dataset import Array, Dataset, require_fitting
from netspec.runtime.data.files import read_error
from netspec.runtime.data.picture_errors import error_of_pictures
from netspec.runtime.data.pictures import SUFFIXES, Resize, is_shorter_side, read_picture
from netspec.runtime.data.stored_pictures import MOST_NAMED, FolderFiles, StoredPictures
from netspec.workers import Workers

TRAIN, TEST, VAL = "train", "test", "val"
# Decoding releases the interpreter lock, so threads help.
_THREADS = 4
_SHUFFLE_SEED = 0
# Among how many pictures one that can be read is looked for.
_MOST_BAD = 20
# All pictures are decoded into one array, unless it would need more memory than this.
MAX_BYTES = 1 << 34


@dataclass(frozen=True)
class _Part:
    """The files of one part of the data, and their labels."""

    paths: list[Path]
    labels: NDArray[np.int64]
    skipped: Counter[str]


@dataclass(frozen=True)
class PictureList:
    """The pictures of a folder.

    Attributes:
        paths: Their files, those of training first.
        labels: The numbers of their classes.
        trained: How many are of training.
        names: The names of the classes.
        skipped: How many files with which suffixes are no pictures.
    """

    paths: list[Path]
    labels: NDArray[np.int64]
    trained: int
    names: tuple[str, ...]
    skipped: Counter[str]


def load_image_folder(
    folder: Path,
    input_shape: tuple[int, ...] | None = None,
    *,
    resize: Resize = False,
    on_demand: bool = False,
) -> Dataset:
    """Load `folder/<class>/*.png` (or .jpg, .jpeg).

    If there is `folder/train/<class>`, it has the training images, and `folder/test/<class>` the
    test images, which are optional; without `test`, `folder/val` is taken for it. A folder of
    `test/<class>` alone is a held-out set. Classes are the
    names of the folders, in the order of their characters. Training images are in a random order that
    is always the same, so holding out the last ones holds out some of every class. Pictures may be in
    subfolders of their class. Names that begin with a dot are ignored, and so are other files; the
    data set's `notes` name their suffixes.

    Args:
        folder: the data set.
        input_shape: the shape of the network's input: its channels determine whether pictures are
            read as grey or as RGB. None takes the format of the first picture.
        resize: how pictures of other sizes than the input's are resized, see `pictures.Resize`. If
            the input has no fixed size, a shorter side of N pixels gives squares of N x N.
        on_demand: whether pictures are decoded when they are needed, and not all now. So are those
            that would take more than `MAX_BYTES` of memory.

    Raises:
        NetspecError: `data/missing-file` if there are no classes or no pictures, `data/bad-file`
            for a file that is not a picture and for a class without training pictures, `data/shape`
            for different sizes, `library/pillow`. Unreadable pictures are all named.
    """
    found = list_pictures(folder)
    train, test = found.paths[: found.trained], found.paths[found.trained :]
    channels, size = _wanted(train or test, input_shape, resize)
    name = folder.resolve().name
    if input_shape is not None:  # before thousands of pictures are decoded
        require_fitting(name, (channels, *size), input_shape)
    if on_demand or len(found.paths) * channels * size[0] * size[1] > MAX_BYTES:
        x_train, x_test = _stored(folder, train, test, (channels, *size), resize)
    else:
        x_train, x_test = (_read(paths, channels, size, resize) for paths in (train, test))
    y_train, y_test = found.labels[: found.trained], found.labels[found.trained :]
    dataset = Dataset(
        name, x_train, y_train, x_test, y_test, len(found.names), found.names,
        tuple(_about_skipped(folder, found.skipped)), files=_names(train, test),
    )  # fmt: skip
    return dataset if input_shape is None else dataset.fit_to(input_shape)


def _names(train: Sequence[Path], test: Sequence[Path]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of files by part."""
    return tuple(map(str, train)), tuple(map(str, test))


def list_pictures(folder: Path) -> PictureList:
    """Return the pictures of a folder, those of training in an order that is always the same.

    Raises:
        NetspecError: see `load_image_folder`.
    """
    if _folders(folder) == [TEST] and _folders(folder / TEST):
        return _held_out(folder / TEST)
    split = any(_folders(folder / TRAIN))
    test_part = VAL if split and not (folder / TEST).is_dir() else TEST
    if split:
        _refuse_other_parts(folder, test_part)
    root = folder / TRAIN if split else folder
    names = _folders(root)
    train = _find(root, names)
    test = _Part([], np.zeros(0, np.int64), Counter())
    if split and (folder / test_part).is_dir():
        test = _find(folder / test_part, names)
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(train.paths))
    _require_every_class(root, names, train)
    return PictureList(
        [*(train.paths[i] for i in order), *test.paths],
        np.concatenate([train.labels[order], test.labels]),
        len(order),
        tuple(names),
        train.skipped + test.skipped,
    )


def _held_out(root: Path) -> PictureList:
    """Return the pictures of a test part that has no training part beside it."""
    names = _folders(root)
    test = _find(root, names)
    return PictureList(test.paths, test.labels, 0, tuple(names), test.skipped)


def is_image_folder(folder: Path) -> bool:
    """Return True if the folder has subfolders; their contents are examined later."""
    return bool(_folders(folder))


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _refuse_other_parts(folder: Path, test_part: str) -> None:
    others = [name for name in _folders(folder) if name not in (TRAIN, test_part)]
    if others:
        raise NetspecError.simple(
            codes.DATA_BAD_FILE,
            f"{folder}: beside {TRAIN} only {test_part} is read, and there is {', '.join(others[:5])}",
            f"rename it to {test_part}, or move it away; `--val N` holds out training images",
        )


def _find(folder: Path, names: Sequence[str]) -> _Part:
    """Return the pictures of a part, class by class."""
    unknown = [name for name in _folders(folder) if name not in names]
    if unknown:
        raise read_error(folder, f"the class {unknown[0]} is not among the training images")
    paths: list[Path] = []
    counts = []
    skipped: Counter[str] = Counter()
    for name in names:
        files = list(_files(folder / name))
        found = [p for p in files if p.suffix.lower() in SUFFIXES]
        skipped.update(p.suffix.lower() for p in files if p.suffix.lower() not in SUFFIXES)
        if files and not found:
            raise read_error(folder / name, f"no picture; those end in {', '.join(SUFFIXES)}")
        paths += found
        counts.append(len(found))
    if not paths:
        raise NetspecError.simple(
            codes.DATA_MISSING_FILE,
            f"{folder}: no pictures in {', '.join(names[:5])}",
            "pictures are expected as DIR/<class>/*.png, .jpg or .jpeg",
        )
    return _Part(paths, np.repeat(np.arange(len(names), dtype=np.int64), counts), skipped)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, in order.

    Links that lead back are not followed twice.
    """
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = (Path(where, name) for name in sorted(files) if not name.startswith("."))
        yield from (path for path in inside if path.is_file())


def _require_every_class(folder: Path, names: Sequence[str], part: _Part) -> None:
    counts = np.bincount(part.labels, minlength=len(names))
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise NetspecError.simple(
            codes.DATA_BAD_FILE,
            f"{folder / empty[0]} is empty: there is no training picture of the class `{empty[0]}`",
            "put pictures into it, or remove the folder",
        )


def _about_skipped(folder: Path, skipped: Counter[str]) -> Iterator[str]:
    if skipped:
        kinds = ", ".join(
            f"{n:,} {suffix or 'without a suffix'}" for suffix, n in skipped.most_common(5)
        )
        yield (
            f"{skipped.total():,} files of {folder} were not read ({kinds}):"
            f" pictures end in {', '.join(SUFFIXES)}"
        )


def _wanted(
    paths: Sequence[Path], input_shape: tuple[int, ...] | None, resize: Resize
) -> tuple[int, tuple[int, int]]:
    """Return the channels and (H, W) that every picture must have."""
    if input_shape is not None and len(input_shape) == 3 and input_shape[0] in (1, 3):
        return input_shape[0], input_shape[1:]
    channels, height, width = _first_that_is_sound(paths).shape
    if is_shorter_side(resize):
        height = width = resize
    if input_shape is not None and len(input_shape) == 1:
        # The size of a flat input shows whether pictures are grey.
        channels = {height * width: 1, 3 * height * width: 3}.get(input_shape[0], channels)
    return channels, (height, width)


def _first_that_is_sound(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """Return the first picture that can be read.

    Unreadable ones are reported by `_read`, several at a time.
    """
    for path in paths[:_MOST_BAD]:
        try:
            return read_picture(path)
        except NetspecError as error:
            if error.diagnostics[0].code != codes.DATA_BAD_FILE:
                raise
    return read_picture(paths[0])


def _stored(
    folder: Path,
    train: Sequence[Path],
    test: Sequence[Path],
    shape: tuple[int, int, int],
    resize: Resize,
) -> tuple[Array, Array]:
    """Return the pictures of both parts, which are decoded when they are asked for.

    Raises:
        NetspecError: see `StoredPictures.require_readable`.
    """
    files = FolderFiles(folder, [os.path.relpath(path, folder) for path in (*train, *test)])
    every = StoredPictures(files, np.arange(len(files)), shape, resize)
    every.require_readable()
    parts = (slice(len(train)), slice(len(train), None))
    # They stand for arrays in all that a data set and a training ask.
    first, second = (cast("Array", every.chosen(part)) for part in parts)
    return first, second


def _read(
    paths: Sequence[Path], channels: int, size: tuple[int, int], resize: Resize
) -> NDArray[np.uint8]:
    pixels = np.empty((len(paths), channels, *size), np.uint8)

    def read(i: int) -> None:
        pixels[i] = read_picture(paths[i], channels, size, resize=resize)

    with Workers(_THREADS) as threads:
        answers = [threads.ask(read, i) for i in range(len(paths))]
        bad: list[tuple[str, Diagnostic]] = []
        for path, answer in zip(paths, answers, strict=True):
            error = answer.error()
            if isinstance(error, NetspecError):
                bad += [(str(path), each) for each in error.diagnostics]
                if len(bad) >= MOST_NAMED:
                    break
            elif error is not None:
                raise error
        if bad:
            raise error_of_pictures(bad, there_are_more=len(bad) >= MOST_NAMED)
    return pixels
