"""Helpers for tests of pictures on disk: a small net, and a folder of pictures that it can learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec

NET = """\
net Small(classes = 3) {
    input image: [3, 8, 8]

    output image -> conv(4, 3, pad = 1) -> relu -> max_pool(2) -> flatten -> linear(classes)
}
"""
# Words, so that the name of a class cannot be mistaken for its number.
CLASSES = ("cat", "dog", "owl")


def picture(label: int, rng: np.random.Generator, shape=(3, 8, 8)) -> np.ndarray:
    """Return noise that is brighter in the rows of its class."""
    x = rng.integers(0, 120, shape).astype(np.uint8)
    x[:, 2 * label : 2 * label + 2] += 120
    return x


def save(path: Path, x: np.ndarray) -> Path:
    """Write (C, H, W) as a picture, in the format that the file name says."""
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(x[0] if len(x) == 1 else x.transpose(1, 2, 0)).save(path)
    return path


def make_folder(root: Path, train: int = 36, test: int = 12, names=CLASSES) -> Path:
    """Make `root/train/<class>/*.png` and `root/test/<class>/*.png`."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("test", test)):
        for i in range(count):
            label = i % len(names)
            save(root / part / names[label] / f"{i:03}.png", picture(label, rng))
    return root


def train(root: Path, out: Path, target: str = "numpy", **options) -> netspec.History:
    """Train briefly, enough to learn the folder, and save the weights."""
    net = netspec.loads(NET)
    model = net.compile(target)
    data = netspec.load_data(str(root), input_shape=model.input_shape)
    return netspec.fit(model, data, epochs=8, batch=12, lr=1e-2, out=out, **options)
