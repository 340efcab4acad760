"""`netspec gradcheck FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from netspec.cli.common import (
    add_net_file,
    add_net_options,
    checked_net,
    emit_report,
    natural,
    positive,
)
from netspec.cli.data_of_run import data_of_run
from netspec.cli.named_run import NamedRun, named_run, path_of_run
from netspec.cli.trained_net import explained_mismatch, say_matches, stored_weights
from netspec.cli.weights import add_rename_option
from netspec.text.live_line import LiveLine

if TYPE_CHECKING:
    from netspec.net import Net
    from netspec.runtime.data import Dataset
    from netspec.runtime.data.vocabulary import Vocabulary
    from netspec.runtime.models.numpy_model import Model
    from netspec.runtime.optim.losses import Loss
    from netspec.runtime.runs.resolve import Settings
    from netspec.runtime.weights.safetensors_file import Weights

_EPILOG = """\
Slopes of the loss are measured by central differences in float64, with a step that is chosen by
extrapolation, and compared with the gradients of the compiled NumPy program and of the PyTorch module
where PyTorch is installed. A probe is wrong where |a - b| > tolerance * max(1, the largest slope of the
row), or > 1e-4 of the largest slope, and more than 10 times the error of the difference itself.
Gradients that are too small for differences are compared with the reference, and its layers checked one
by one.

A probe whose step crosses the kink of a ReLU or a max pool (some number changes sides) is tried again
with smaller steps. If none is small enough, it is counted under `kinks` and is not conclusive. A row
with less than 90 % conclusive probes is `inconclusive`, and the exit code is 1, as for a failure. Where
the batch itself lies on kinks (the equal pixels of a flat background tie in a max pool), there is no
slope: a note says so, and the row is checked with the inputs moved by a thousandth.

