"""`netspec plot RUN...` and `netspec plot --filters WEIGHTS`."""

from __future__ import annotations

import argparse
from pathlib import Path

from netspec import codes
from netspec.cli import OK
from netspec.cli.common import add_color_option, emit
from netspec.cli.output_place import add_force_option, check_output
from netspec.diagnostics import NetspecError
from netspec.text.printable import as_utf8

_CURVES, _FILTERS = Path("curves.png"), Path("filters.png")
_NUMBERS = ".csv"
# So many runs, of other settings each, are drawn with all of their curves.
_APART = 3
# The least and the largest side of a picture.
_INCHES = 2, 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN",
                        help="folders of runs, or folders that hold some, such as that of a sweep: their"
                        " losses and accuracies are drawn. Of runs that differ in the seed, and of more"
                        " than three, a curve for each combination of settings: the mean over seeds, in"
                        " a band of one standard deviation (n - 1)")  # fmt: skip
    parser.add_argument("--filters", type=Path, metavar="WEIGHTS",
                        help="draw filters of these weights, a safetensors file or .pth")  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="whose filters (default: the first's)")
    parser.add_argument("--what", metavar="MEASURE",
                        help="draw this alone: val_loss, perplexity, val, loss or another name in"
                        " metrics.jsonl (of several runs by default val_loss)")  # fmt: skip
    parser.add_argument("--only", metavar="NAME=VALUE", type=_setting, action="append", default=[],
                        help="only runs with a setting, such as lr=0.01; again for another")  # fmt: skip
    parser.add_argument("--log", action="store_true", help="draw losses on a logarithmic axis")
    parser.add_argument("--size", metavar="W,H", type=_size,
                        help="width and height in inches, with the legend")  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, metavar="FILE",
                        help="PNG, SVG or PDF, or CSV with the numbers of the curves; of filters PNG"
                        f" (default {_CURVES}, {_FILTERS})")  # fmt: skip
    add_force_option(parser)
    add_color_option(parser)


def _setting(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise argparse.ArgumentTypeError("a setting and its value, such as lr=0.01")
    return name, value


def _size(text: str) -> tuple[float, float]:
    low, high = _INCHES
    try:
        width, height = map(float, text.split(","))
    except ValueError:
        width = height = 0.0
    if not (low <= width <= high and low <= height <= high):
        raise argparse.ArgumentTypeError(
            f"width and height in inches, of {low} to {high}, such as 3.5,2.5"
        )
    return width, height


def run(options: argparse.Namespace) -> int:
    """Draw the plot, and print where it was saved."""
    if bool(options.runs) == (options.filters is not None):
        raise NetspecError.simple(
            codes.USAGE_PLOT, "nothing to draw" if not options.runs else "curves or filters, not both",
            "netspec plot RUN..., or netspec plot --filters WEIGHTS",
        )  # fmt: skip
    return _draw_curves(options) if options.runs else _draw_filters(options)


def _draw_curves(options: argparse.Namespace) -> int:
    from netspec.runtime.plots.bands import bands_csv, draw_bands
    from netspec.runtime.plots.curves import curves_of, draw_curves
    from netspec.runtime.plots.figures import FORMATS, check_picture_path
    from netspec.runtime.runs.bands import bands_of
    from netspec.runtime.runs.chosen import runs_with
    from netspec.runtime.runs.listing import find_runs, seed_groups, summarize_run
    from netspec.runtime.runs.metrics import read_metrics
    from netspec.runtime.weights.atomic_write import told_plainly
    from netspec.runtime.weights.output_file import write_output

    path = options.out or _CURVES
    check_picture_path(path, (*FORMATS, _NUMBERS))
    check_output(path, (), force=options.force)  # no picture is read
    folders = dict.fromkeys(folder.resolve() for folder in find_runs(options.runs))
    runs = runs_with([summarize_run(folder) for folder in folders], dict(options.only))
    is_csv = path.suffix.lower() == _NUMBERS
    is_compared = len(runs) > _APART or len(seed_groups(runs)) < len(runs)
    if is_compared or is_csv or options.what is not None:
        what, bands = bands_of(runs, options.what)
        if is_csv:
            with told_plainly(path):
                write_output(path, as_utf8(bands_csv(what, bands)).encode())
        else:
            draw_bands(what, bands, path, log=options.log, size=options.size)
    else:
        found = [curves_of(run.path.name, read_metrics(run.path)) for run in runs]
        draw_curves(found, path, log=options.log, size=options.size)
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
