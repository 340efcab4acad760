"""Training: one loop for every backend, from checked options to a history."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import check_name, is_number, require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.history import History, bar, epoch_line
from netspec.runtime.job import Backend, Job, Trainable
from netspec.runtime.keeper import KEEP, Keeper
from netspec.runtime.losses import Loss, make_loss
from netspec.runtime.normalization import KINDS, Normalization
from netspec.runtime.optimizers import OPTIMIZERS, check_optimizer
from netspec.runtime.sampling import batch_slices, epoch_order, train_sample
from netspec.runtime.schedules import Schedule, make_schedule, warm_up

__all__ = ["History", "fit"]


def fit(
    model: Trainable,
    data: Dataset,
    *,
    epochs: int = 10,
    batch: int = 64,
    optimizer: str = "adam",
    lr: float | None = None,
    schedule: str = "cosine",
    loss: str | Loss = "softmax",
    l2: float = 0.0,
    clip_norm: float | None = None,
    seed: int = 0,
    val: int = 0,
    normalize: str | Normalization = "channel",
    augment: Sequence[str] = (),
    train_limit: int | None = None,
    warmup: int = 0,
    optimizer_options: Mapping[str, float] | None = None,
    schedule_options: Mapping[str, object] | None = None,
    loss_options: Mapping[str, float] | None = None,
    keep: str = "last",
    out: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    progress: bool = False,
    on_epoch: Callable[[int, History], None] | None = None,
) -> History:
    """Train `model` in place: a NumPy model (`net.compile()`) or a PyTorch one (`TorchModel`).

    Equal arguments give equal weights, bit for bit, on one machine with one number of threads
    (on a GPU up to the order in which it adds). Every image of the (remaining) training part is
    used once an epoch, in an order drawn from (seed, epoch): both backends see the same batches.
    The last batch of an epoch may be smaller, but has never just one image where that can be
    helped: one image has no batch statistics, so it takes a second one from the batch before it
    (see `batch_slices`).

    Args:
        model: What to train.
        data: Images and labels; normalised a batch at a time, never as a whole.
        epochs: How many times to go through the training images.
        batch: Images in a step; in a distributed run, over all processes together.
        optimizer: `sgd`, `momentum`, `nesterov`, `rmsprop`, `adam`, `adamw`.
        lr: Learning rate; None takes the optimizer's default.
        schedule: `constant`, `cosine`, `step`, `multi-step`, `exponential`.
        loss: `softmax`, `svm`, `mse`, or a `Loss`.
        l2: Adds l2/2 * sum(W^2) over the trained weights to the loss, PyTorch's weight_decay.
        clip_norm: Scale the gradient of that whole loss down to this norm where it is longer.
        seed: For the order of images, the sample for train accuracy, dropout and augmentation.
        val: Hold out the last `val` training images for validation.
        normalize: `none`, `unit`, `channel`, `mean-image`, fitted to the images trained on; or
            one that was fitted before, such as that of the weights to start from.
        augment: Some of `crop`, `flip`, `cutout`, with PyTorch only.
        train_limit: Train on the first so many images (after `val` was held out).
        warmup: Let the rate rise linearly over the first so many epochs.
        optimizer_options: Keyword arguments of the optimizer (`momentum`, `beta1`, ...).
        schedule_options: Keyword arguments of the schedule (`gamma`, `milestones`, ...).
        loss_options: Keyword arguments of the loss (`label_smoothing`, `delta`).
        keep: The weights that the model ends with, and `out` holds: of the `last` step, or of the
            epoch with the `best` validation accuracy.
        out: Where to save the weights, with the normalisation; None saves nothing.
        stop: Asked after each step; once it is true the run ends, and saves, as if it were over.
        progress: A line an epoch on stderr, and on a terminal a bar while it runs.
        on_epoch: Called after each epoch with its number, from 1, and the history so far.

    Returns:
        The history, with the normalisation that belongs to the weights.

    Raises:
        NetspecError: `train/bad-option` for an argument out of range, `data/shape` where data and
            model do not fit, `train/diverged` where the loss is no longer a finite number,
            `train/out-of-memory` where a step does not fit into memory.
    """
    _check_whole(epochs=(epochs, 1), batch=(batch, 1), seed=(seed, 0), val=(val, 0))
    _check_whole(warmup=(warmup, 0), train_limit=(1 if train_limit is None else train_limit, 1))
    require(is_number(l2) and l2 >= 0, f"l2 must be at least 0, not {l2!r}")
    require(
        clip_norm is None or (is_number(clip_norm) and clip_norm > 0),
        f"clip_norm must be more than 0, not {clip_norm!r}",
    )
    check_name("choice of what to keep", keep, KEEP)
    require(
        keep == "last" or val > 0,
        "the best epoch is chosen by validation accuracy, and val is 0",
        "hold images out: --val 5000",
    )
    if not isinstance(normalize, Normalization):
        check_name("normalization", normalize, KINDS)
    check_optimizer(optimizer, optimizer_options or {})
    lr = OPTIMIZERS[optimizer].default_lr if lr is None else lr
    require(is_number(lr) and lr > 0, f"the learning rate must be more than 0, not {lr!r}")
    objective = make_loss(loss, **(loss_options or {})) if isinstance(loss, str) else loss

    data = data.fit_to(model.input_shape)
    data.check_classes(model.classes)
    data, x_val, y_val = data.split(val)
    data = data.limit(train_limit)
    count = len(data.x_train)
    parts = batch_slices(count, batch)
    rate = make_schedule(schedule, lr, epochs * len(parts), len(parts), **(schedule_options or {}))
    rate = warm_up(rate, warmup * len(parts))
    if not isinstance(normalize, Normalization):
        normalize = Normalization.fit(normalize, data.x_train)
    sample = train_sample(count, seed)
    measured = {
        "train": (data.x_train[sample], data.y_train[sample]),
        "val": (x_val, y_val),
        "test": (data.x_test, data.y_test),
    }
    job = Job(
        data,
        {name: pair for name, pair in measured.items() if len(pair[0])},
        normalize,
        objective,
        l2,
        clip_norm,
        optimizer,
        dict(optimizer_options or {}),
        batch,
        seed,
        tuple(augment),
    )
    history = History(normalize)
    with model.training(job) as backend:
        keeper = Keeper(keep, out, backend)
        shown = progress and backend.writes
        for epoch in range(1, epochs + 1):
            backend.begin_epoch(epoch, epoch_order(count, seed, epoch), parts)
            title = f"epoch {epoch}/{epochs}"
            history.stopped = _steps(
                backend, epoch, parts, rate, history, stop, title if shown else ""
            )
            history.stopped = history.stopped or _measure(backend, job, history, stop)
            if history.stopped:
                break
            keeper.after_epoch(epoch, history)
            if shown:
                print(epoch_line(epoch, epochs, len(parts), history), file=sys.stderr, flush=True)
            if on_epoch is not None:
                on_epoch(epoch, history)
        keeper.finish(history)
    return history


def _steps(
    backend: Backend,
    epoch: int,
    parts: Sequence[slice],
    rate: Schedule,
    history: History,
    stop: Callable[[], bool],
    title: str,
) -> bool:
    """The steps of an epoch; whether the run is to stop. A title shows a bar."""
    count = parts[-1].stop
    start = time.perf_counter()
    shown = 0
    with bar(bool(title), title, count) as advance:
        for number, part in enumerate(parts, 1):
            step_lr = rate(len(history.learning_rates))
            history.learning_rates.append(step_lr)
            backend.step(step_lr)
            if number % backend.reads_every and number < len(parts):
                continue
            losses, stopped = backend.read(stop())
            for value in losses:
                _check_loss(value, epoch, history)
                history.loss_history.append(value)
            advance(part.stop - shown, history.loss_history[-1])
            shown = part.stop
            if stopped:
                return True
    seconds = time.perf_counter() - start
    history.epoch_seconds.append(seconds)
    history.images_per_second.append(count / seconds)
    return False


def _measure(backend: Backend, job: Job, history: History, stop: Callable[[], bool]) -> bool:
    """The accuracies after an epoch; whether the run is to stop, which leaves them out."""
    found = {name: backend.accuracy(name, stop) for name in job.measured}
    _, stopped = backend.read(stop())
    if not stopped:
        for name, value in found.items():
            history.accuracies(name).append(value)
    return stopped


def _check_loss(value: float, epoch: int, history: History) -> None:
    if not math.isfinite(value):
        step = len(history.loss_history)
        raise NetspecError.simple(
            "train/diverged",
            f"the loss became {value} at step {step + 1} (epoch {epoch},"
            f" learning rate {history.learning_rates[step]:g})",
            "lower the learning rate, warm it up, or normalise the input (`channel`)",
        )


def _check_whole(**arguments: tuple[object, int]) -> None:
    """Check that each value is a whole number, and no less than the least that goes with it."""
    for name, (value, least) in arguments.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        require(
            whole and int(value) >= least,  # type: ignore[call-overload]
            f"{name} must be a whole number from {least} on, not {value!r}",
        )
