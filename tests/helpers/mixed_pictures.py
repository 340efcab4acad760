"""Pictures as people have them: PNG and JPEG files of many sizes and kinds, in folders of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

KINDS = (
    "rgb.jpg", "grey.jpg", "cmyk.jpg", "turned.jpg", "rgb.png", "rgba.png", "palette.png",
    "deep.png", "grey.png", "black.png",
)  # fmt: skip


def save_kind(path: Path, kind: str, pixels: np.ndarray) -> Path:
    """Write (H, W, 3) bytes as a picture of a kind; `path` has no suffix."""
    image_module = pytest.importorskip("PIL.Image")
    image = image_module.fromarray(pixels)
    name, suffix = kind.split(".")
    path = path.with_suffix(f".{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    modes = {"grey": "L", "cmyk": "CMYK", "rgba": "RGBA", "black": "1"}
    if name in modes:
        image.convert(modes[name]).save(path)
    elif name == "palette":
        image.quantize(64).save(path, transparency=0)
    elif name == "deep":
        deep = np.asarray(image.convert("L")).astype(np.uint16) * 257
        image_module.fromarray(deep).save(path)
    elif name == "turned":
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif, quality=90)
    else:
        image.save(path)
    return path


def make_mixed(root: Path, count: int, classes: int = 3, least: int = 20, most: int = 60) -> Path:
    """Make `root/<class>/*`, `count` pictures whose brightness tells their class."""
    rng = np.random.default_rng(3)
    for i in range(count):
        label = i % classes
        height, width = rng.integers(least, most, 2)
        pixels = rng.integers(0, 100, (height, width, 3)) + 150 * label // max(1, classes - 1)
        kind = KINDS[i // classes % len(KINDS)]
        save_kind(root / f"c{label}" / f"{i:05}", kind, pixels.astype(np.uint8))
    return root
