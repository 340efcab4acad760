"""`netspec bench FILE` and `netspec bench --layers`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    checked_net,
    emit,
    positive,
    tell,
    thread_count,
)
from netspec.cli.named_run import named_run
from netspec.cli.trained_net import explained_mismatch, stored_weights
from netspec.cli.weights import add_rename_option
from netspec.diagnostics import NetspecError, suggest
from netspec.text.width import terminal_width

if TYPE_CHECKING:
    from netspec.net import Net


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.tools.bench.peers import OURS, PEERS

    peers = [name for name in PEERS if name != OURS]
    add_net_file(
        parser, nargs="?",
        help="a .net file, or the name of a net that comes with netspec: time the program of it next "
        "to its peers",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=Path, metavar="W",
        help="start with these weights, a file or the folder of a run, in place of initial values"
        " (default: those of a run in place of FILE)",
    )  # fmt: skip
    add_rename_option(parser)
    parser.add_argument(
        "--layers", action="store_true",
        help="conv and max pool: a course's loops against the kernels that netspec runs",
    )  # fmt: skip
    parser.add_argument(
        "--against", metavar="NAMES", default=",".join(peers),
        help=f"some of {','.join(peers)} (default: all). Ratios are relative to the first"
        " that is installed",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=positive, nargs="+", default=[64], metavar="N",
        help="images in a batch (default 64); several values are measured one after the other",
    )  # fmt: skip
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--train", action="store_true",
        help="a training step: forward, cross-entropy, backward, SGD (the default)",
    )  # fmt: skip
    mode.add_argument("--infer", action="store_true", help="forward, in evaluation mode")
    parser.add_argument(
        "--rounds", type=positive, default=5, metavar="N",
        help="number of rounds; the median is reported (default 5)",
    )  # fmt: skip
    parser.add_argument(
        "--profile", action="store_true", help="show where netspec's time goes, by line and kernel"
    )
    parser.add_argument(
        "--images", type=positive, default=100, metavar="N",
        help="with --layers: images in a batch (default 100, as in the notebook: some 20 seconds)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=thread_count, metavar="N",
        help="threads of netspec, and of each peer (default: all processors)",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text (default) or json"
    )
    add_net_options(parser)


def run(options: argparse.Namespace) -> int:
    """Measure a net or the layers of a course, and print the report.

    Raises:
        NetspecError: `usage/bench`, and the errors of the file.
    """
    if options.layers == (options.file is not None):
        message = "nothing to measure: give a file, or --layers"
        raise NetspecError.simple(codes.USAGE_BENCH, message, "netspec bench networks/lenet.net")
    return _layers(options) if options.layers else _net(options)


def _net(options: argparse.Namespace) -> int:
    """Time a net next to its peers, one batch size after another."""
    against = _peers(options.against)
    net = checked_net(options)
    weights = _weights(net, options)
    from dataclasses import asdict

    from netspec.kernels import parallel
    from netspec.tools.bench import Workload, compare
    from netspec.tools.bench.machine import machine
    from netspec.tools.bench.report import as_data, as_text, machine_text
    from netspec.tools.bench.worker import PeerError

    threads = options.threads or parallel.threads()
    here = machine()
    if here.is_busy:
        tell(f"other programs are using this machine (load {here.load:.1f}): so are these times")
    found: list[dict[str, Any]] = []
    for number, batch in enumerate(options.batch):
        case = Workload(net, batch, not options.infer, threads, weights=weights)
        try:
            result = compare(
                case, against, options.rounds, profile=options.profile, say=_say
            )  # fmt: skip
        except PeerError as error:
            tell(f"error: netspec {error}")
            return FAILED
        if options.format == "text":
            emit(("\n" if number else "") + as_text(result, terminal_width()))
        found.append(as_data(result))
    if options.format == "json":
        emit(json.dumps({"machine": asdict(here), "cases": found}, indent=2))
    else:
        emit(f"\n{machine_text(here)}")
    return OK


def _weights(net: Net, options: argparse.Namespace) -> dict[str, Any] | None:
    """Return the weights that the options name, or that the run has; None where a net is drawn.

    Raises:
        NetspecError: `weights/bad-file`, `weights/mismatch`.
    """
    run = named_run(options.file)
    if options.weights is None and (run is None or not run.folder.weights.is_file()):
        return None
    import numpy as np

    from netspec.runtime.models.loaded_state import fitted_state

    stored = stored_weights(options)
    assert stored is not None
    with explained_mismatch(options, stored.run):
        return fitted_state(net.graph, stored.weights, np.dtype(np.float32))


def _say(text: str) -> None:
    tell(text)


def _peers(text: str) -> list[str]:
    """Return the names in `--against`.

    Raises:
        NetspecError: `usage/bench` for an unknown name.
    """
    from netspec.tools.bench.peers import OURS, PEERS

    known = [name for name in PEERS if name != OURS]
    names = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        if name not in known:
            meant = suggest(name, known)
            hint = f"did you mean `{meant}`?" if meant else f"the peers are {', '.join(known)}"
            raise NetspecError.simple(codes.USAGE_BENCH, f"there is no peer `{name}`", hint)
    return names


def _layers(options: argparse.Namespace) -> int:
    """Time the layers of a course, one after another."""
    from netspec.runtime.engine import threads
    from netspec.testing.layer_bench import measure, table, workloads

    if options.threads is not None:
        threads.limit(options.threads)
    found = []
    for workload in workloads(options.images):
        tell(f"{workload.layer} ...")
        rows = list(measure(workload))
        if options.format == "text":
            emit(table(workload, rows))
        found += [
            {
                "layer": row.layer, "direction": row.direction, "images": options.images,
                "naive_seconds": row.naive, "fast_seconds": row.fast, "speed_up": row.speed_up,
                "differences": row.differences,
            }
            for row in rows
        ]  # fmt: skip
    if options.format == "json":
        emit(json.dumps(found, indent=2))
    return OK
