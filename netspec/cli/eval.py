"""`netspec eval RUN`, `netspec eval FILE --weights W`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import emit, tell
from netspec.cli.data_of_run import data_of_run
from netspec.cli.named_run import NamedRun, path_of_run
from netspec.cli.output_place import add_force_option, check_output
from netspec.cli.picture_options import add_normalize_options, given_normalization, given_resize
from netspec.cli.trained_net import Trained, add_weight_options, load_trained, stored_normalization
from netspec.diagnostics import NetspecError
from netspec.text.width import terminal_width

if TYPE_CHECKING:
    from netspec.runtime.data import Dataset
    from netspec.runtime.data.input_normalization import ChannelStatistics, InputNormalization
    from netspec.runtime.data.views import View
    from netspec.runtime.models.answers import Answers
    from netspec.runtime.models.evaluation import Evaluation
    from netspec.runtime.models.mistakes import Mistake
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.pytorch.model import TorchModel
    from netspec.runtime.optim.losses import Loss
    from netspec.runtime.runs.resolve import Settings


# Its value depends on which images are together.
_OF_A_BATCH = "ntxent"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.cli.training_options import add_option
    from netspec.runtime.data.catalog import NAMES
    from netspec.runtime.data.input_normalization import KINDS
    from netspec.runtime.models.mistakes import MOST
    from netspec.runtime.optim.losses import LOSSES
    from netspec.runtime.runs.options import OPTIONS

    add_weight_options(parser)
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="NAME",
                      help=f"{', '.join(NAMES)}, an .npz file, a text or a folder, as for `train`"
                      " (default: that of the run; digits where no run is known)")  # fmt: skip
    data.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder to search first")
    data.add_argument("--part", choices=("test", "train", "val"), default="test",
                      help="which images (default test); of a run train are those it was trained on, and"
                      " val those that it held out of them (train --val)")  # fmt: skip
    add_normalize_options(
        data, KINDS, "normalise by the training images instead of as the weights file says; or by the"
        " statistics of imagenet",
    )  # fmt: skip
    add_option(data, OPTIONS["tta"])
    data.add_argument("--mistakes", type=Path, metavar="OUT.png",
                      help=f"also draw the {MOST} mistakes in which the net was surest, row by row, and"
                      " list them with true and predicted class")  # fmt: skip
    add_force_option(data)
    data.add_argument("--loss", choices=tuple(name for name in LOSSES if name != _OF_A_BATCH),
                      help="(default: that of the run; else softmax, the cross-entropy)")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Evaluate a trained net and print the tables."""
    from netspec.runtime.data.catalog import load, path_of
    from netspec.runtime.data.samples import number_types
    from netspec.runtime.data.views import views
    from netspec.runtime.models.classifier_shape import only_input_shape, require_views
    from netspec.runtime.models.evaluation import about_not_finite
    from netspec.runtime.models.odd_pixels import pixel_doubt
    from netspec.runtime.plots.figures import check_picture_path
    from netspec.runtime.weights.data_facts import (
        image_type,
        require_same_pixels,
        stored_vocabulary,
    )

    given = given_normalization(options)
    if options.mistakes is not None:
        check_picture_path(options.mistakes, (".png",))
    trained = load_trained(options)
    model = trained.model
    settings = _settings(options, trained.run)
    if options.mistakes is not None:
        read = filter(None, [options.data_dir, path_of(settings["data"])])
        check_output(options.mistakes, read, force=options.force)
    folder = Path(settings["data-dir"]) if settings["data-dir"] else None
    with data_of_run(path_of_run(trained.run), settings["data"], options.data):
        data = load(
            settings["data"], folder, only_input_shape(model.graph), resize=settings.resize,
            ignore_index=settings["ignore-index"], tokens=settings["tokens"],
            code=options.data == settings["data"], on_demand=settings.decodes_on_demand,
            vocabulary=stored_vocabulary(trained.weights.metadata),
        ).fit_to_inputs(model.graph.inputs)  # fmt: skip
    by_class = _check_loss(options, settings, model, data)
    if trained.run is None:  # the training of a run said it
        _say_doubts(settings, model, data)
    x, y = _part(data, options.part, settings)
    trained_on = image_type(trained.weights.metadata)
    if given is None:
        require_same_pixels(data.name, number_types(x), trained_on)
    normalization = _normalization(given, trained, data)
    if given is None and (odd := pixel_doubt(x, trained_on, normalization)):
        tell(f"warning: {odd}")
    require_views(settings["tta"] or (), data, model.graph)
    of = views(settings["tta"] or ())
    title = {"net": trained.net.name, "data": data.name, "part": options.part}
    found: Evaluation | Answers
    if by_class:
        found, listed, lines = _by_class(
            options, settings, trained, data, (x, y), normalization, of
        )
    else:
        from netspec.runtime.models.answers import answers

        found = answers(model, x, y, normalization, _loss(settings), of)
        listed, lines = {}, []
    if doubt := about_not_finite(found.not_finite, len(x)):
        tell(f"warning: {doubt}")
    if options.format == "json":
        emit(json.dumps({**title, **found.to_dict(), **listed}, indent=2))
    else:
        first = f"{trained.net.name} on {data.name}: {len(x):,} {options.part} images"
        emit("\n".join([f"{first}\n\n{found.text(terminal_width())}", *lines]))
    return OK


