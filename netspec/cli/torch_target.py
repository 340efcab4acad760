"""`netspec compile FILE --target torch`: the module, and what it says of the data it is for."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from netspec.cli.about_numbers import about_numbers
from netspec.cli.normalized_files import required_normalization, say_inputs
from netspec.cli.trained_net import stored_weights

if TYPE_CHECKING:
    from netspec.cli.trained_net import Stored
    from netspec.compiler.ir.input_scale import InputScale
    from netspec.compiler.torch_backend.emit import AboutData
    from netspec.net import Net


def module_source(net: Net, options: argparse.Namespace) -> str:
    """Return the source of the module; what inputs it takes is also said on stderr.

    Raises:
        NetspecError: as `torch_source` does, and for the weights.
    """
    from netspec.compiler.passes.layer_limit import require_few_layers
    from netspec.compiler.torch_backend import torch_source
    from netspec.compiler.torch_backend.source_notes import without_notes

    require_few_layers(net.graph)
    stored = _stored(options)
    if not options.normalize_input:
        say_inputs(stored, tuple(net.graph.inputs))
    source = torch_source(net.written, _about(net, stored, options))
    return source if options.source_notes else without_notes(source)


def _stored(options: argparse.Namespace) -> Stored | None:
    """Return the weights, as far as there are any: a run that has not finished has none."""
    from netspec.cli.named_run import named_run

    run = named_run(options.file)
    waits = run is not None and options.weights is None and not run.folder.weights.is_file()
    return None if waits and not options.normalize_input else stored_weights(options)


def _about(net: Net, stored: Stored | None, options: argparse.Namespace) -> AboutData | None:
    """Return what the module says of the data; None if nothing is known."""
    if stored is None and not options.normalize_input:
        return None  # and nothing that is imported here needs to be there
    from netspec.compiler.torch_backend.emit import AboutData
    from netspec.runtime.data.input_scales import input_scales
    from netspec.runtime.weights.data_facts import stored_names

    scales: dict[str, InputScale] = {}
    advice = "; or compile with --normalize"
    by = required_normalization(stored) if options.normalize_input else None
    if by is not None:
        scales = input_scales(by, net.graph.inputs)
        advice = f"; the class Normalized{net.name} takes them as they are"
    assert stored is not None, "what normalises has weights"
    lines = about_numbers(stored, tuple(net.graph.inputs), advice=advice)
    names = stored_names(stored.weights.metadata)
    classes = (f"Classes: {', '.join(names)}.",) if names else ()
    return AboutData((*lines, *classes), scales)
