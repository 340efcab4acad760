"""`netspec verify FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    checked_net,
    emit_report,
    natural,
    positive,
    tell,
)
from netspec.cli.trained_net import Stored, explained_mismatch, stored_weights
from netspec.cli.weights import add_rename_option
from netspec.diagnostics import NetspecError
from netspec.text.live_line import LiveLine

if TYPE_CHECKING:
    from netspec.net import Net

_EPILOG = """\
The reference evaluates a net layer by layer, slowly and obviously. The NumPy program is compared with
it step by step, then with its elementwise steps fused, then as it runs, with values sharing memory; the
PyTorch module is compared with the NumPy program. Weights are the initial ones of the seed, with those
that start out constant moved and those that are all tiny enlarged, or those of --weights; the batch is
random.

Two arrays agree to a tolerance if |a - b| <= tolerance * max(1, max|a|): to 1e-10 in float64, to 1e-6
for each layer on the longest path in float32 (1e-5 at least). However small all numbers of an array
are, they agree to a millionth of the largest (a thousandth in float32) unless rounding explains more.
Where rounding decides (on which side of a ReLU's kink a number lies), correct programs can differ; each
is then compared with what the reference computes from that program's own preceding values. A C file
shows none: small differences of its gradients in float32 are taken for rounding if float64 agrees.
Parameters after steps must agree to 1e-9 in float64; float32 is only shown.

The reference is slow on large pictures and wide layers: make the net smaller, for instance with
--set size=64 --set width=0.25 in networks/zoo.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_net_file(parser)
    add_net_options(parser)
    parser.add_argument(
        "--batch", type=positive, default=3, metavar="N", help="images in the batch (default 3)"
    )
    parser.add_argument(
        "--steps", type=natural, default=3, metavar="N",
        help="steps of each optimizer, 0 for none (default 3)",
    )  # fmt: skip
    parser.add_argument(
        "--seed", type=natural, default=0, metavar="N",
        help="of the weights, the batch and the dropout masks (default 0)",
    )  # fmt: skip
    parser.add_argument(
        "--dtype", choices=("float64", "float32", "both"), default="both", help="(default both)"
    )
    parser.add_argument("--no-torch", dest="torch", action="store_false", help="do not use PyTorch")
    parser.add_argument(
        "--c", action="store_true",
        help="compile the C files too, with the C compiler of this machine, and compare their numbers",
    )  # fmt: skip
    parser.add_argument(
        "--onnx", action="store_true",
        help="run the ONNX model too, with onnxruntime, and compare its outputs, in float32",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="W",
        help="compare with these weights, a file or the folder of a run, in place of initial values"
        " (default: those of a run in place of FILE)",
    )  # fmt: skip
    add_rename_option(parser)
    parser.add_argument(
        "--against", type=Path, metavar="M.onnx",
        help="an ONNX file, of any origin, that is to give the same outputs with these weights; in"
        " float32",
    )  # fmt: skip
    parser.add_argument(
        "--outputs-only", action="store_true",
        help="compare nothing but the outputs, in evaluation and float32, without PyTorch",
    )  # fmt: skip
    parser.add_argument(
        "--data", metavar="NAME",
        help="take the batch from a data set, as `eval` does, in place of random numbers: its first test"
        " images, normalised as the weights say",
    )  # fmt: skip
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="the folder to search first")
    parser.add_argument(
        "--format", choices=("text", "json"), default="text",
        help="text: tables on stdout, the first difference on stderr; json: all on stdout",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Compare the programs, and print how far apart their results are."""
    from netspec.tools.verify import verify

    stored = stored_weights(options)
    if options.against is not None and stored is None:
        raise NetspecError.simple(
            codes.USAGE_WEIGHTS,
            "--against needs the weights of the net",
            "give --weights FILE, or a run",
        )
    dtypes = ("float64", "float32") if options.dtype == "both" else (options.dtype,)
    if options.outputs_only and options.dtype == "float64":
        message = "--outputs-only compares in float32"
        raise NetspecError.simple(codes.MODEL_DTYPE, message, "leave out --dtype float64")
    run = None if stored is None else stored.run
    net = checked_net(options)
    own = None if options.data is None else _own_batch(net, stored, options)
    with LiveLine() as live, explained_mismatch(options, run):
        found = verify(
            net,
            batch=options.batch,
            steps=options.steps,
            seed=options.seed,
            dtypes=dtypes,
            torch=options.torch,
            c=options.c,
            onnx=options.onnx,
            weights=None if stored is None else stored.weights,
            against=options.against,
            outputs_only=options.outputs_only,
            x=own,
            advance=live.show,
        )
    return emit_report(found, options)


def _own_batch(net: Net, stored: Stored | None, options: argparse.Namespace) -> Any:
    """Return the first images of a data set, normalised as the weights say, by the name of the input."""
    from netspec.runtime.data.catalog import load
    from netspec.runtime.data.input_normalization import no_normalization
    from netspec.runtime.models.classifier_shape import only_input_shape
    from netspec.runtime.runs.resolve import resolve
    from netspec.runtime.weights.data_facts import stored_vocabulary

    run = None if stored is None else stored.run
    folder = None if options.data_dir is None else str(options.data_dir)
    named = {"data": options.data, "data-dir": folder}
    given = {name: value for name, value in named.items() if value is not None}
    settings = resolve(given) if run is None else run.settings_with(given)
    vocabulary = None if stored is None else stored_vocabulary(stored.weights.metadata)
    data = load(
        settings["data"], options.data_dir, only_input_shape(net.graph), resize=settings.resize,
        ignore_index=settings["ignore-index"], tokens=settings["tokens"], code=True,
        on_demand=settings.decodes_on_demand, vocabulary=vocabulary,
    ).fit_to_inputs(net.graph.inputs)  # fmt: skip
    x = data.x_test if len(data.x_test) else data.x_train
    by = None if stored is None else stored.weights.normalization
    if by is None:
        tell(f"note: the numbers of {data.name} as they are: no weights say how to normalise them")
        by = no_normalization(net.graph.inputs)
    return by.apply(x[: options.batch], "float64")