def _loss(settings: Settings) -> Loss:
    from netspec.runtime.optim.losses import make_loss

    return make_loss(settings["loss"], **settings.keywords("loss"))


def _check_loss(
    options: argparse.Namespace, settings: Settings, model: Model | TorchModel, data: Dataset
) -> bool:
    """Check that the data have the targets of the loss; returns whether it is one over classes.

    Raises:
        NetspecError: `train/bad-option` for a loss that no image has by itself, and for `--mistakes` of
            what has no class; `data/shape`.
    """
    from netspec.runtime.data.choices import require
    from netspec.runtime.models.classifier_shape import require_targets
    from netspec.runtime.optim.losses import LOSSES_OF_CLASSES
    from netspec.runtime.optim.targets import targets_of

    name = settings["loss"]
    require(
        name != _OF_A_BATCH,
        f"eval is for losses of images, not for {_OF_A_BATCH}, which is one of a batch",
    )
    kind, by_class = targets_of(_loss(settings)), name in LOSSES_OF_CLASSES
    if kind is not None:
        require_targets(model.graph, data, kind)
    require(by_class or options.mistakes is None, "--mistakes draws images with one class each")
    return by_class


def _say_doubts(settings: Settings, model: Model | TorchModel, data: Dataset) -> None:
    """Say on stderr what makes an output unfit for a loss over scores."""
    from netspec.runtime.models.classifier_shape import doubts_about_scores
    from netspec.runtime.optim.losses import OF_SCORES

    if isinstance(_loss(settings), OF_SCORES):
        for doubt in doubts_about_scores(model.graph, data.classes):
            tell(f"warning: {doubt}")


def _by_class(
    options: argparse.Namespace,
    settings: Settings,
    trained: Trained,
    data: Dataset,
    part: tuple[Any, Any],
    normalization: InputNormalization,
    of: Sequence[View],
) -> tuple[Evaluation | Answers, dict[str, Any], list[str]]:
    """Evaluate class by class; returns the mistakes, too, if they are drawn: for JSON, and as lines."""
    from netspec.runtime.models.evaluation import evaluate
    from netspec.runtime.weights.data_facts import complete, has_names, labels_by_name

    model, about, (x, y) = trained.model, trained.weights.metadata, part
    y = labels_by_name(data, y, about)
    names = trained.names if has_names(about) else complete(data.class_names, model.classes)
    found = evaluate(model, x, y, normalization, names, loss=_loss(settings), of=of)
    if options.mistakes is None:
        return found, {}, []
    from netspec.runtime.models.mistakes import with_files

    wrong = _draw_mistakes(model, x, y, normalization, options.mistakes)
    wrong = with_files(wrong, x, _files(data, options.part, settings))
    listed = {"mistakes": [each.to_dict(names) for each in wrong]}
    return found, listed, ["", *_listed(wrong, names, options.mistakes)]


