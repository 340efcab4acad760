"""Measures what a processor's core does for training on large pictures: decoding, and reading arrays.

python benchmarks/decoding.py [--pictures 64] [--rounds 5]

Pictures are JPEGs of 500 x 375 pixels of some 110 KB, as ImageNet's are on average. They are decoded,
their shorter side is brought to 256 pixels, and the middle of 224 x 224 is cut out, as
`--resize-shorter 256` does. Arrays are bytes in an .npy file of which batches are gathered, as in
training. Both run in one thread, and the times are processor time, so that other load does not count;
the best round is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from netspec.runtime.data.pictures import read_picture, require_pillow

SIZE, SHORTER, WIDTH, HEIGHT = 224, 256, 500, 375
BATCH = 64
# The quality with which the pictures below have ImageNet's average size.
QUALITY = 88


def picture(number: int) -> np.ndarray:
    """Return a picture (H, W, 3) of waves with noise, which compresses as photographs do."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 40.0
    waves = [np.sin(x * a + y * b + c) for a, b, c in rng.uniform(-2, 2, (3, 3))]
    noise = rng.normal(0, 27, (HEIGHT, WIDTH, 3))
    return np.clip(128 + 70 * np.stack(waves, 2) + noise, 0, 255).astype(np.uint8)


def best_rate(count: int, rounds: int, work: Callable[[], object]) -> float:
    """Return how many of `count` things a second of processor time does, in the best round."""
    found = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        found.append(count / (time.process_time() - start))
    return max(found)


def decoding(folder: Path, pictures: int, rounds: int) -> tuple[float, float]:
    """Return pictures decoded a second, and the mean size of their files in bytes."""
    image_module = require_pillow()
    paths = [folder / f"{number}.jpg" for number in range(pictures)]
    for number, path in enumerate(paths):
        image_module.fromarray(picture(number)).save(path, quality=QUALITY)
    sizes = [path.stat().st_size for path in paths]

    def work() -> None:
        for path in paths:
            read_picture(path, 3, (SIZE, SIZE), resize=SHORTER)

    return best_rate(pictures, rounds, work), float(np.mean(sizes))


def gathering(folder: Path, pictures: int, rounds: int) -> float:
    """Return pictures gathered into batches a second, from an array in a file that is cached."""
    import torch

    from netspec.runtime.models.pytorch.batches import Stored

    torch.set_num_threads(1)
    path, count = folder / "x.npy", max(pictures, BATCH) * 8
    shape = (count, 3, SIZE, SIZE)
    written = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
    written[:] = np.random.default_rng(0).integers(0, 256, shape[1:], np.uint8)
    written.flush()
    stored = Stored(np.load(path, mmap_mode="r"))
    order = torch.from_numpy(np.random.default_rng(0).permutation(count))
    parts = order[: count // BATCH * BATCH].split(BATCH)
    return best_rate(len(parts) * BATCH, rounds, lambda: [stored.select(part) for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rate, size = decoding(Path(folder), options.pictures, options.rounds)
        print(f"decoded:  {rate:8,.0f} pictures a second and core, of {size / 1e3:.0f} KB each")
        rate = gathering(Path(folder), options.pictures, options.rounds)
        print(f"gathered: {rate:8,.0f} pictures a second and core")


if __name__ == "__main__":
    main()
