"""From the options of a training run to what its steps and accuracies need, all of it checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.augment_draws import Augmentation
from netspec.runtime.data.augmentations import parse_augmentation
from netspec.runtime.data.batches import SAMPLES, balanced_chances, batch_slices, train_sample
from netspec.runtime.data.choices import check_name, is_number, kind_of, require
from netspec.runtime.data.chosen_images import ChosenImages
from netspec.runtime.data.dataset import IGNORED, Array, Dataset, Labels, blocks
from netspec.runtime.data.input_normalization import (
    KINDS,
    InputNormalization,
    NormalizationChoice,
    fit_normalization,
    made_for,
)
from netspec.runtime.data.samples import by_input, number_types
from netspec.runtime.data.suspicions import lacking, suspicions
from netspec.runtime.models.classifier_shape import (
    doubts_about_scores,
    label_count,
    require_sizes,
    require_targets,
    require_views,
    scores_output,
    scores_shape,
)
from netspec.runtime.models.confusions import MOST_CLASSES
from netspec.runtime.models.history import MONITORS
from netspec.runtime.models.inputs import (
    input_name,
    places_at,
    require_places,
    require_type,
    whole_fields,
)
from netspec.runtime.models.protocols import Job, Trainable
from netspec.runtime.optim.class_weights import for_labels
from netspec.runtime.optim.contrastive import NormalizedTemperatureCrossEntropy
from netspec.runtime.optim.ctc import require_steps
from netspec.runtime.optim.losses import (
    OF_SCORES,
    AnyLoss,
    ConnectionistTemporalClassification,
    Loss,
    OutputLoss,
    SoftmaxCrossEntropy,
    chosen_loss,
    output_loss,
)
from netspec.runtime.optim.lr_schedules import Schedule, rates_of_run
from netspec.runtime.optim.optimizers import check_optimizer
from netspec.runtime.optim.own import Step
from netspec.runtime.optim.targets import OF_CLASSES, Targets, targets_of
from netspec.runtime.training.best_weights import KEEP
from netspec.runtime.training.transfer import factors

_LOG = logging.getLogger(__name__)
# The options that say how many steps there are, at which rates, and when it is measured.
_OF_A_RUN = (
    "epochs", "lr", "schedule", "schedule_options", "warmup", "keep", "eval_every", "test_every",
    "early_stopping", "monitor", "per_class",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingOptions:
    """The options of a run that decide its steps and accuracies; see `netspec.fit`."""

    epochs: int = 10
    batch: int = 64
    optimizer: str | Step = "adam"
    lr: float | None = None
    schedule: str | Schedule = "cosine"
    loss: AnyLoss = "softmax"
    l2: float = 0.0
    clip_norm: float | None = None
    accumulate: int = 1
    ema: float | None = None
    seed: int = 0
    val: float = 0
    normalize: NormalizationChoice = "channel"
    augment: Sequence[str] = ()
    crop_pad: int = 4
    crop_edges: str = "black"
    cutout_size: int | None = None
    tta: Sequence[str] = ()
    whiten: str | None = None
    workers: int | None = None
    sample: str = "once"
    train_limit: int | None = None
    warmup: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    decays: Mapping[str, float] = field(default_factory=dict)
    optimizer_options: Mapping[str, object] = field(default_factory=dict)
    schedule_options: Mapping[str, object] = field(default_factory=dict)
    loss_options: Mapping[str, object] = field(default_factory=dict)
    also: Sequence[str] = ()
    keep: str = "last"
    eval_every: int = 1
    test_every: int = 0
    early_stopping: int | None = None
    monitor: str = "val"
    per_class: bool = False

    def keywords(self) -> dict[str, Any]:
        """Return them as keyword arguments of `netspec.fit`."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def of_a_step(self) -> dict[str, Any]:
        """Return those that say what a step is, and not how many there are at which rate."""
        return {name: value for name, value in self.keywords().items() if name not in _OF_A_RUN}


@dataclass(frozen=True, eq=False)
class PlannedTraining:
    """What a run does.

    Attributes:
        job: What each step and each accuracy need.
        parts: The batches of an epoch, as slices of its order.
        rule: The schedule of the learning rate, without the rise at the beginning.
        rate: The learning rate of each step, counted from 0.
    """

    job: Job
    parts: Sequence[slice]
    rule: Schedule
    rate: Schedule


