"""`netspec predict RUN IMAGE...`, `netspec predict FILE --weights W IMAGE...`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.common import emit, positive, report, tell
from netspec.cli.named_run import named_run
from netspec.cli.picture_options import add_normalize_options, given_normalization
from netspec.cli.trained_net import Trained, add_weight_options, load_trained, stored_normalization
from netspec.diagnostics import NetspecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from netspec.compiler.ir.graph import Graph
    from netspec.diagnostics import Diagnostic
    from netspec.runtime.data.input_normalization import ChannelStatistics, InputNormalization
    from netspec.runtime.inference.predict import Prediction

# Kinds of normalization that need no training images to be fitted to. `none` and `unit` treat all
# files as bytes (`unit` divides by 255); only statistics take an array that does not hold bytes for
# pixels from 0 to 1.
_OF_BYTES = ("none", "unit")
_WITHOUT_DATA = (*_OF_BYTES, "imagenet")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    add_weight_options(parser)
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE",
                        help="PNG, JPEG, .npy of one or many, or a folder of pictures")  # fmt: skip
    parser.add_argument("--top", type=positive, default=1, metavar="K",
                        help="show the K most likely classes (default 1)")  # fmt: skip
    parser.add_argument("--invert", action="store_true",
                        help="turn dark and light round: a drawing on white paper becomes light on dark,"
                        " as MNIST's digits are")  # fmt: skip
    add_normalize_options(
        parser, _WITHOUT_DATA,
        "instead of what the weights file says: none; unit, pixels from 0 to 1; or imagenet, as"
        " torchvision's weights expect",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Predict, and print one line for each image."""
    from netspec.runtime.inference.background import turned_round
    from netspec.runtime.inference.predict import inverted, picture_files, predict, read_pictures
    from netspec.runtime.models.odd_pixels import pixel_doubt
    from netspec.runtime.weights.data_facts import image_type

    _require_net_first(options)
    trained = load_trained(options)
    _require_one_input(trained.model.graph)
    resize = trained.resize(options)
    given = given_normalization(options)
    normalization_for = _normalization(given, trained)
    trained_on = image_type(trained.weights.metadata)
    found: list[Prediction] = []
    unread: list[Diagnostic] = []
    for path in picture_files(options.images):
        try:
            pictures = read_pictures(
                path,
                trained.model.input_shape,
                resize=resize,
                trained_on=trained_on,
            )
            if options.invert:
                pictures = inverted(path, pictures)
            normalization = normalization_for(pictures.x)
            if given is None and (odd := pixel_doubt(pictures.x, trained_on, normalization)):
                tell(f"warning: {path}: {odd}")
            other = None if options.invert else turned_round(pictures.x, normalization, trained_on)
            if other is not None:
                tell(f"note: {path} is {other}: --invert turns it round")
            found += predict(trained.model, pictures, normalization, options.top)
        except NetspecError as error:  # the other images are still classified
            unread += error.diagnostics
    if unread and not found:
        raise NetspecError(unread)
    if options.format == "json":
        emit(json.dumps([_as_dict(p, trained.names) for p in found], indent=2))
    else:
        emit("\n".join(_lines(found, trained.names)))
    if unread:
        report(unread, options)
        return FAILED
    return OK


def _require_net_first(options: argparse.Namespace) -> None:
    """Refuse a picture in front of the run that is to predict it.

    Raises:
        NetspecError: `usage/weights`.
    """
    run = next((path for path in options.images if named_run(path) is not None), None)
    if run is not None and options.file.suffix != ".net" and named_run(options.file) is None:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS, f"the run comes first, and {run} stands behind {options.file}",
            f"netspec predict {run} {options.file}",
        )  # fmt: skip


def _require_one_input(graph: Graph) -> None:
    """Refuse a net to which a picture gives one of its inputs alone.

    Raises:
        NetspecError: `model/inputs`.
    """
    if len(graph.inputs) > 1:
        arrays = ", ".join(f'"{name}": ...' for name in graph.inputs)
        raise NetspecError.simple(
            codes.MODEL_INPUTS,
            f"{graph.name} has the inputs {', '.join(graph.inputs)}, and a picture is one",
            f"`eval` measures it on a data set; in Python it takes arrays: model.predict({{{arrays}}})",
        )


def _normalization(
    given: str | ChannelStatistics | None, trained: Trained
) -> Callable[[NDArray[Any]], InputNormalization]:
    """Return how the pictures of a file are normalized: as `given`, else as in training."""
    import numpy as np

    from netspec.runtime.data.input_normalization import Normalization

    if given is not None:
        nothing = np.zeros((1, *trained.model.input_shape), np.uint8)
        normalization = Normalization.fit(given, nothing)
        trained.say_normalization(normalization)
        if given in _OF_BYTES:
            return lambda _: normalization
        return lambda x: Normalization.fit(given, x)
    stored = stored_normalization(
        trained.weights, trained.path,
        "--normalize none; unit for pixels from 0 to 1; imagenet for torchvision's weights; any other"
        " by --mean and --std",
    )  # fmt: skip
    return lambda _: stored


def _lines(found: Iterable[Prediction], names: tuple[str, ...]) -> Iterable[str]:
    shown = [(p, [names[c] for c in p.classes]) for p in found]
    widest = max(len(p.name) for p, _ in shown)
    columns = [max(map(len, column)) for column in zip(*(c for _, c in shown), strict=True)]
    for prediction, classes in shown:
        cells = [
            f"{name:<{width}} {share:>6.1%}"
            for name, width, share in zip(classes, columns, prediction.shares, strict=True)
        ]
        yield "  ".join([f"{prediction.name:<{widest}}", *cells])


def _as_dict(prediction: Prediction, names: tuple[str, ...]) -> dict[str, Any]:
    classes = zip(prediction.classes, prediction.shares, strict=True)
    return {
        "image": prediction.name,
        "classes": [{"class": c, "name": names[c], "probability": share} for c, share in classes],
    }
