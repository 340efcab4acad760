"""`netspec compile FILE --target c --int8`: scales from data, and a report of what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli.common import tell
from netspec.cli.data_of_run import data_of_run
from netspec.cli.named_run import path_of_run
from netspec.cli.trained_net import Trained
from netspec.diagnostics import NetspecError
from netspec.records import record

if TYPE_CHECKING:
    from netspec.compiler.c_backend.int8.quantize import QuantizedNet
    from netspec.compiler.c_backend.int8.scheme import Array
    from netspec.runtime.data.dataset import Dataset
    from netspec.runtime.data.input_normalization import InputNormalization
    from netspec.runtime.models.numpy_model import Model

# Training images that scales are made of, and those of them that layers are compared on.
CALIBRATED, COMPARED = 512, 64
# Test images that the net is measured on, if nothing is said, and those of them at once.
MEASURED, MEASURED_AT_ONCE = 1000, 256
# How many of the layers that lose most are named.
NAMED = 3


@record
class Calibration:
    """What the scales are made of, and on how much of it the net is measured.

    Attributes:
        data: the data whose training images give the scales; None for those of the run.
        folder: the folder to search first, if one is given.
        measured: the most test images that the net is measured on.
    """

    data: str | None
    folder: Path | None
    measured: int


def quantized_net(trained: Trained, by: Calibration) -> QuantizedNet:
    """Return a trained net in whole numbers, and say what that costs.

    Raises:
        NetspecError: for data that is missing or does not fit, and layers without a form in whole
            numbers; `usage/target` if no data is named and no run known.
    """
    import numpy as np

    from netspec.compiler.c_backend.int8.losses import layer_losses
    from netspec.compiler.c_backend.int8.quantize import evaluated_plan, quantized
    from netspec.runtime.data.input_normalization import no_normalization
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.value_ranges import ranges_of, values_of

    model = trained.model
    assert isinstance(model, Model)
    graph, parameters = model.graph, model.parameters
    data = _data(trained, by)
    normalization = trained.weights.normalization
    if normalization is None:
        tell(f"note: {trained.path} does not say how images were normalised: they are not")
        normalization = no_normalization(graph.inputs)
    (name,) = graph.inputs
    chosen = np.asarray(normalization.apply(data.x_train[:CALIBRATED], np.float32))
    plan = evaluated_plan(graph)
    ranges = ranges_of(values_of(graph, plan, parameters, {name: chosen}))
    net = quantized(graph, parameters, ranges)
    some = {name: chosen[:COMPARED]}
    values = next(values_of(graph, plan, parameters, some))
    worst = layer_losses(net, some, values)[:NAMED]
    if len(data.x_test) and by.measured:
        _say_accuracy(net, model, normalization, data, by.measured)
    for each in worst:
        tell(
            f"{each.name} differs by {100 * each.error:.2f} % from its value in float32,"
            f" {100 * each.more:.2f} % more than what it reads"
        )
    return net


def _data(trained: Trained, by: Calibration) -> Dataset:
    """Return the named data, or that of the run, as the net takes it.

    Raises:
        NetspecError: for data that is missing or does not fit; `usage/target` if none is known.
    """
    from netspec.runtime.data.catalog import load
    from netspec.runtime.models.classifier_shape import only_input_shape
    from netspec.runtime.runs.resolve import resolve

    run, graph = trained.run, trained.net.graph
    folder = None if by.folder is None else str(by.folder)
    given = {n: v for n, v in {"data": by.data, "data-dir": folder}.items() if v is not None}
    if run is not None:
        settings = run.settings_with(given, {"data": "--calibrate"})
        if by.data is None:
            tell(f"scales from training images of {settings['data']}, the data of the run")
    elif by.data is not None:
        settings = resolve(given)
    else:
        raise NetspecError.simple(
            codes.USAGE_TARGET, f"--int8 needs data, and {trained.path} belongs to no run",
            "name the data whose training images give the scales, such as --calibrate mnist",
        )  # fmt: skip
    with data_of_run(path_of_run(run), settings["data"], by.data, "--calibrate"):
        data = load(
            settings["data"], settings["data-dir"], only_input_shape(graph), resize=settings.resize,
            ignore_index=settings["ignore-index"], code=by.data == settings["data"],
        ).for_training()  # fmt: skip
    return data.fit_to_inputs(graph.inputs)


def _say_accuracy(
    net: QuantizedNet, model: Model, normalization: InputNormalization, data: Dataset, most: int
) -> None:
    """Say how many test images are right before and after, of so many from all over the test set."""
    import numpy as np

    there = len(data.x_test)
    taken = np.linspace(0, there - 1, min(most, there)).astype(int)
    x = np.asarray(normalization.apply(data.x_test[taken], np.float32))
    y = np.asarray(data.y_test)[taken]
    parts = [x[at : at + MEASURED_AT_ONCE] for at in range(0, len(x), MEASURED_AT_ONCE)]
    exact = np.concatenate([_classes(model.forward(part)) for part in parts])
    (name,) = net.graph.inputs
    found = np.concatenate(
        [_classes(next(iter(net.outputs({name: part}).values()))) for part in parts]
    )
    tell(
        f"{100 * (exact == y).mean():.2f} % of {len(x):,} test images right in float32,"
        f" {100 * (found == y).mean():.2f} % in int8; {100 * (exact == found).mean():.2f} % get the"
        " same class"
    )
    if len(x) < there:
        tell(f"these are some of {there:,} test images: --test-limit {there} takes all")


def _classes(scores: Array) -> Array:
    """Return the likeliest class of each image."""
    import numpy as np

    return np.asarray(scores.argmax(axis=1))
