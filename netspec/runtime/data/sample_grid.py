"""A data set as a notebook shows it: some samples with their labels, and how many each class has."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netspec.text import html

if TYPE_CHECKING:
    from netspec.runtime.data.dataset import Dataset

_SAMPLES = 20
_MOST_CLASSES = 50
_SIDE = 64  # of a sample on the page, in pixels
_LARGEST = 256  # a larger sample is shown by every second, third, ... of its pixels


def as_html(data: Dataset) -> str:
    """Return the page's part: samples of different classes, and the number of images of each class."""
    names = data.class_names or tuple(map(str, range(data.classes)))
    counts = [_counts(y, len(names)) for y in (data.y_train, data.y_test)]
    rows = [[name, f"{n:,}", f"{m:,}"] for name, n, m in zip(names, *counts, strict=True)]
    title = f"{len(names):,} classes"
    if len(rows) > _MOST_CLASSES:
        title += f", the first {_MOST_CLASSES} of them"
    classes = html.table(["class", "train", "test"], rows[:_MOST_CLASSES])
    head = f"<p>{html.text(repr(data)[1:-1])}</p>"
    return head + _samples(data, names) + html.folded(title, classes)


def _counts(labels: NDArray[Any], classes: int) -> list[int]:
    """Return how many labels each class has; those that do not count are left out."""
    known = labels[(labels >= 0) & (labels < classes)].astype(np.int64)
    found: list[int] = np.bincount(known.ravel(), minlength=classes).tolist()
    return found


def _label(labels: NDArray[Any], at: int, names: tuple[str, ...]) -> str:
    """Return the label of an image; nothing where it has one for each place, or none that counts."""
    one = labels[at]
    return names[int(one)] if one.ndim == 0 and 0 <= one < len(names) else ""


def _samples(data: Dataset, names: tuple[str, ...]) -> str:
    data = data.with_channel()
    if len(data.sample_shape) != 3 or data.sample_shape[0] not in (1, 3):
        return ""
    x, y = data.first_part
    return "".join(html.captioned(_png(x[at]), _label(y, at, names), _SIDE) for at in _chosen(y))


def _chosen(labels: NDArray[np.int64]) -> list[int]:
    """Return the first image of each class, then further ones, in the order of the labels."""
    if labels.ndim > 1:
        return list(range(min(len(labels), _SAMPLES)))
    _, first = np.unique(labels, return_index=True)
    found = dict.fromkeys([*first.tolist()[:_SAMPLES], *range(min(len(labels), 2 * _SAMPLES))])
    chosen = list(found)[:_SAMPLES]
    return sorted(chosen, key=lambda at: (int(labels[at]), at))


def _png(picture: NDArray[Any]) -> bytes:
    """Encode a picture (1 or 3, H, W) of any numbers as PNG."""
    step = max(1, -(-max(picture.shape[1:]) // _LARGEST))
    pixels = np.moveaxis(picture[:, ::step, ::step], 0, -1)
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        low, high = values.min(), values.max()
        pixels = np.round((values - low) * (255 / ((high - low) or 1.0))).astype(np.uint8)
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
