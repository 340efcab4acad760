"""Arrays as pictures: a grid of images, and a PNG file written without another library."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.weights.atomic_write import told_plainly
from netspec.runtime.weights.output_file import write_output

Array = NDArray[Any]
Picture = NDArray[np.uint8]

GAP = (58, 104, 178)
"""The color between pictures, RGB: a blue that neither the darkest nor the brightest pixel has."""


def grid(images: Array, columns: int | None = None, gap: int = 1) -> Picture:
    """Arrange images in a grid, each scaled to the full range from black to white.

    Args:
        images: (N, C, H, W). Three channels are RGB; with any other number, each channel is a
            separate grey picture.
        columns: how many in a row; by default about as many as there are rows.
        gap: pixels between them, in `GAP`, which is no grey.

    Returns:
        (height, width, 3), bytes.
    """
    if images.ndim != 4 or not images.size:
        raise ValueError(f"images must be (N, C, H, W), not {images.shape}")
    if images.shape[1] != 3:
        images = images.reshape(-1, 1, *images.shape[2:]).repeat(3, axis=1)
    count, _, height, width = images.shape
    across = columns or math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    whole = np.full((down * (height + gap) - gap, across * (width + gap) - gap, 3), GAP, np.uint8)
    for i, image in enumerate(images):
        top, left = i // across * (height + gap), i % across * (width + gap)
        whole[top : top + height, left : left + width] = _stretched(image).transpose(1, 2, 0)
    return whole


def save_png(path: str | Path, picture: Picture, scale: int = 1) -> None:
    """Write a picture of bytes, each pixel `scale` times as large.

    Args:
        path: the file.
        picture: (height, width, 3); or one image of a data set, (1 or 3, height, width), or
            (height, width) in grey. What is no bytes is stretched from black to white.
        scale: how many pixels a pixel becomes, each way.

    Raises:
        ValueError: for an array of another shape.
        NetspecError: `output/unwritable`, `output/disk-full`.
    """
    content = png_bytes(picture, scale)
    with told_plainly(Path(path)):
        write_output(Path(path), content)


def png_bytes(picture: Picture, scale: int = 1) -> bytes:
    """Return the file that `save_png` writes.

    Raises:
        ValueError: for an array of another shape.
    """
    picture = _as_picture(np.asarray(picture))
    large = np.ascontiguousarray(picture.repeat(scale, axis=0).repeat(scale, axis=1), np.uint8)
    height, width, _ = large.shape
    # Color type 2 is RGB; each row starts with 0, the filter that does nothing.
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in large)
    about = b"Software\0netspec"
    chunks = ((b"IHDR", header), (b"tEXt", about), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _as_picture(picture: Array) -> Picture:
    """Return an image as (height, width, 3) bytes; see `save_png`."""
    if picture.ndim == 2:
        picture = picture[None]
    is_image = picture.ndim == 3 and picture.shape[2] != 3 and picture.shape[0] in (1, 3)
    if is_image:
        picture = picture.transpose(1, 2, 0)
    if picture.ndim != 3 or picture.shape[2] not in (1, 3) or not picture.size:
        raise ValueError(
            f"a picture is (height, width, 3), (1 or 3, height, width) or (height, width), not"
            f" {picture.shape}; `grid` arranges several"
        )
    if picture.dtype != np.uint8:
        picture = _stretched(picture)
    shown: Picture = np.broadcast_to(picture, (*picture.shape[:2], 3)).astype(np.uint8)
    return shown


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _stretched(image: Array) -> Array:
    low, high = float(image.min()), float(image.max())
    return np.round((image - low) * (255 / (high - low) if high > low else 0.0))