def plan_training(model: Trainable, data: Dataset, options: TrainingOptions) -> PlannedTraining:
    """Check the options, and what of the data a model is trained and measured on.

    Raises:
        NetspecError: `train/bad-option` for an option out of range, `data/shape` if data and model
            do not fit.
    """
    _require_trainable(model, data)
    _check(options)
    augmentation = parse_augmentation(options.augment)
    lr = _rate(options.optimizer, options.optimizer_options, options.lr)
    named = check_optimizer(options.optimizer, options.optimizer_options).patterns
    factors(model.graph, dict.fromkeys(named, 1.0))
    objective = chosen_loss(options.loss, **options.loss_options)

    first = (targets_of(objective) or OF_CLASSES).first
    for doubt in suspicions(data, options.val, options.train_limit, first):
        _LOG.warning("%s", doubt)
    data, kind = _fitting(model, data, objective)
    require(
        kind is not None or options.keep == "last" or options.monitor != "val",
        "the best epoch is chosen by validation accuracy, and a loss that is the output has none",
        "choose it by the loss, --monitor val_loss, or keep the last",
    )
    _require_classes(model, objective, options)
    terms = [output_loss(text, objective) for text in options.also]
    require(
        options.sample == "once" or not data.target_shape,
        "images are balanced by their label, and these have more than one each",
    )
    _check_outputs(model, terms, data)
    require_views(options.tta, data, model.graph)
    normalize, whole = options.normalize, _whole_inputs(model, data)
    if len(whole) == len(data.input_shapes):
        normalize = _none(normalize)
    if isinstance(objective, OF_SCORES):
        for doubt in doubts_about_scores(model.graph, data.classes):
            _LOG.warning("%s", doubt)
    data, x_val, y_val = _divided(data, options.val, options.seed, options.train_limit)
    if augmentation.mixes:
        _require_mixable(data, objective)
    objective, terms = _weighted(model, objective, terms, data.y_train)
    count = len(data.x_train)
    parts = batch_slices(count, options.batch)
    steps = options.epochs * len(parts)
    rule, rate = rates_of_run(
        options.schedule, lr, steps, len(parts), options.warmup, **options.schedule_options
    )
    if not isinstance(normalize, InputNormalization):
        normalize = fit_normalization(normalize, data.x_train, whole)
    normalize = made_for(normalize, number_types(data.x_train))
    looked_at = train_sample(count, options.seed)
    measured: dict[str, tuple[Array | ChosenImages, Labels]] = {
        "train": (ChosenImages(data.x_train, looked_at), data.y_train[looked_at]),
        "val": (x_val, y_val),
        "test": (data.x_test, data.y_test),
    }
    # The loss of a pair is one of its batch.
    by_sample = not isinstance(objective, NormalizedTemperatureCrossEntropy)
    if isinstance(objective, ConnectionistTemporalClassification):
        for name, (_, labels) in measured.items():
            require_steps(labels, scores_shape(model.graph)[0], f"the {name} part")
    job = Job(
        data,
        {
            name: pair
            for name, pair in measured.items()
            if len(pair[0]) and (kind is not None or (name != "train" and by_sample))
        },
        normalize,
        objective,
        options.l2,
        options.clip_norm,
        options.optimizer,
        dict(options.optimizer_options),
        options.batch,
        options.seed,
        Augmentation(
            augmentation.in_batches, options.crop_pad, options.crop_edges, options.cutout_size
        ),
        terms,
        perplexes=isinstance(objective, SoftmaxCrossEntropy)
        and len(scores_shape(model.graph)) == 2,
        ema=options.ema,
        accumulate=options.accumulate,
        rates=factors(model.graph, options.rates),
        decays=factors(model.graph, options.decays),
        tta=tuple(options.tta),
        chances=balanced_chances(data.y_train) if options.sample == "balanced" else None,
        of_pictures=augmentation.of_pictures,
        mixes=augmentation.mixes,
        workers=options.workers or 0,
        per_class=options.per_class,
    )
    return PlannedTraining(job, parts, rule, rate)


