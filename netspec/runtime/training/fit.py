"""Training: one loop for every backend, from validated options to a history."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError, plural
from netspec.runtime.data.batches import SAMPLES, balanced_chances, batch_slices, train_sample
from netspec.runtime.data.choices import check_name, is_number, require
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.dataset import Array, Dataset, Labels, blocks
from netspec.runtime.data.input_normalization import (
    KINDS,
    InputNormalization,
    fit_normalization,
)
from netspec.runtime.data.samples import by_input
from netspec.runtime.data.suspicions import lacking, suspicions
from netspec.runtime.models.classifier_shape import (
    doubts_about_scores,
    label_count,
    require_sizes,
    require_targets,
    scores_output,
    scores_shape,
)
from netspec.runtime.models.history import History
from netspec.runtime.models.inputs import (
    input_name,
    require_places,
    require_type,
    whole_fields,
)
from netspec.runtime.models.memory_check import require_memory
from netspec.runtime.models.protocols import Job, Remembers, Trainable
from netspec.runtime.optim.class_weights import for_labels
from netspec.runtime.optim.losses import (
    OF_SCORES,
    AnyLoss,
    Loss,
    OutputLoss,
    SoftmaxCrossEntropy,
    chosen_loss,
    output_loss,
)
from netspec.runtime.optim.lr_schedules import OnPlateau, Schedule, make_schedule, warm_up
from netspec.runtime.optim.optimizers import check_optimizer
from netspec.runtime.optim.own import Step
from netspec.runtime.optim.targets import OF_CLASSES, Targets, targets_of
from netspec.runtime.training.best_weights import KEEP, Keeper
from netspec.runtime.training.loop import TrainingRecorder, TrainingRun
from netspec.runtime.training.progress import is_notebook, make_progress
from netspec.runtime.training.transfer import factors
from netspec.runtime.training.unknown_options import refuse_unknown
from netspec.runtime.weights.data_facts import TrainedOn, about_data

__all__ = ["History", "fit"]

_LOG = logging.getLogger(__name__)


def fit(
    model: Trainable,
    data: Dataset,
    *,
    epochs: int = 10,
    batch: int = 64,
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
    normalize: str | tuple[Sequence[float], Sequence[float]] | InputNormalization = "channel",
    augment: Sequence[str] = (),
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
    progress: bool | None = None,
    log_every: int | None = None,
    eval_every: int = 1,
    test_every: int = 0,
    early_stopping: int | None = None,
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
        data: Images and labels; normalized one batch at a time, never as a whole.
        epochs: The number of passes over the training images.
        batch: The number of images in a step; in a distributed run, over all processes together.
        optimizer: `sgd`, `momentum`, `nesterov`, `rmsprop`, `adam`, `adamw`, `lion`, `lamb`, `muon`;
            or a function `(parameters, gradients, state, lr)` that changes the parameters in place,
            see `netspec.runtime.optim.own`.
        lr: Learning rate; None takes the optimizer's default.
        schedule: `constant`, `cosine`, `cosine-restarts`, `linear`, `polynomial`, `one-cycle`,
            `cyclic`, `step`, `multi-step`, `exponential`, `plateau`; or a
            function from the number of a step, from 0, to its rate.
        loss: `softmax`, `focal`, `svm`, `mse`; `bce` for answers of 0 and 1, `ctc` for sequences without
            places; `value` for a net whose output is its loss; a function of scores and targets, which
            returns the loss and its gradient for NumPy's arrays, and the loss for PyTorch's tensors; or
            a `Loss`.
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
            from 0 to 1; or a `Normalization` that was fitted before, such as that of the weights to
            start from. Whole numbers, such as tokens, are never normalised.
        augment: Some of `crop`, `flip`, `cutout`: random changes of the training images.
        sample: `once`, each image in each epoch; or `balanced`, as many draws of images in which all
            classes are as likely.
        train_limit: Train only on this many of the first images (after `val` were held out).
        warmup: The number of epochs in which the rate rises linearly at the beginning.
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
            step, or those of the epoch with the `best` validation accuracy.
        out: The file for the weights and the normalization; None saves nothing.
        stop: Called after each step; when it returns True, the run ends and saves as if it were
            complete.
        progress: Print a line for each epoch to stderr, and on a terminal a live progress line. In a
            notebook a bar and the curve are shown, unless it is False.
        log_every: If stderr is not a terminal, also print a line every `log_every` steps.
        eval_every: Measure the accuracies on training and validation images after every
            `eval_every` epochs, and after the last; 0 measures only after the last. The best epoch
            is the best of those measured.
        test_every: Measure the accuracy on test images after every `test_every` epochs, too; 0
            measures it only once, at the end, for the final weights.
        early_stopping: End the run when the accuracy on validation images (without these, the loss)
            was not better than before in so many measurements.
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
    _require_trainable(model, data)
    _check_whole(epochs=(epochs, 1), batch=(batch, 1), seed=(seed, 0))
    _check_whole(warmup=(warmup, 0), train_limit=(1 if train_limit is None else train_limit, 1))
    _check_whole(eval_every=(eval_every, 0), test_every=(test_every, 0))
    _check_whole(early_stopping=(1 if early_stopping is None else early_stopping, 1))
    _check_whole(accumulate=(accumulate, 1))
    _check_numbers(l2, clip_norm, ema)
    check_name("way to sample", sample, SAMPLES)
    check_name("choice of weights to keep", keep, KEEP)
    require(
        keep == "last" or val > 0,
        "the best epoch is chosen by validation accuracy, and val is 0",
        "hold images out: --val 0.1",
    )
    if isinstance(normalize, str):
        check_name("normalization", normalize, KINDS)
    lr = _rate(optimizer, optimizer_options or {}, lr)
    objective = chosen_loss(loss, **(loss_options or {}))

    for doubt in suspicions(data, val, train_limit, (targets_of(objective) or OF_CLASSES).first):
        _LOG.warning("%s", doubt)
    data, kind = _fitting(model, data, objective)
    require(
        kind is not None or keep == "last",
        "the best epoch is chosen by validation accuracy, and a loss that is the output has none",
        "keep the last: --keep last",
    )
    terms = [output_loss(text, objective) for text in also]
    require(
        sample == "once" or not data.target_shape,
        "images are balanced by their label, and these have more than one each",
    )
    _check_outputs(model, terms, data)
    whole = _whole_inputs(model, data)
    if len(whole) == len(data.input_shapes):
        normalize = _none(normalize)
    if isinstance(objective, OF_SCORES):
        for doubt in doubts_about_scores(model.graph, data.classes):
            _LOG.warning("%s", doubt)
    data, x_val, y_val = _divided(data, val, seed, train_limit)
    objective, terms = _weighted(model, objective, terms, data.y_train)
    count = len(data.x_train)
    parts = batch_slices(count, batch)
    options = schedule_options or {}
    rule = make_schedule(schedule, lr, epochs * len(parts), len(parts), **options)
    rate = warm_up(rule, warmup * len(parts))
    if not isinstance(normalize, InputNormalization):
        normalize = fit_normalization(normalize, data.x_train, whole)
    looked_at = train_sample(count, seed)
    measured: dict[str, tuple[Array | ChosenImages, Labels]] = {
        "train": (ChosenImages(data.x_train, looked_at), data.y_train[looked_at]),
        "val": (x_val, y_val),
        "test": (data.x_test, data.y_test),
    }
    job = Job(
        data,
        {name: pair for name, pair in measured.items() if kind is not None and len(pair[0])},
        normalize,
        objective,
        l2,
        clip_norm,
        optimizer,
        dict(optimizer_options or {}),
        batch,
        seed,
        tuple(augment),
        terms,
        perplexes=isinstance(objective, SoftmaxCrossEntropy)
        and len(scores_shape(model.graph)) == 2,
        ema=ema,
        accumulate=accumulate,
        rates=factors(model.graph, rates or {}),
        decays=factors(model.graph, decays or {}),
        chances=balanced_chances(data.y_train) if sample == "balanced" else None,
    )
    require_memory(model, job, kept=recorder is not None)
    history = History(normalize, about_data=about_data(data), steps_in_epoch=len(parts))
    recorder = recorder or TrainingRecorder()
    with (
        model.training(job) as backend,
        make_progress(_is_shown(progress) and backend.writes, log_every) as shown,
    ):
        _remember(model, history)
        keeper = Keeper(keep, out, backend, recorder.best_out)
        run = TrainingRun(
            backend, job, keeper, history, rate, parts, epochs, eval_every, test_every, stop,
            recorder, shown, rule if isinstance(rule, OnPlateau) else None, early_stopping,
        )  # fmt: skip
        try:
            run.go(on_epoch)
        except NetspecError as error:
            raise _with_rescued_weights(error, run) from None
    return history


def _fitting(model: Trainable, data: Dataset, loss: Loss) -> tuple[Dataset, Targets | None]:
    """Return the data in the shapes of the net's inputs, and the kind of targets that the loss needs.

    Raises:
        NetspecError: `model/open-size`, `data/shape`.
    """
    require_sizes(model.graph)
    data = data.fit_to_inputs(model.graph.inputs)
    kind = targets_of(loss)
    if kind is not None:
        require_targets(model.graph, data, kind)
    return data, kind


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


def _require_trainable(model: object, data: object) -> None:
    """Refuse other types of arguments, such as a net, arrays or a name, and say what is expected."""
    compiles = "compile it: fit(net.compile(), data)" if hasattr(model, "compile") else None
    require(
        isinstance(model, Trainable), f"fit trains a compiled model, not {_kind(model)}", compiles
    )
    arrays = "netspec.Dataset(name, x_train, y_train, x_test, y_test, classes) holds arrays"
    require(
        isinstance(data, Dataset),
        f"fit trains on a netspec.Dataset, not {_kind(data)}",
        f"load it: netspec.load_data({data!r})" if isinstance(data, str) else arrays,
    )


def _check_outputs(model: Trainable, terms: Sequence[OutputLoss], data: Dataset) -> None:
    """Check that there are the further outputs that are trained, each once, with enough scores."""
    names = [term.output for term in terms]
    for term in terms:
        main, outputs = scores_output(model.graph), model.graph.outputs
        others = ", ".join(name for name in outputs if name != main) or "none"
        require(
            term.output in outputs and term.output != main,
            f"{model.graph.name} has no further output {term.output!r}: there are {others}",
        )
        require(names.count(term.output) == 1, f"the output {term.output!r} is named twice")
        kind = targets_of(term.loss)
        if kind is not None:
            require_targets(model.graph, data, kind, term.output)


def _none(normalize: object) -> str | InputNormalization:
    """Return the normalization of whole numbers: none, perhaps that of a run that goes on or of weights.

    Raises:
        NetspecError: `train/bad-option` for another.
    """
    known = normalize if isinstance(normalize, InputNormalization) else None
    require(
        known.kind == "none" if known else normalize in ("none", "channel"),
        "the input holds whole numbers, such as tokens, which are not normalised",
        'leave it out, or write normalize = "none"',
    )
    return known or "none"


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def _check_whole(**arguments: tuple[object, int]) -> None:
    """Check that each value is an integer, and not below the minimum given with it."""
    for name, (value, least) in arguments.items():
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        require(
            whole and int(value) >= least,  # type: ignore[call-overload]
            f"{name} must be a whole number from {least} on, not {value!r}",
        )


def _rate(optimizer: str | Step, options: Mapping[str, object], lr: float | None) -> float:
    """Return the learning rate; by default that of an optimizer of netspec's."""
    rule = check_optimizer(optimizer, options)
    if lr is None and not isinstance(optimizer, str):
        message = "an optimizer of one's own has no default rate"
        raise NetspecError.simple(codes.TRAIN_BAD_OPTION, message, "give it: fit(..., lr=0.01)")
    lr = rule.default_lr if lr is None else lr
    require(is_number(lr) and lr > 0, f"the learning rate must be more than 0, not {lr!r}")
    return lr


