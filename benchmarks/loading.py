"""Compares the pictures that reach a training a second with those of a plain DataLoader.

python benchmarks/loading.py [--pictures 512] [--rounds 5] [--workers 2]

Both decode JPEGs of 500 x 375 pixels (those of `decoding.py`), cut 224 x 224 pixels out of each at random
places and sizes, flip half of them, and gather batches of 64: `torch.utils.data.DataLoader` with
torchvision's transforms as people write it, and netspec's loader of a folder. Times are processor time of
this process and its workers, so that other load does not count; rounds take turns, and the best of each
is printed.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import netspec
from benchmarks.decoding import QUALITY, SIZE, picture
from netspec.runtime.data.batches import batch_slices, epoch_order
from netspec.runtime.data.pictures import require_pillow
from netspec.runtime.models.pytorch.batches import job_feeds
from netspec.runtime.training.plan import TrainingOptions, plan_training

BATCH = 64
NET = f"""net Small(classes = 2) {{
    input image: [3, {SIZE}, {SIZE}]
    output image -> global_avg_pool -> linear(classes)
}}"""


class Plain(Dataset):  # type: ignore[misc]
    """What people write."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.transform = v2.Compose(
            [v2.RandomResizedCrop(SIZE), v2.RandomHorizontalFlip(), v2.PILToTensor()]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        with require_pillow().open(self.paths[number]) as file:
            image = file.convert("RGB")
        return self.transform(image), number % 2


def make(folder: Path, count: int) -> list[Path]:
    """Write the pictures into folders of two classes."""
    paths = [folder / f"c{number % 2}" / f"{number:05}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        require_pillow().fromarray(picture(number % 64)).save(path, quality=QUALITY)
    return paths


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time of a call, with that of the processes that it starts and ends."""
    before = os.times()
    work()
    gc.collect()  # ends the workers
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def plain(paths: list[Path], workers: int) -> None:
    """Go through an epoch with a plain loader."""
    for _ in DataLoader(Plain(paths), BATCH, shuffle=True, num_workers=workers):
        pass


def job_of(data: netspec.Dataset, workers: int) -> tuple[Any, Any]:
    """Return the net's graph, and the job of a training."""
    model: Any = netspec.loads(NET).compile()
    changes = ("random_resized_crop", "horizontal_flip")
    options = TrainingOptions(batch=BATCH, augment=changes, workers=workers, normalize="imagenet")
    return model.graph, plan_training(model, data, options).job


def ours(graph: Any, job: Any) -> None:
    """Go through an epoch with netspec's."""
    feed = job_feeds(job, graph, torch.device("cpu"))["steps"]
    count = len(job.data.x_train)
    for _ in feed.batches(epoch_order(count, 0, 1), batch_slices(count, BATCH), 1):
        pass


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        paths = make(folder, options.pictures)
        data = netspec.load_data(
            str(folder), input_shape=(3, SIZE, SIZE), resize=256, on_demand=True
        )
        graph, job = job_of(data, options.workers)
        found: dict[str, list[float]] = {"plain": [], "netspec": []}
        for _ in range(options.rounds):
            found["plain"].append(seconds(lambda: plain(paths, options.workers)))
            found["netspec"].append(seconds(lambda: ours(graph, job)))
    rates = {name: len(paths) / min(each) for name, each in found.items()}
    for name, rate in rates.items():
        print(f"{name:8} {rate:7.1f} pictures a second of a processor, {options.workers} workers")
    print(f"netspec / plain: {rates['netspec'] / rates['plain']:.3f}")
    spread = np.ptp(found["plain"]) / min(found["plain"])
    print(f"the rounds of plain differ by {spread:.1%}")


if __name__ == "__main__":
    main()
