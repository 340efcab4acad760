"""Estimates the memory of a training run before it is allocated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError
from netspec.runtime.data.batches import evaluation_batch
from netspec.runtime.data.samples import is_in_memory, numbers_in
from netspec.runtime.models.protocols import Job
from netspec.runtime.models.room import largest_batch, parameter_count
from netspec.runtime.optim.optimizers import check_optimizer
from netspec.runtime.optim.own import Step
from netspec.runtime.weights.host import machine_memory, show_bytes


def require_memory(model: Any, job: Job, *, kept: bool = False) -> None:
    """Refuse a run that does not fit into memory, instead of being killed in its first step.

    Models tell what their programs need: `step_bytes(batch)`, and `memory()` for what is available.
    Models without these methods are not checked.

    Args:
        model: The model to train.
        job: The training job.
        kept: Whether checkpoints are written.

    Raises:
        NetspecError: `train/out-of-memory`, with a batch size that would fit.
    """
    if not hasattr(model, "step_bytes"):
        return
    there = model.memory() if hasattr(model, "memory") else machine_memory()

    def needed(batch: int) -> int:
        return needed_bytes(model, job, batch, kept=kept)

    count = min(job.batch, len(job.data.x_train))
    wanted = needed(count)
    if wanted <= there:
        return
    fits = largest_batch(needed, count, there)
    advice = f"--batch {fits} fits" if fits else "even a batch of 1 does not fit: use a smaller net"
    raise NetspecError.simple(
        codes.TRAIN_OUT_OF_MEMORY,
        f"a step of {count:,} images needs about {show_bytes(wanted)} of memory, and"
        f" {show_bytes(there)} are available",
        advice,
    )


def needed_bytes(model: Any, job: Job, batch: int, *, kept: bool = False) -> int:
    """Estimate the bytes of a run: values of a step, parameters and everything of their size, data."""
    graph: Graph = model.graph
    size = parameter_count(graph) * np.dtype(model.dtype).itemsize
    copies = parameter_copies(
        job.optimizer, job.optimizer_options, kept=kept, averages=job.ema is not None
    )
    copies += job.accumulate > 1  # the sum of the gradients of the parts
    seen = {id(x): x.nbytes for x in (job.data.x_train, job.data.x_test) if is_in_memory(x)}
    part = -(-batch // job.accumulate)
    steps: int = model.step_bytes(part, evaluation_batch(batch, numbers_in(job.data.x_train)))
    total: int = steps + copies * size + sum(seen.values())
    return total


def parameter_copies(
    optimizer: str | Step,
    options: Mapping[str, object],
    *,
    kept: bool = False,
    averages: bool = False,
) -> int:
    """Return how many arrays of the parameters' size a run holds.

    Args:
        optimizer: The name of the optimizer, or a function.
        options: Its options, such as `amsgrad`.
        kept: Whether checkpoints are written.
        averages: Whether the weights are averaged over the steps.
    """
    # Besides the parameters: their gradients, the state of the optimizer, and a copy from the best
    # epoch.
    remembered = len(check_optimizer(optimizer, options).state_names) + averages
    copies = 3 + remembered
    if averages:  # while the average is measured, the weights of the last step are put aside
        copies += 1
    if kept:  # a checkpoint is a copy of all this, and then the bytes of its file
        copies += 2 * (2 + remembered)
    return copies


def value_bytes(graph: Graph, batch: int, itemsize: int) -> int:
    """Return the bytes of all values of a batch: the least that a backward pass needs."""
    shapes = [node.shape for node in graph.nodes]
    return batch * itemsize * sum(math.prod(shape) for shape in shapes)
