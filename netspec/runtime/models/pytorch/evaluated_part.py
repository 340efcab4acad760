"""The share of one process in measuring how good a model is, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from netspec.runtime.data.batches import evaluation_batch, evaluation_slices
from netspec.runtime.data.samples import numbers_in
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.pytorch.batches import Batch, Feed
from netspec.runtime.models.pytorch.processes import ProcessGroup


class EvaluatedPart(NamedTuple):
    """What a process evaluates at a time.

    Attributes:
        x: The images as stored, by input.
        y: (N, ...) their labels.
        judged: How many of them count, the first ones.
        weight: What the targets of these weigh in the mean loss.
    """

    x: Batch
    y: Tensor
    judged: int
    weight: float


def rounds(job: Job, name: str, group: ProcessGroup) -> int:
    """Return how many batches of a set each process evaluates."""
    return -(-len(job.measured[name][1]) // (_batch(job, group) * group.size))


def evaluated_parts(
    job: Job, name: str, group: ProcessGroup, feed: Feed
) -> Iterator[EvaluatedPart]:
    """Yield the batches of a process, of which each has the same number.

    A process with fewer evaluates an image that is not judged, because engines exchange buffers in each
    round.
    """
    weights = job.judge.weigh(job.measured[name][1])
    count = len(weights)
    parts = evaluation_slices(count, _batch(job, group), group.rank, group.size)
    judged = [(part.stop - part.start, float(weights[part].sum())) for part in parts]
    missing = rounds(job, name, group) - len(parts)
    parts, judged = [*parts, *[slice(0, 1)] * missing], [*judged, *[(0, 0.0)] * missing]
    batches = feed.batches(np.arange(count), parts)
    for (x, y), (images, weight) in zip(batches, judged, strict=True):
        yield EvaluatedPart(x, y, images, weight)


def _batch(job: Job, group: ProcessGroup) -> int:
    return evaluation_batch(-(-job.batch // group.size), numbers_in(job.data.x_train))
