"""`netspec verify FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path

from netspec import codes
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    checked_net,
    emit_report,
    natural,
    positive,
)
from netspec.cli.trained_net import explained_mismatch, stored_weights
from netspec.cli.weights import add_rename_option
from netspec.diagnostics import NetspecError
from netspec.text.live_line import LiveLine

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
    run = None if stored is None else stored.run
    with LiveLine() as live, explained_mismatch(options, run):
        found = verify(
            checked_net(options),
            batch=options.batch,
            steps=options.steps,
            seed=options.seed,
            dtypes=dtypes,
            torch=options.torch,
            c=options.c,
            onnx=options.onnx,
            weights=None if stored is None else stored.weights,
            against=options.against,
            advance=live.show,
        )
    return emit_report(found, options)
