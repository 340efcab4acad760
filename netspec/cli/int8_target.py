"""`netspec compile FILE --target c --int8 --calibrate DATA`: scales from data, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from netspec.cli.common import tell
from netspec.cli.trained_net import Trained

if TYPE_CHECKING:
    from netspec.compiler.c_backend.int8.quantize import QuantizedNet

# Training images that scales are made of, and those of them that layers are compared on.
CALIBRATED, COMPARED = 512, 64
# How many of the layers that lose most are named.
NAMED = 3


def quantized_net(trained: Trained, data_name: str, folder: Path | None) -> QuantizedNet:
    """Return a trained net in whole numbers, and say what that costs.

    Raises:
        NetspecError: for data that is missing or does not fit, and layers without a form in whole
            numbers.
    """
    import numpy as np

    from netspec.compiler.c_backend.int8.losses import layer_losses
    from netspec.compiler.c_backend.int8.quantize import evaluated_plan, quantized
    from netspec.runtime.data.catalog import load
    from netspec.runtime.data.input_normalization import no_normalization
    from netspec.runtime.models.classifier_shape import only_input_shape
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.models.value_ranges import ranges_of, values_of

    model = trained.model
    assert isinstance(model, Model)
    graph, parameters = model.graph, model.parameters
    run = trained.run
    if folder is None and run is not None and run.settings["data"] == data_name:
        folder = run.settings["data-dir"]
    data = load(data_name, folder, only_input_shape(graph)).for_training()
    data = data.fit_to_inputs(graph.inputs)
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
    if len(data.x_test):
        x = np.asarray(normalization.apply(data.x_test, np.float32))
        y = np.asarray(data.y_test)
        exact = model.forward(x).argmax(axis=1)
        parts = range(0, len(x), CALIBRATED)
        found = np.concatenate(
            [next(iter(net.outputs({name: x[at : at + CALIBRATED]}).values())) for at in parts]
        )
        taken = found.argmax(axis=1)
        tell(
            f"{100 * (exact == y).mean():.2f} % of {len(x):,} test images right in float32,"
            f" {100 * (taken == y).mean():.2f} % in int8; {100 * (exact == taken).mean():.2f} % get the"
            " same class"
        )
    for each in worst:
        tell(
            f"{each.name} differs by {100 * each.error:.2f} % from its value in float32,"
            f" {100 * each.more:.2f} % more than what it reads"
        )
    return net
