"""Training: batches, steps, accuracies, and a history of all of it."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import check_name, is_number, require
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.losses import Loss, make_loss
from netspec.runtime.normalization import KINDS, Normalization
from netspec.runtime.optimizers import OPTIMIZERS, make_optimizer
from netspec.runtime.schedules import make_schedule, warm_up

# Train accuracy is a check on over-fitting; 10,000 images give it to within half a percent.
TRAIN_SAMPLE = 10_000
# Forward passes run at least this many images at a time, however small the training batches are.
_EVALUATION_BATCH = 128


class TrainableModel(Protocol):
    """What `fit` needs of a model."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) or (F,)."""
        ...

    @property
    def classes(self) -> int:
        """How many scores it gives an image."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        ...

    @property
    def flat_parameters(self) -> NDArray[np.floating]:
        """(P,), live: writing to it changes the model."""
        ...

    @property
    def flat_gradients(self) -> NDArray[np.floating]:
        """(P,), filled by `gradients_`; the same array all along."""
        ...

    @property
    def decayed(self) -> int:
        """The first so many parameters are the weights that L2 acts on."""
        ...

    def gradients_(self, x: NDArray[Any], y: NDArray[np.int64], *, loss: Loss, l2: float) -> float:
        """Forward and backward in training mode; the loss and gradients include the L2 term."""
        ...

    def forward(self, x: NDArray[Any]) -> NDArray[np.floating]:
        """Scores (N, classes) in evaluation mode."""
        ...

    def reseed(self, seed: int) -> None:
        """Start the random numbers of dropout anew."""
        ...


@dataclass
class History:
    """What happened, under the names of CS231n's Solver where it has one.

    Attributes:
        loss_history: The loss of each step, L2 term included.
        train_acc_history: After each epoch, on at most 10,000 training images.
        val_acc_history: After each epoch; empty without a validation part.
        test_acc_history: After each epoch; empty without test images.
        learning_rates: Of each step.
        epoch_seconds: Time of each epoch's training steps, accuracies not counted.
        images_per_second: Of each epoch's training steps.
        normalization: How inputs were normalised; to be kept with the weights.
    """

    normalization: Normalization
    loss_history: list[float] = field(default_factory=list)
    train_acc_history: list[float] = field(default_factory=list)
    val_acc_history: list[float] = field(default_factory=list)
    test_acc_history: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    images_per_second: list[float] = field(default_factory=list)


def fit(
    model: TrainableModel,
    data: Dataset,
    *,
    epochs: int = 10,
    batch: int = 64,
    optimizer: str = "adam",
    lr: float | None = None,
    schedule: str = "cosine",
    loss: str | Loss = "softmax",
    l2: float = 0.0,
    seed: int = 0,
    val: int = 0,
    normalize: str = "channel",
    train_limit: int | None = None,
    warmup: int = 0,
    optimizer_options: Mapping[str, float] | None = None,
    schedule_options: Mapping[str, object] | None = None,
    progress: bool = False,
    on_epoch: Callable[[int, History], None] | None = None,
) -> History:
    """Train `model` in place; it ends with the weights of the last step.

    Equal arguments give equal weights, bit for bit, on one machine with one number of threads.
    Every image of the (remaining) training part is used once an epoch, in an order drawn from
    (seed, epoch). The last batch of an epoch may be smaller, but has never just one image where
    that can be helped: one image has no batch statistics, so it takes a second one from the batch
    before it (see `batch_slices`).

    Args:
        model: What to train.
        data: Images and labels; normalised a batch at a time, never as a whole.
        epochs: How many times to go through the training images.
        batch: Images in a step.
        optimizer: `sgd`, `momentum`, `nesterov`, `rmsprop`, `adam`, `adamw`.
        lr: Learning rate; None takes the optimizer's default.
        schedule: `constant`, `cosine`, `step`, `multi-step`, `exponential`.
        loss: `softmax`, `svm`, or a `Loss`.
        l2: Adds l2/2 * sum(W^2) over the weights to the loss, PyTorch's weight_decay.
        seed: For the order of images, the sample for train accuracy and dropout.
        val: Hold out the last `val` training images for validation.
        normalize: `none`, `unit`, `channel`, `mean-image`; fitted to the images trained on.
        train_limit: Train on the first so many images (after `val` was held out).
        warmup: Let the rate rise linearly over the first so many epochs.
        optimizer_options: Keyword arguments of the optimizer (`momentum`, `beta1`, ...).
        schedule_options: Keyword arguments of the schedule (`gamma`, `milestones`, ...).
        progress: A line an epoch on stderr, and on a terminal a bar while it runs.
        on_epoch: Called after each epoch with its number, from 1, and the history so far.

    Returns:
        The history, with the normalisation that belongs to the weights.

    Raises:
        NetspecError: `train/bad-option` for an argument out of range, `data/shape` where data and
            model do not fit, `train/diverged` where the loss is no longer a finite number.
    """
    _check_whole(epochs=(epochs, 1), batch=(batch, 1), seed=(seed, 0), val=(val, 0))
    _check_whole(warmup=(warmup, 0), train_limit=(1 if train_limit is None else train_limit, 1))
    require(is_number(l2) and l2 >= 0, f"l2 must be at least 0, not {l2!r}")
    check_name("optimizer", optimizer, OPTIMIZERS)
    check_name("normalization", normalize, KINDS)
    lr = OPTIMIZERS[optimizer].default_lr if lr is None else lr
    require(is_number(lr) and lr > 0, f"the learning rate must be more than 0, not {lr!r}")
    objective = make_loss(loss) if isinstance(loss, str) else loss

    data = data.fit_to(model.input_shape)
    data.check_classes(model.classes)
    data, x_val, y_val = data.split(val)
    data = data.limit(train_limit)
    count = len(data.x_train)
    slices = batch_slices(count, batch)
    rate = make_schedule(
        schedule, lr, epochs * len(slices), len(slices), **(schedule_options or {})
    )
    rate = warm_up(rate, warmup * len(slices))
    stepper = make_optimizer(
        optimizer,
        model.flat_parameters,
        model.flat_gradients,
        model.decayed,
        **(optimizer_options or {}),
    )
    model.reseed(seed)
    history = History(Normalization.fit(normalize, data.x_train))
    sample = _sample(count, seed)
    x_sample, y_sample = data.x_train[sample], data.y_train[sample]

    for epoch in range(1, epochs + 1):
        order = np.random.default_rng([seed, epoch]).permutation(count)
        start = time.perf_counter()
        # A diverging run overflows before its loss does; `_check_loss` speaks for it.
        quiet = np.errstate(over="ignore", invalid="ignore")
        with quiet, _bar(progress, f"epoch {epoch}/{epochs}", count) as advance:
            for part in slices:
                chosen = order[part]
                x = history.normalization.apply(data.x_train[chosen], model.dtype)
                value = float(model.gradients_(x, data.y_train[chosen], loss=objective, l2=l2))
                step_lr = rate(len(history.loss_history))
                _check_loss(value, len(history.loss_history), epoch, step_lr)
                history.loss_history.append(value)
                history.learning_rates.append(step_lr)
                stepper.step(step_lr)
                advance(len(chosen), value)
        seconds = time.perf_counter() - start
        history.epoch_seconds.append(seconds)
        history.images_per_second.append(count / seconds)
        for accuracies, images, labels in (
            (history.train_acc_history, x_sample, y_sample),
            (history.val_acc_history, x_val, y_val),
            (history.test_acc_history, data.x_test, data.y_test),
        ):
            if len(images):
                accuracies.append(accuracy(model, images, labels, history.normalization, batch))
        if progress:
            print(_line(epoch, epochs, len(slices), history), file=sys.stderr, flush=True)
        if on_epoch is not None:
            on_epoch(epoch, history)
    return history


def accuracy(
    model: TrainableModel,
    x: NDArray[Any],
    y: NDArray[np.int64],
    normalization: Normalization,
    batch: int = _EVALUATION_BATCH,
) -> float:
    """The share of images (N, ...) whose highest score is at their label, in evaluation mode."""
    batch = max(batch, _EVALUATION_BATCH)
    right = 0
    for start in range(0, len(x), batch):
        part = slice(start, start + batch)
        with np.errstate(over="ignore", invalid="ignore"):
            scores = model.forward(normalization.apply(x[part], model.dtype))
        right += int((scores.argmax(axis=1) == y[part]).sum())
    return right / len(x)


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


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    """Which training images measure train accuracy: the same all through a run, in their order."""
    if count <= TRAIN_SAMPLE:
        return np.arange(count)
    # Epochs count from 1, so 0 is free for this.
    generator = np.random.default_rng([seed, 0])
    return np.sort(generator.choice(count, TRAIN_SAMPLE, replace=False))


def _check_whole(**arguments: tuple[object, int]) -> None:
    """Check that each value is a whole number, and no less than the least that goes with it."""
    for name, (value, least) in arguments.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        require(
            whole and int(value) >= least,  # type: ignore[call-overload]
            f"{name} must be a whole number from {least} on, not {value!r}",
        )


def _check_loss(value: float, step: int, epoch: int, lr: float) -> None:
    if not math.isfinite(value):
        raise NetspecError.simple(
            "train/diverged",
            f"the loss became {value} at step {step + 1} (epoch {epoch}, learning rate {lr:g})",
            "lower the learning rate, warm it up, or normalise the input (`channel`)",
        )


def _line(epoch: int, epochs: int, steps: int, history: History) -> str:
    parts = [
        f"epoch {epoch:>{len(str(epochs))}}/{epochs}",
        f"loss {np.mean(history.loss_history[-steps:]):.4f}",
        *(
            f"{name} {values[-1]:.2%}"
            for name, values in (
                ("train", history.train_acc_history),
                ("val", history.val_acc_history),
                ("test", history.test_acc_history),
            )
            if values
        ),
        f"{history.images_per_second[-1]:,.0f} images/s",
    ]
    return "  ".join(parts)


@contextmanager
def _bar(progress: bool, title: str, count: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar over images on a terminal, nothing elsewhere; yields how to move it on."""
    if not (progress and sys.stderr.isatty()):
        yield lambda images, loss: None  # noqa: ARG005
        return
    from tqdm import tqdm

    with tqdm(
        total=count, desc=title, unit=" images", leave=False, dynamic_ncols=True, file=sys.stderr
    ) as bar:

        def advance(images: int, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
            bar.update(images)

        yield advance