def _check(options: TrainingOptions) -> None:
    """Check each option by itself."""
    o = options
    _check_whole(epochs=(o.epochs, 1), batch=(o.batch, 1), seed=(o.seed, 0))
    _check_whole(
        warmup=(o.warmup, 0), train_limit=(1 if o.train_limit is None else o.train_limit, 1)
    )
    _check_whole(workers=(0 if o.workers is None else o.workers, 0))
    _check_whole(eval_every=(o.eval_every, 0), test_every=(o.test_every, 0))
    _check_whole(early_stopping=(1 if o.early_stopping is None else o.early_stopping, 1))
    _check_whole(accumulate=(o.accumulate, 1), crop_pad=(o.crop_pad, 1))
    _check_whole(cutout_size=(1 if o.cutout_size is None else o.cutout_size, 1))
    _check_numbers(o.l2, o.clip_norm, o.ema)
    check_name("way to sample", o.sample, SAMPLES)
    check_name("choice of weights to keep", o.keep, KEEP)
    check_name("measure to monitor", o.monitor, MONITORS)
    require(
        o.monitor == "val" or o.val > 0,
        f"{o.monitor} is measured on images that are held out, and val is 0",
        "hold images out: --val 0.1",
    )
    require(
        o.keep == "last" or o.val > 0,
        "the best epoch is chosen in validation, and val is 0",
        "hold images out: --val 0.1",
    )
    if isinstance(o.normalize, str):
        check_name("normalization", o.normalize, KINDS)


def _require_classes(model: Trainable, loss: Loss, options: TrainingOptions) -> None:
    """Refuse to monitor or to keep what a loss without classes has not.

    Raises:
        NetspecError: `train/bad-option`.
    """
    asked = {"val_macro_f1": options.monitor == "val_macro_f1", "per_class": options.per_class}
    kind = targets_of(loss)
    count = 0 if kind is None else kind.questions(scores_shape(model.graph))
    for name, is_asked in asked.items():
        require(not is_asked or count > 0, f"{name} is of classes, and this loss has none")
    require(
        not isinstance(loss, NormalizedTemperatureCrossEntropy) or options.monitor == "val",
        "a loss of pairs is not measured in validation: there is nothing to monitor",
    )
    require(
        not options.per_class or count <= MOST_CLASSES,
        f"there are {count:,} classes; per_class is for at most {MOST_CLASSES:,}",
    )


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


def _require_trainable(model: object, data: object) -> None:
    """Refuse other types of arguments, such as a net, arrays or a name, and say what is expected."""
    compiles = "compile it: fit(net.compile(), data)" if hasattr(model, "compile") else None
    require(
        isinstance(model, Trainable), f"fit trains a compiled model, not {kind_of(model)}", compiles
    )
    arrays = "netspec.Dataset(name, x_train, y_train, x_test, y_test, classes) holds arrays"
    require(
        isinstance(data, Dataset),
        f"fit trains on a netspec.Dataset, not {kind_of(data)}",
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


def _require_mixable(data: Dataset, loss: Loss) -> None:
    """Refuse to blend what are no pictures with one label of a class each.

    Raises:
        NetspecError: `train/bad-option`.
    """
    require(
        data.x_train.ndim == 4 and not data.target_shape,
        f"mixup and cutmix blend pictures (C, H, W) with one label; an image of {data.name} is"
        f" {list(data.sample_shape)}, its labels are {list(data.target_shape)}",
    )
    require(
        targets_of(loss) is OF_CLASSES and not getattr(loss, "class_weights", ()),
        "mixup and cutmix are for losses over classes that all weigh the same",
    )
    require(
        bool((data.y_train != IGNORED).all()),
        "mixup and cutmix blend labels, and some of these are the ignored one",
    )


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
    if not found:
        return []
    shapes = {input_name(graph, each): shape for each, shape in data.input_shapes.items()}
    read = places_at(graph, shapes)
    for each in found:
        name = input_name(graph, each)
        for part in (data.x_train, data.x_test):
            for block in blocks(by_input(part)[each]):
                require_type(graph, name, block)
                require_places(read.get(name, ()), name, block)
    return found