def _check_numbers(l2: float, clip_norm: float | None, ema: float | None) -> None:
    """Check what is no whole number."""
    require(is_number(l2) and l2 >= 0, f"l2 must be at least 0, not {l2!r}")
    require(
        clip_norm is None or (is_number(clip_norm) and clip_norm > 0),
        f"clip_norm must be more than 0, not {clip_norm!r}",
    )
    require(
        ema is None or (is_number(ema) and 0 < ema < 1), f"ema must be between 0 and 1, not {ema!r}"
    )


def _divided(
    data: Dataset, val: float, seed: int, limit: int | None
) -> tuple[Dataset, Array, Labels]:
    """Return the data that are trained on, and the images and labels held out."""
    rest, x_val, y_val = data.split(val, seed)
    rest = rest.limit(limit)
    for what, labels in (("training", rest.y_train), ("validation", y_val)) if val else ():
        for doubt in lacking(what, labels, data):
            _LOG.warning("%s", doubt)
    return rest, x_val, y_val


def _weighted(
    model: Trainable, loss: Loss, terms: Sequence[OutputLoss], labels: Labels
) -> tuple[Loss, list[OutputLoss]]:
    """Return the loss, and those of further outputs, with their weights of classes.

    Raises:
        NetspecError: `train/bad-option` for another number of weights than of classes.
    """
    if not getattr(loss, "class_weights", ()):
        return loss, list(terms)
    found = for_labels(loss, labels, label_count(model.graph))
    return found, [replace(t, loss=found) if t.loss is loss else t for t in terms]


def _whole_inputs(model: Trainable, data: Dataset) -> list[str]:
    """Return the fields of the data for inputs of whole numbers and booleans, which they must hold.

    Raises:
        NetspecError: `model/places`, `model/input-type` for other numbers.
    """
    graph = model.graph
    found = whole_fields(graph, data.input_shapes)
    for field in found:
        name = input_name(graph, field)
        for part in (data.x_train, data.x_test):
            for block in blocks(by_input(part)[field]):
                require_type(graph, name, block)
                if name in graph.whole_inputs:
                    require_places(graph, name, block)
    return found
