"""Which images are used in which step: the same for every backend and any number of processes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Training accuracy is a check for over-fitting; 10,000 images give it to within half a percent.
TRAIN_SAMPLE = 10_000
# How the images of an epoch are chosen.
SAMPLES = ("once", "balanced")
# Accuracies are computed for at least this many images at a time, however small the training
# batches are. For large images it is fewer, limited by the total count of numbers.
_EVALUATION_BATCH, _EVALUATION_NUMBERS = 128, 1 << 22


def epoch_order(
    count: int, seed: int, epoch: int, chances: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Return the order (count,) of the images in an epoch; epochs count from 1.

    With chances (count,), which sum to 1, as many are drawn, each whenever its chance will have it.
    """
    generator = np.random.default_rng([seed, epoch])
    if chances is not None:
        return generator.choice(count, count, p=chances)
    return generator.permutation(count)


def balanced_chances(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the chance (N,) of each image with which all classes of labels (N,) are drawn as often."""
    _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    chances: NDArray[np.float64] = 1.0 / counts[places]
    chances /= chances.sum()
    return chances


def batch_slices(count: int, batch: int) -> list[slice]:
    """Divide `count` images into batches of `batch`; the last may be smaller.

    Batch normalization cannot train on a single value for each channel (PyTorch raises an error).
    So a last batch of one image takes another image from the batch before it, if that one then
    keeps at least two. No batch is larger than requested, and every image is used.
    """
    edges = [*range(0, count, batch), count]
    if len(edges) > 2 and batch > 2 and edges[-1] - edges[-2] == 1:
        edges[-2] -= 1
    return [slice(start, stop) for start, stop in pairwise(edges)]


def share(part: slice, rank: int, size: int) -> tuple[slice, float]:
    """Return the images of a batch that one of `size` processes computes, and their weight.

    The images are consecutive. The weight is their share of the batch, so that the weighted sum of
    the processes' mean losses is the mean over the batch, even if the shares differ. As in
    `batch_slices`, a share of a single image is avoided if possible. A process without a share
    computes the first two images with weight 0, because all processes must take part in a step.
    """
    count = part.stop - part.start
    active = max(1, min(size, count // 2))
    if rank >= active:
        return slice(part.start, part.start + min(2, count)), 0.0
    first, last = (part.start + count * (rank + i) // active for i in (0, 1))
    return slice(first, last), (last - first) / count


def divided(count: int, parts: int) -> list[slice]:
    """Divide the images of a step into at most `parts` parts of two or more, as equal as possible."""
    parts = max(1, min(parts, count // 2))
    edges = [count * i // parts for i in range(parts + 1)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def share_of_targets(counts: NDArray[Any], part: slice, own: slice, weight: float) -> float:
    """Return the weight of a process's mean over targets, where not every image has as many.

    Args:
        counts: (N,) the targets of each image that count, or what they weigh, in the order of the
            epoch.
        part: The images of the batch.
        own: Those of the process, see `share`.
        weight: Their share of the images; 0 for a process without a share.
    """
    total = counts[part].sum()
    return float(counts[own].sum() / total) if weight and total else weight


def evaluation_batch(batch: int, numbers: int) -> int:
    """Return how many images, of so many numbers each, to evaluate at a time: a step's or more."""
    enough = max(1, _EVALUATION_NUMBERS // numbers)
    return max(batch, min(_EVALUATION_BATCH, enough))


def evaluation_slices(count: int, batch: int, rank: int, size: int) -> list[slice]:
    """Return the batches of `count` images that one of `size` processes evaluates: every size-th."""
    starts = range(rank * batch, count, batch * size)
    return [slice(start, min(start + batch, count)) for start in starts]


def train_sample(count: int, seed: int) -> NDArray[np.int64]:
    """Return the training images for measuring accuracy: the same ones in the whole run, in order."""
    if count <= TRAIN_SAMPLE:
        return np.arange(count)
    # Epochs count from 1, so 0 is free for this sample.
    generator = np.random.default_rng([seed, 0])
    return np.sort(generator.choice(count, TRAIN_SAMPLE, replace=False))
