"""`netspec plot RUN...` and `netspec plot --filters WEIGHTS`."""

from __future__ import annotations

import argparse
from pathlib import Path

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import add_color_option, emit
from netspec.cli.output_place import add_force_option, check_output
from netspec.diagnostics import NetspecError

_CURVES, _FILTERS = Path("curves.png"), Path("filters.png")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN",
                        help="folders of runs: their losses and accuracies are drawn")  # fmt: skip
    parser.add_argument("--filters", type=Path, metavar="WEIGHTS",
                        help="draw filters of these weights, a safetensors file or .pth")  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="whose filters (default: the first's)")
    parser.add_argument("--log", action="store_true", help="draw losses on a logarithmic axis")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE",
                        help=f"PNG or SVG; of filters PNG (default {_CURVES}, {_FILTERS})")  # fmt: skip
    add_force_option(parser)
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Draw the plot, and print where it was saved."""
    if bool(options.runs) == (options.filters is not None):
        raise NetspecError.simple(
            codes.USAGE_PLOT, "nothing to draw" if not options.runs else "curves or filters, not both",
            "netspec plot RUN..., or netspec plot --filters WEIGHTS",
        )  # fmt: skip
    return _draw_curves(options) if options.runs else _draw_filters(options)


def _draw_curves(options: argparse.Namespace) -> int:
    from netspec.runtime.plots.curves import curves_of, draw_curves
    from netspec.runtime.plots.figures import check_picture_path
    from netspec.runtime.runs.folder import RunFolder
    from netspec.runtime.runs.metrics import read_metrics

    path = options.out or _CURVES
    check_picture_path(path)
    check_output(path, (), force=options.force)  # no picture is read
    found = []
    for folder in options.runs:
        RunFolder(folder).facts()  # raises the error for a folder that is not a run
        found.append(curves_of(folder.resolve().name, read_metrics(folder)))
    draw_curves(found, path, log=options.log)
    emit(str(path))
    return OK


def _draw_filters(options: argparse.Namespace) -> int:
    from netspec.runtime.plots.figures import check_picture_path
    from netspec.runtime.plots.filters import draw_filters
    from netspec.runtime.weights.weights_file import load_weights

    path = options.out or _FILTERS
    check_picture_path(path, (".png",))
    check_output(path, [options.filters], force=options.force)
    about = draw_filters(load_weights(options.filters).tensors, path, options.layer)
    emit(f"{path}: {about}")
    return OK
