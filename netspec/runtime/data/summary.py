"""What there is in a data set, and what looks wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.arrays import holds_arrays
from netspec.runtime.data.catalog import load, path_of
from netspec.runtime.data.dataset import IGNORED, MAX_CLASSES, Dataset, is_one_hot, magnitude
from netspec.runtime.data.image_folder import is_image_folder, load_image_folder
from netspec.runtime.data.lazy_samples import some
from netspec.runtime.data.samples import by_input
from netspec.runtime.data.shard_names import is_shards
from netspec.runtime.data.shards import load_shards
from netspec.runtime.data.stored_pictures import StoredPictures
from netspec.runtime.data.suspicions import suspicions
from netspec.text.table import Column, table_lines, text_column

# The size in which pictures of any size are looked at, and how many of them are for the numbers.
_SIDE, _LOOKED_AT = 32, 1000
# So many times as many images of one class as of another is told.
_UNEVEN = 10
# How many classes the table has.
_MOST_CLASSES = 30
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class DataSummary:
    """What there is in a data set.

    Attributes:
        name: Its name.
        counts: How many samples each part has.
        shapes: The shape of a sample, by its input; of pictures of several sizes with the least and
            the greatest side.
        numbers: The type of the numbers and their least and greatest, by input.
        classes: The names of the classes with their samples in each part; none for targets of places.
        odd: What looks wrong, a sentence each.
    """

    name: str
    counts: dict[str, int]
    shapes: dict[str, str]
    numbers: dict[str, str]
    classes: dict[str, tuple[int, int]]
    odd: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "name": self.name, "samples": self.counts, "shapes": self.shapes, "numbers": self.numbers,
            "classes": {name: list(each) for name, each in self.classes.items()},
            "odd": list(self.odd),
        }  # fmt: skip

    def text(self, width: int | None = None) -> str:
        """Return it as lines of text."""
        first = ", ".join(f"{count:,} {part}" for part, count in self.counts.items())
        lines = [f"{self.name}: {first} samples"]
        for name, shape in self.shapes.items():
            lines.append(f"{name + ': ' if name else ''}{shape}, {self.numbers[name]}")
        if self.classes:
            lines += ["", *self._table(width)]
        if self.odd:
            lines += ["", "what looks wrong", *(f"  {each}" for each in self.odd)]
        return "\n".join(lines)

    def _table(self, width: int | None) -> list[str]:
        total = max(1, sum(train for train, _ in self.classes.values()))
        rows = [
            [name, f"{train:,}", f"{train / total:.1%}", f"{test:,}"]
            for name, (train, test) in self.classes.items()
        ]
        columns = [text_column("class", 8), Column("train"), Column("share"), Column("test")]
        lines = [*table_lines(columns, rows[:_MOST_CLASSES], width=width)]
        if len(rows) > _MOST_CLASSES:
            lines.append(f"and {len(rows) - _MOST_CLASSES:,} more classes")
        return lines


def load_to_look(name: str, data_dir: Path | None = None) -> Dataset:
    """Load a data set as it is; pictures of any size are stretched to a small square.

    Raises:
        NetspecError: see `netspec.load_data`.
    """
    shape = (3, _SIDE, _SIDE)
    if is_shards(name):
        return load_shards(name, shape, resize=True)
    folder = path_of(name)
    has_arrays = folder is not None and holds_arrays(folder)
    if folder is not None and folder.is_dir() and is_image_folder(folder) and not has_arrays:
        return load_image_folder(folder, shape, resize=True, on_demand=True)
    return load(name, data_dir, code=True)


def summarize(data: Dataset, val: float = 0) -> DataSummary:
    """Look through a data set.

    Args:
        data: the data.
        val: how many of the last images, or which share, would be held out.
    """
    inputs, classes = by_input(data.first_part[0]), _classes(data)
    return DataSummary(
        data.name,
        {"training": len(data.x_train), "test": len(data.x_test)},
        {name: _shape(x) for name, x in inputs.items()},
        {name: _numbers(x) for name, x in inputs.items()},
        classes,
        (*suspicions(data, val), *_odd(data, classes)),
    )


def _shape(x: Any) -> str:
    if not isinstance(x, StoredPictures):
        return str(list(x.shape[1:]))
    looked = np.unique(np.linspace(0, len(x) - 1, min(_LOOKED_AT, len(x))).astype(np.int64))
    sides = np.array([x.image(int(number)).size for number in x.numbers[looked]])
    least, greatest = sides.min(axis=0), sides.max(axis=0)
    if (least == greatest).all():
        return f"pictures of {least[0]} x {least[1]} pixels"
    middle = np.median(sides, axis=0).astype(int)
    return (
        f"pictures of {least[0]} to {greatest[0]} x {least[1]} to {greatest[1]} pixels"
        f" (median {middle[0]} x {middle[1]})"
    )


def _numbers(x: Any) -> str:
    seen = some(x, _LOOKED_AT)
    return f"{seen.dtype} from {seen.min():g} to {seen.max():g}" if seen.size else str(seen.dtype)


def _classes(data: Dataset) -> dict[str, tuple[int, int]]:
    if data.target_shape or data.vocabulary is not None:
        return {}
    counts = [
        np.bincount(y[y != IGNORED], minlength=data.classes).tolist()
        for y in (data.y_train, data.y_test)
    ]
    names = data.class_names or tuple(map(str, range(data.classes)))
    return dict(zip(names, zip(*counts, strict=True), strict=True))


def _odd(data: Dataset, classes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    """Yield what looks wrong and is no matter of training alone."""
    samples, y = data.first_part
    for name, x in by_input(samples).items():
        shape = x.shape[1:]
        of = f" of `{name}`" if name else ""
        if len(shape) == 3 and shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
            yield (
                f"the samples{of} are {list(shape)}: the channels look last, and netspec takes"
                " [C, H, W]: x.transpose(0, 3, 1, 2)"
            )
        if x.dtype.kind == "f" and len(shape) == 3 and magnitude(some(x, _LOOKED_AT)) > _UNEVEN:
            yield f"the samples{of} are floats beyond 10: pixels are kept as uint8, or up to 1"
    if y.ndim == 2 and 1 < y.shape[1] <= MAX_CLASSES and is_one_hot(y):
        yield "the labels are one-hot rows; a label is a number: y.argmax(axis=1)"
    yield from _uneven(classes)
    yield from _duplicates(data)


def _uneven(classes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    counts = {name: train for name, (train, _) in classes.items() if train}
    if len(counts) < 2:
        return
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[most] >= _UNEVEN * counts[least]:
        yield (
            f"{counts[most]:,} training samples are of class {most} and {counts[least]:,} of"
            f" {least}: --class-weights balanced, or --sample balanced"
        )


def _duplicates(data: Dataset) -> Iterator[str]:
    """Yield how many samples are there twice."""
    if data.vocabulary is not None:  # windows of a text
        return
    train, test = _digests(data.x_train), _digests(data.x_test)
    first: dict[bytes, int] = {}
    again = [
        number for number, each in enumerate(train) if first.setdefault(each, number) != number
    ]
    both = [number for number, each in enumerate(test) if each in first]
    if both:
        shown = _name(data.x_test, both[0], "test")
        twin = _name(data.x_train, first[test[both[0]]], "training")
        yield (
            f"{len(both):,} of {len(test):,} test samples are training samples too, such as {shown},"
            f" which is {twin}"
        )
    others = [
        n for n in again if data.y_train[n].tolist() != data.y_train[first[train[n]]].tolist()
    ]
    if others:
        shown = _name(data.x_train, others[0], "training")
        twin = _name(data.x_train, first[train[others[0]]], "training")
        yield (
            f"{len(others):,} training samples are there with another label too, such as {shown},"
            f" which is {twin}"
        )
    if len(again) > len(others):
        yield f"{len(again) - len(others):,} training samples are there more than once"


def _name(x: Any, number: int, part: str) -> str:
    if isinstance(x, StoredPictures):
        return x.files.name(int(x.numbers[number]))
    return f"{part} sample {number:,}"


def _digests(x: Any) -> list[bytes]:
    """Return a digest of each sample: of its file, or of its numbers."""
    if isinstance(x, StoredPictures):
        contents = (x.files.content(int(n)).getbuffer() for n in x.numbers)
        return [hashlib.blake2b(each, digest_size=16).digest() for each in contents]
    return [_digest(x[number]) for number in range(len(x))]


def _digest(sample: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(sample).tobytes(), digest_size=16).digest()


def require_pictures(data: Dataset) -> None:
    """Refuse what cannot be drawn.

    Raises:
        NetspecError: `data/shape`.
    """
    if len(data.with_channel().sample_shape) != 3 or data.target_shape:
        raise NetspecError.simple(
            codes.DATA_SHAPE, "--picture draws pictures [C, H, W] with one label each"
        )