Weights are those of --weights or of a run; else the initial ones of the seed, with those that start out
constant moved and those that are all tiny enlarged, and scaled where signals would vanish or explode.
Dropout masks are held fixed. With --from or --to the part of the net between two labels is checked, on
random values and with a random linear functional of what comes out.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.runtime.optim.losses import LOSSES

    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_net_file(parser)
    add_net_options(parser)

    what = parser.add_argument_group("what is checked")
    what.add_argument(
        "--params", default="all", metavar="NAMES",
        help="all (default), or names with wildcards, such as 'layer1.*,fc.weight'; inputs too",
    )  # fmt: skip
    what.add_argument("--from", dest="start", metavar="LABEL",
                      help="begin with this layer, block or input")  # fmt: skip
    what.add_argument("--to", dest="end", metavar="LABEL", help="end with this layer or block")
    what.add_argument("--backend", choices=("numpy", "c", "torch", "both"),
                      help="both: numpy and torch (default: both, where PyTorch is"
                      " installed)")  # fmt: skip
    what.add_argument("--mode", choices=("train", "eval", "both"), default="both",
                      help="(default both)")  # fmt: skip
    what.add_argument("--loss", choices=tuple(LOSSES), help="(default softmax, the cross-entropy)")

    how = parser.add_argument_group("how")
    ways = how.add_mutually_exclusive_group()
    ways.add_argument("--directions", type=positive, metavar="K",
                      help="K random directions of each parameter and input (default 10)")  # fmt: skip
    ways.add_argument("--elements", type=positive, metavar="K",
                      help="K random elements of each")  # fmt: skip
    ways.add_argument("--full", action="store_true", help="every element")
    how.add_argument(
        "--whole", action=argparse.BooleanOptionalAction,
        help="move all parameters at once in each direction (default: where a check of each would"
        " take more than a minute)",
    )  # fmt: skip
    how.add_argument("--tolerance", type=float, default=1e-7, metavar="T", help="(default 1e-7)")
    how.add_argument(
        "--weights", type=Path, metavar="W",
        help="check at these weights, a file or the folder of a run, in place of initial ones (default:"
        " those of a run in place of FILE)",
    )  # fmt: skip
    add_rename_option(how)
    how.add_argument("--data", metavar="NAME",
                     help="take the batch from a data set, as `train` does; of a run by default its own,"
                     " else random")  # fmt: skip
    how.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder to search first")
    how.add_argument("--batch", type=positive, default=4, metavar="N",
                     help="images in the batch (default 4)")  # fmt: skip
    how.add_argument("--seed", type=natural, default=0, metavar="N",
                     help="of weights, batch, masks and probes (default 0)")  # fmt: skip
    how.add_argument(
        "--format", choices=("text", "json"), default="text",
        help="text: a table on stdout, where a gradient is first wrong on stderr; json: all on"
        " stdout",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Run the check, and print how far the gradients are from the numerical slopes."""
    from netspec.tools.gradcheck import gradcheck

    net = checked_net(options)
    subject = _subject(net, options)
    with LiveLine() as live:
        found = gradcheck(
            subject.net,
            subject.x,
            subject.y,
            params=options.params,
            directions=options.directions,
            elements=options.elements,
            full=options.full,
            whole=options.whole,
            start=options.start,
            end=options.end,
            backend=options.backend,
            batch=options.batch,
            seed=options.seed,
            loss=subject.loss,
            mode=options.mode,
            tolerance=options.tolerance,
            advance=live.show,
        )
    return emit_report(found, options)


class _Subject(NamedTuple):
    """What is checked: a net or the model of a run, a batch (None for a random one), the loss."""

    net: Net | Model
    x: Any = None
    y: Any = None
    loss: Loss | str | None = None


def _subject(net: Net, options: argparse.Namespace) -> _Subject:
    """Return what to check. For a run: its weights, images and loss, unless others are given."""
    from netspec.runtime.data.input_normalization import fit_normalization
    from netspec.runtime.models.inputs import whole_fields
    from netspec.runtime.optim.losses import make_loss
    from netspec.runtime.runs.resolve import resolve
    from netspec.runtime.weights.data_facts import stored_vocabulary

    run = named_run(options.file)
    model, weights = _trained(net, run, options)
    if run is None and options.data is None:
        return _Subject(model, loss=options.loss)
    folder = str(options.data_dir) if options.data_dir is not None else None
    named = {"data": options.data, "data-dir": folder, "loss": options.loss}
    given = {name: value for name, value in named.items() if value is not None}
    settings = resolve(given) if run is None else run.settings_with(given)
    if run is not None and (options.start or options.end):  # a part's inputs are no images
        return _Subject(model, loss=options.loss)
    vocabulary = None if weights is None else stored_vocabulary(weights.metadata)
    with data_of_run(path_of_run(run), settings["data"], options.data):
        data = _images(net, settings, vocabulary)
    kind = settings.normalize_without_weights
    fitted = None if weights is None else weights.normalization
    whole = whole_fields(net.graph, data.input_shapes)
    normalization = fitted or fit_normalization(kind, data.x_train, whole)
    x = normalization.apply(data.x_train[: options.batch], "float64")
    loss = options.loss if run is None else make_loss(settings["loss"], **settings.keywords("loss"))
    return _Subject(model, x, data.y_train[: options.batch], loss)


def _trained(
    net: Net, run: NamedRun | None, options: argparse.Namespace
) -> tuple[Net | Model, Weights | None]:
    """Return the model with the weights that the options name, or that the run has, and these.

    Without any, such as those of a run that has none yet, it is the net and None.
    """
    if options.weights is None and (run is None or not run.folder.weights.is_file()):
        return net, None
    stored = stored_weights(options)
    assert stored is not None
    model = net.compile("numpy", dtype="float64")
    with explained_mismatch(options, stored.run):
        model.load_state_dict(stored.weights.tensors)
    say_matches(stored.weights, stored.path, model)
    return model, stored.weights


def _images(net: Net, settings: Settings, vocabulary: Vocabulary | None) -> Dataset:
    from netspec.runtime.data.catalog import load
    from netspec.runtime.models.classifier_shape import only_input_shape, require_targets
    from netspec.runtime.optim.targets import OF_CLASSES

    folder = Path(settings["data-dir"]) if settings["data-dir"] else None
    data = load(
        settings["data"], folder, only_input_shape(net.graph), resize=settings.resize,
        ignore_index=settings["ignore-index"], tokens=settings["tokens"], vocabulary=vocabulary,
    ).for_training().fit_to_inputs(net.graph.inputs)  # fmt: skip
    require_targets(net.graph, data, OF_CLASSES)
    return data
