"""The share of one process in the steps of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netspec.compiler.ir.graph import Graph
from netspec.runtime.data.augment_draws import draw_for, picture_to_change
from netspec.runtime.data.batches import share, share_of_targets
from netspec.runtime.data.mixing import Mix, draw_mix
from netspec.runtime.models.classifier_shape import (
    require_training_batch,
    require_training_batches,
)
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.pytorch.batches import Batch, Feed
from netspec.runtime.models.pytorch.processes import ProcessGroup
from netspec.runtime.optim.targets import targets_of


class Step(NamedTuple):
    """What a process computes in a step.

    Attributes:
        x: Its images as stored, by input.
        y: (N, ...) their labels.
        drawn: (N, 5) their augmentations, or (N, 0).
        weights: The weights of the means of its losses: the main one's, and the others'.
        mix: How its images are blended: the first of `x` is then the partner of the second, and so on,
            and `y` has the labels of both (N, 2). None if they are not.
        counts: False if it has no share, and computes images of others for the sake of taking part.
    """

    x: Batch
    y: Tensor
    drawn: Tensor
    weights: tuple[float, ...]
    mix: Mix | None
    counts: bool


class OwnShare:
    """The share of one of several processes in the steps of a run.

    Args:
        job: the run.
        graph: the net.
        group: which process this is.
        feed: yields batches of the training images.
        device: where augmentations are drawn for.
    """

    def __init__(
        self, job: Job, graph: Graph, group: ProcessGroup, feed: Feed, device: torch.device
    ) -> None:
        self._job, self._graph, self._group = job, graph, group
        self._feed, self._device = feed, device
        self._picture = picture_to_change(job.augment, job.data)

    def steps(self, epoch: int, order: NDArray[np.int64], parts: Sequence[slice]) -> Iterator[Step]:
        """Return the share in some steps of an epoch.

        Args:
            epoch: the number of the epoch, from 1.
            order: (N,) the order of the images in the epoch.
            parts: the batches, as slices of the order.

        Raises:
            NetspecError: `train/bad-option` for a batch that batch norm cannot train on.
        """
        job = self._job
        shares = [share(part, self._group.rank, self._group.size) for part in parts]
        own = [part for part, _ in shares]
        require_training_batches(self._graph, parts)
        require_training_batch(self._graph, min(part.stop - part.start for part in own))
        numbers = draw_for(
            job.augment, job.data, self._picture, job.seed, epoch, order,
            repeats=job.chances is not None,
        )  # fmt: skip
        drawn = torch.from_numpy(numbers).to(self._device)
        weights = _weights(job, order, parts, shares)
        mixes = [self._mix(epoch, part) for part in parts]
        taken = [
            np.arange(own_part.start, own_part.stop)
            if mix is None
            else _with_partner(part, own_part)
            for part, own_part, mix in zip(parts, own, mixes, strict=True)
        ]
        edges = np.cumsum([0, *map(len, taken)])
        places = [slice(*pair) for pair in pairwise(edges.tolist())]
        every = np.concatenate([np.zeros(0, np.int64), *taken])
        drawn_again = every if job.chances is not None else None
        feed = self._feed.batches(order[every], places, epoch, drawn_again)
        batches = zip(feed, taken, shares, weights, mixes, strict=True)
        return (
            Step(
                x, y if mix is None else torch.stack([y[1:], y[:-1]], 1),
                drawn[mine if mix is None else torch.from_numpy(which)], each, mix,
                counts=share_of_images > 0,
            )
            for (x, y), which, (mine, share_of_images), each, mix in batches
        )  # fmt: skip

    def _mix(self, epoch: int, part: slice) -> Mix | None:
        """Return how a batch, of all processes, is blended."""
        job = self._job
        if not job.mixes:
            return None
        return draw_mix(job.mixes, job.data.x_train.shape[2:], job.seed, epoch, part.start)


def _with_partner(part: slice, own: slice) -> NDArray[np.int64]:
    """Return the places of a process's share, after the partner of the first: the one before it.

    The first of a batch has the last as its partner.
    """
    before = own.start - 1 if own.start > part.start else part.stop - 1
    return np.array([before, *range(own.start, own.stop)], np.int64)


def _weights(
    job: Job,
    order: NDArray[np.int64],
    parts: Sequence[slice],
    shares: Sequence[tuple[slice, float]],
) -> list[tuple[float, ...]]:
    """Return the weights of a process's losses in each batch: the main one's, and the others'."""
    labels = job.data.y_train
    columns = []
    for loss in (job.loss, *(term.loss for term in job.also)):
        kind = targets_of(loss)
        counts = np.ones(len(order), np.int64) if kind is None else kind.counts(labels)[order]
        columns.append(
            [
                share_of_targets(counts, part, own, weight)
                for part, (own, weight) in zip(parts, shares, strict=True)
            ]
        )
    return [*zip(*columns, strict=True)]
