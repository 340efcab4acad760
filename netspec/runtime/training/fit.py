"""Training: one loop for every backend, from validated options to a history."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

from netspec import codes
from netspec.diagnostics import NetspecError, plural
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.data.input_normalization import (
    NormalizationChoice,
)
from netspec.runtime.models.history import History
from netspec.runtime.models.memory_check import require_memory
from netspec.runtime.models.protocols import Remembers, Trainable
from netspec.runtime.optim.losses import AnyLoss
from netspec.runtime.optim.lr_schedules import OnPlateau, Schedule
from netspec.runtime.optim.own import Step
from netspec.runtime.training.best_weights import Keeper
from netspec.runtime.training.loaders import known_data
from netspec.runtime.training.loop import TrainingRecorder, TrainingRun
from netspec.runtime.training.plan import TrainingOptions, plan_training
from netspec.runtime.training.progress import is_notebook, make_progress
from netspec.runtime.training.time_limit import TimeLimit
from netspec.runtime.training.unknown_options import refuse_unknown
from netspec.runtime.training.whitening import start_whitened
from netspec.runtime.weights.data_facts import TrainedOn, about_data

__all__ = ["History", "fit"]


def fit(
    model: Trainable,
    data: Dataset | Iterable[object],
    *,
    epochs: int = 10,
    batch: int | None = None,
    optimizer: str | Step = "adam",
    lr: float | None = None,
    schedule: str | Schedule = "cosine",
    loss: AnyLoss = "softmax",
    l2: float = 0.0,
    clip_norm: float | None = None,
    accumulate: int = 1,
    ema: float | None = None,
    seed: int = 0,
    val: float = 0,
    normalize: NormalizationChoice | None = None,
    augment: Sequence[str] = (),
    crop_pad: int = 4,
    crop_edges: str = "black",
    cutout_size: int | None = None,
    tta: Sequence[str] = (),
    whiten: str | None = None,
    workers: int | None = None,
    sample: str = "once",
    train_limit: int | None = None,
    warmup: int = 0,
    rates: Mapping[str, float] | None = None,
    decays: Mapping[str, float] | None = None,
    optimizer_options: Mapping[str, object] | None = None,
    schedule_options: Mapping[str, object] | None = None,
    loss_options: Mapping[str, object] | None = None,
    also: Sequence[str] = (),
    keep: str = "last",
    out: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    max_seconds: float | None = None,
    progress: bool | None = None,
    log_every: int | None = None,
    eval_every: int = 1,
    test_every: int = 0,
    early_stopping: int | None = None,
    monitor: str = "val",
    per_class: bool = False,
    recorder: TrainingRecorder | None = None,
    on_epoch: Callable[[int, History], None] | None = None,
    **unknown: Never,
) -> History:
    """Train `model` in place: a NumPy model (`net.compile()`) or a PyTorch one (`TorchModel`).

    A model is trained by one thread, and must not be used by others meanwhile. Several NumPy models
    may be trained in parallel threads; PyTorch models share one random generator in the process.

    Equal arguments give bit-identical weights on one machine with the same number of threads (on a
    GPU up to the order of additions). Every image of the (remaining) training part is used once in
    an epoch, in an order drawn from (seed, epoch): both backends see the same batches. The last
    batch of an epoch may be smaller, but a single image is avoided if possible: it has no batch
    statistics, so it takes a second image from the batch before it (see `batch_slices`).

    Args:
        model: The model to train.
        data: Images and labels; normalized one batch at a time, never as a whole. Also a
            `torch.utils.data.DataLoader`, whose data set, batch size and workers are taken, and whose
            order is drawn as always; a data set of PyTorch's or Hugging Face's, also a mapping of
            those with `train` and `test`; or an iterable of pairs of arrays, which is read into
            memory.
        epochs: The number of passes over the training images.
        batch: The number of images in a step, by default 64, or that of the loader; in a distributed
            run, over all processes together.
        optimizer: `sgd`, `momentum`, `nesterov`, `rmsprop`, `adam`, `adamw`, `lion`, `lamb`, `muon`;
            or a function `(parameters, gradients, state, lr)` that changes the parameters in place,
            see `netspec.runtime.optim.own`.
        lr: Learning rate; None takes the optimizer's default.
        schedule: `constant`, `cosine`, `cosine-restarts`, `linear`, `polynomial`, `one-cycle`,
            `cyclic`, `step`, `multi-step`, `exponential`, `plateau`; or a
            function from the number of a step, from 0, to its rate.
        loss: `softmax`, `focal`, `svm`, `mse`, `smooth-l1`; `bce` for answers of 0 and 1, `ctc` for
            sequences without places; `value` for a net whose output is its loss; a function of scores
            and targets, which returns the loss and its gradient for NumPy's arrays, and the loss for
            PyTorch's tensors; or a `Loss`.
        l2: Adds l2/2 * sum(W^2) over the trained weights to the loss, PyTorch's weight_decay.
        clip_norm: Scale the gradient of that whole loss down to at most this norm.
        accumulate: Compute the images of a step in so many parts, one after the other: less memory,
            and the same step but for batch statistics, which are those of a part.
        ema: Average the weights over the steps with this decay, such as 0.999 (see
            `netspec.runtime.optim.averaging`); the averaged weights are measured and kept.
        seed: The seed of the order of images, the sample for training accuracy, dropout and
            augmentation.
        val: Hold out the last `val` training images for validation; or a share of each class, such as
            0.1, drawn from the seed.
        normalize: `none`, `unit`, `channel`, `mean-image`, fitted to the images trained on;
            `imagenet`, or a pair (mean, std) of lists with a number for each channel, for pixels
            from 0 to 1; a `Normalization` that was fitted before; or `weights`, that of the weights
            that the model has. By default `channel`; but `none` where the model's weights are for
            inputs as they are, as of a net that normalises by layers of its own. Whole numbers, such
            as tokens, are never normalised.
        augment: Random changes of the training images, by their names: `crop`, `flip` or
            `alternate-flip`, which mirrors each in every second epoch, `cutout`, `mixup(0.2)`,
            `cutmix`; with PyTorch also those that torchvision makes of each picture, such as
            `random_resized_crop(scale=(0.3, 1))`, see `netspec.runtime.data.augmentations`.
        workers: How many processes decode pictures for PyTorch, of data that are loaded `on_demand`;
            None decodes them in this one.
        crop_pad: The number of pixels that `crop` adds on each side.
        crop_edges: What these are: `black`, or the picture in the `mirror`.
        cutout_size: The side of the square that `cutout` blackens; None for half the shorter side of
            the picture.
        tta: Some of `flip`, `shift`: the accuracies on validation and test images are those of scores
            that are averaged over mirrored and shifted copies, see `netspec.runtime.data.views`.
        whiten: The name of a convolution of the pictures whose filters start as those that whiten
            patches of the training images, see `netspec.runtime.training.whitening`.
        sample: `once`, each image in each epoch; or `balanced`, as many draws of images in which all
            classes are as likely.
        train_limit: Train only on this many of the first images (after `val` were held out).
        warmup: The number of epochs in which the rate rises linearly to `lr` at the beginning; the
            schedule goes over those that are left.
        rates: What the learning rate is multiplied by, for parameters whose names match a pattern:
            `{"head.*": 10}`. The last pattern that matches counts.
        decays: What weight decay and `l2` are multiplied by, likewise. They act on weights, and not on
            biases and norms, unless it says otherwise.
        optimizer_options: Keyword arguments of the optimizer (`momentum`, `beta1`, ...).
        schedule_options: Keyword arguments of the schedule (`gamma`, `milestones`, ...).
        loss_options: Keyword arguments of the loss (`label_smoothing`, `delta`, `class_weights`).
        also: Further outputs that are trained, such as auxiliary heads: `aux=0.4` adds 0.4 times the
            loss of the output `aux`, and `aux=mse*0.4` its squared error.
        keep: Which weights the model has in the end, and are saved to `out`: those of the `last`
            step, or those of the epoch that was `best` in validation, see `monitor`.
        out: The file for the weights and the normalization; None saves nothing.
        stop: Called after each step; when it returns True, the run ends and saves as if it were
            complete.
        max_seconds: End the run in the same way after the step in which it has taken so long.
        progress: Print a line for each epoch to stderr, and on a terminal a live progress line. In a
            notebook a bar and the curve are shown, unless it is False.
        log_every: If stderr is not a terminal, also print a line every `log_every` steps.
        eval_every: Measure accuracies, losses, top-5 and macro F1 on training and validation images
            after every `eval_every` epochs, and after the last; 0 measures only after the last. The
            best epoch is the best of those measured.
        test_every: Measure the accuracy on test images after every `test_every` epochs, too; 0
            measures it only once, at the end, for the final weights.
        early_stopping: End the run when what is monitored was not better than before in so many
            measurements.
        monitor: What tells a better epoch from a worse one, for `early_stopping`, for `keep="best"`
            and for the schedule `plateau`: `val`, the accuracy on validation images (without these,
            the mean loss of the steps), `val_loss` or `val_macro_f1`.
        per_class: Keep precision, recall and F1 of each class on validation and test images, too, in
            `history.class_counts`.
        recorder: Keeps the run on disk, and may resume a run.
        on_epoch: Called after each epoch with its number, from 1, and the history so far.
        unknown: Nothing: a name from elsewhere, such as `learning_rate`, is an error with ours.

    Returns:
        The history, with the normalization that belongs to the weights.

    Raises:
        NetspecError: `train/bad-option` for an argument out of range, `data/shape` if data and
            model do not fit, `train/diverged` if the loss is no longer finite,
            `train/out-of-memory` if a step does not fit into memory.
    """
    refuse_unknown(unknown, fit)
    known, of_loader = known_data(model, data)
    options = TrainingOptions(
        epochs=epochs,
        batch=of_loader.batch if batch is None else batch,
        optimizer=optimizer,
        lr=lr,
        schedule=schedule,
        loss=loss,
        l2=l2,
        clip_norm=clip_norm,
        accumulate=accumulate,
        ema=ema,
        seed=seed,
        val=val,
        normalize=_normalization(model, normalize),
        augment=augment,
        crop_pad=crop_pad,
        crop_edges=crop_edges,
        cutout_size=cutout_size,
        tta=tta,
        whiten=whiten,
        workers=of_loader.workers if workers is None else workers,
        sample=sample,
        train_limit=train_limit,
        warmup=warmup,
        rates=rates or {},
        decays=decays or {},
        optimizer_options=optimizer_options or {},
        schedule_options=schedule_options or {},
        loss_options=loss_options or {},
        also=also,
        keep=keep,
        eval_every=eval_every,
        test_every=test_every,
        early_stopping=early_stopping,
        monitor=monitor,
        per_class=per_class,
    )
    planned = plan_training(model, known, options)
    if max_seconds is not None:
        stop = TimeLimit(max_seconds, stop)
    job, parts, rule = planned.job, planned.parts, planned.rule
    require_memory(model, job, kept=recorder is not None and recorder.keeps_states)
    if options.whiten is not None:
        start_whitened(model, job, options.whiten)
    history = History(
        job.normalization,
        about_data=about_data(job.data),
        steps_in_epoch=len(parts),
        monitor=monitor,
    )
    recorder = recorder or TrainingRecorder()
    with (
        model.training(job) as backend,
        make_progress(_is_shown(progress) and backend.writes, log_every) as shown,
    ):
        _remember(model, history)
        keeper = Keeper(keep, out, backend, recorder.best_out)
        run = TrainingRun(
            backend, job, keeper, history, planned.rate, parts, epochs, eval_every, test_every, stop,
            recorder, shown, rule if isinstance(rule, OnPlateau) else None, early_stopping,
        )  # fmt: skip
        try:
            run.go(on_epoch)
        except NetspecError as error:
            raise _with_rescued_weights(error, run) from None
    return history


def _normalization(model: Trainable, given: NormalizationChoice | None) -> NormalizationChoice:
    """Return how inputs are normalised: as given, or by what is known of the model's weights.

    Raises:
        NetspecError: `train/bad-option` if it should be that of weights which do not say it.
    """
    known = model.trained_on if isinstance(model, Remembers) else None
    if given is None:
        return "none" if known is not None and known.normalization.kind == "none" else "channel"
    if not (isinstance(given, str) and given == "weights"):
        return given
    if known is None:
        raise NetspecError.simple(
            codes.TRAIN_BAD_OPTION,
            "the model's weights do not say how images were normalised",
            "load them with `model.load_state_dict(netspec.load_weights(path))`",
        )
    return known.normalization


def _remember(model: Trainable, history: History) -> None:
    if isinstance(model, Remembers):
        model.trained_on = TrainedOn(history.normalization, history.about_data)
        model.history = history


def _is_shown(progress: bool | None) -> bool:
    return is_notebook() if progress is None else progress


def _with_rescued_weights(error: NetspecError, run: TrainingRun) -> NetspecError:
    """If the output cannot be written, save the weights elsewhere, and say so in the error.

    This is not done if the run can be resumed from its checkpoint.
    """
    first, *others = error.diagnostics
    refused = first.code in (codes.OUTPUT_UNWRITABLE, codes.OUTPUT_DISK_FULL)
    if not refused or not run.steps or run.recorder.can_go_on():
        return error
    path = run.keeper.save_elsewhere(run.history)
    if path is None:
        return error
    note = f"the weights after {plural(run.steps, 'step')} are saved in {path}"
    return NetspecError([replace(first, notes=(*first.notes, note)), *others])
