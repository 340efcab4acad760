"""CIFAR-10 in a few files without loss: pictures side by side as WebP, a third smaller than the archive.

For a machine that can download nothing: each file has at most 10,000 pictures, about 17 MB.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PICTURES = 10_000  # in a file
Arrays = dict[str, NDArray[np.uint8]]


def pack(arrays: Arrays, folder: Path) -> list[Path]:
    """Write `x_train`, `y_train`, `x_test` and `y_test`: (N, 3, H, W) and (N,) bytes; returns the files.

    A file holds the pictures in a square, and the labels as the last rows of pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        for start in range(0, len(x), PICTURES):
            some = slice(start, start + PICTURES)
            path = folder / f"{part}-{start // PICTURES}-{len(x[some])}.webp"
            Image.fromarray(_mosaic(x[some], y[some])).save(path, lossless=True, quality=50)
            made.append(path)
    return made


def unpack(folder: Path) -> Arrays:
    """Return what `pack` has written."""
    found: Arrays = {}
    for part in ("train", "test"):
        paths = sorted(folder.glob(f"{part}-*.webp"), key=lambda path: int(path.stem.split("-")[1]))
        if not paths:
            raise FileNotFoundError(f"{folder} has no {part}-*.webp: --prepare makes them")
        both = [_pictures(path) for path in paths]
        found[f"x_{part}"] = np.concatenate([x for x, _ in both])
        found[f"y_{part}"] = np.concatenate([y for _, y in both])
    return found


def _mosaic(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, _, height, width = x.shape
    side = math.ceil(math.sqrt(count))
    square = np.zeros((side * side, 3, height, width), np.uint8)
    square[:count] = x
    pixels = square.reshape(side, side, 3, height, width).transpose(0, 3, 1, 4, 2)
    pixels = pixels.reshape(side * height, side * width, 3)
    rows = -(-count // (side * width))
    labels = np.zeros(rows * side * width, np.uint8)
    labels[:count] = y
    grey = labels.reshape(rows, -1, 1).repeat(3, axis=2)
    return np.concatenate([pixels, grey])


def _pictures(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    count = int(path.stem.split("-")[2])
    side = math.ceil(math.sqrt(count))
    pixels = np.asarray(Image.open(path).convert("RGB"))
    width = pixels.shape[1] // side
    rows = -(-count // pixels.shape[1])
    height = (len(pixels) - rows) // side
    square = pixels[: side * height].reshape(side, height, side, width, 3)
    x = square.transpose(0, 2, 4, 1, 3).reshape(side * side, 3, height, width)[:count]
    y = pixels[side * height :, :, 0].reshape(-1)[:count]
    return np.ascontiguousarray(x), np.ascontiguousarray(y)
