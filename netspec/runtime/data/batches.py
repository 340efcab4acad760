"""Which images are in which step: the same for every backend, and for any number of processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Train accuracy is a check on over-fitting; 10,000 images give it to within half a percent.
TRAIN_SAMPLE = 10_000
# Accuracies are computed of at least so many images at a time, however small the batches of training
# are; of large ones fewer, until they have so many numbers together.
_EVALUATION_BATCH, _EVALUATION_NUMBERS = 128, 1 << 22


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order (count,) in which an epoch, counted from 1, goes through the images."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_slices(count: int, batch: int) -> list[slice]:
    """Cut `count` images into batches of `batch`; the last may be smaller.

    Batch normalisation cannot train on one value a channel (PyTorch raises an error), so a last
    batch of one image takes another from the batch before it, if that one then keeps at least two.
    No batch is larger than asked for, and every image is used.
    """
    edges = [*range(0, count, batch), count]
    if len(edges) > 2 and batch > 2 and edges[-1] - edges[-2] == 1:
        edges[-2] -= 1
    return [slice(start, stop) for start, stop in pairwise(edges)]


def share(part: slice, rank: int, size: int) -> tuple[slice, float]:
    """What one of `size` processes does of a batch: consecutive images, and its weight.

    The weight is the share of the batch's images, so that the weighted sum of the processes' mean
    losses is the mean over the batch, however uneven the shares. As in `batch_slices`, no share is
    of one image where that can be helped; what has none computes the first two with weight 0, for
    all processes must take part in a step.
    """
    count = part.stop - part.start
    active = max(1, min(size, count // 2))
    if rank >= active:
        return slice(part.start, part.start + min(2, count)), 0.0
    first, last = (part.start + count * (rank + i) // active for i in (0, 1))
    return slice(first, last), (last - first) / count


def evaluation_batch(batch: int, sample_shape: Sequence[int]) -> int:
    """How many images of this shape accuracies are computed of at a time: no fewer than in a step."""
    enough = max(1, _EVALUATION_NUMBERS // math.prod(sample_shape))
    return max(batch, min(_EVALUATION_BATCH, enough))


def train_sample(count: int, seed: int) -> NDArray[np.int64]:
    """Which training images measure train accuracy: the same all through a run, in their order."""
    if count <= TRAIN_SAMPLE:
        return np.arange(count)
    # Epochs count from 1, so 0 is free for this.
    generator = np.random.default_rng([seed, 0])
    return np.sort(generator.choice(count, TRAIN_SAMPLE, replace=False))