def _draw_mistakes(
    model: Model | TorchModel, x: Any, y: Any, normalization: InputNormalization, path: Path
) -> list[Mistake]:
    """Draw the surest mistakes in a grid, and return them.

    Raises:
        NetspecError: `data/shape` for what is no picture with one label.
    """
    from netspec.runtime.models.mistakes import MOST, can_be_drawn, drawn, surest_mistakes
    from netspec.runtime.plots.png import save_png

    if not can_be_drawn(x, y):
        raise NetspecError.simple(
            codes.DATA_SHAPE, "--mistakes draws pictures [C, H, W] with one label each"
        )
    found = surest_mistakes(model, x, y, normalization, MOST)
    if found:
        picture, scale = drawn(x, found)
        save_png(path, picture, scale=scale)
    return found


def _listed(found: Sequence[Mistake], names: Sequence[str], path: Path) -> Iterator[str]:
    """Yield lines on the mistakes in the order in which they are drawn."""
    from netspec.runtime.models.mistakes import listed

    if not found:
        yield "no mistakes: nothing was drawn"
        return
    yield f"{path}: the mistakes in which the net was surest, row by row"
    yield from (f"  {line}" for line in listed(found, names))


def _part(data: Dataset, part: str, settings: Settings) -> tuple[Any, Any]:
    """Return the images and labels of a part of the data.

    Raises:
        NetspecError: `data/missing-file` if the part is empty.
    """
    if part == "test" and len(data.x_test):  # perhaps there are no others
        return data.x_test, data.y_test
    rest, x_val, y_val = data.split(settings["val"], settings["seed"])
    rest = rest.limit(settings["train-limit"])
    parts = {"train": (rest.x_train, rest.y_train), "val": (x_val, y_val)}
    if part in parts and len(parts[part][0]):
        return parts[part]
    if part == "val":
        message = "no images were held out for validation: only a run that was given --val has some"
        raise NetspecError.simple(codes.DATA_MISSING_FILE, message)
    held = "--part val takes those that the run held out, " if len(x_val) else ""
    raise NetspecError.simple(
        codes.DATA_MISSING_FILE, f"{data.name} has no test images",
        f"{held}--part train takes the others",
    )  # fmt: skip


def _files(data: Dataset, part: str, settings: Settings) -> Sequence[str]:
    """Return the files that the images of a part were read from; nothing if they are not known."""
    import numpy as np

    train, test = data.files
    if part == "test" or not train:
        return test if part == "test" else ()
    places, none = np.arange(len(train))[:, None], np.zeros((0, 1), np.int64)
    numbered = replace(data, x_train=places, x_test=none, y_test=data.y_test[:0])
    x, _ = _part(numbered, part, settings)
    return [train[int(place)] for (place,) in x]


def _settings(options: argparse.Namespace, run: NamedRun | None) -> Settings:
    """Return the settings for data and loss.

    Each is as given, else that of the run, else the default of `train`. Pictures of other data are
    resized as the run's were, for they become inputs of the same net.
    """
    from netspec.runtime.runs.resolve import resolve

    folder = str(options.data_dir) if options.data_dir is not None else None
    named = {"data": options.data, "data-dir": folder, "loss": options.loss, "tta": options.tta}
    given = {n: v for n, v in {**named, **given_resize(options)}.items() if v is not None}
    if run is None:
        return resolve(given)
    resize = given_resize(options) or run.resize
    return run.settings_with({**given, **resize})


def _normalization(
    given: str | ChannelStatistics | None, trained: Trained, data: Dataset
) -> InputNormalization:
    from netspec.runtime.data.input_normalization import fit_normalization, images_to_fit
    from netspec.runtime.models.inputs import whole_fields

    if given is not None:
        images = images_to_fit(given, data.x_train, data.x_test)
        whole = whole_fields(trained.model.graph, data.input_shapes)
        normalization = fit_normalization(given, images, whole)
        trained.say_normalization(normalization)
        return normalization
    return stored_normalization(
        trained.weights,
        trained.path,
        "--normalize channel fits it to the training images, --mean and --std say it in numbers,"
        " --normalize none does nothing",
    )
