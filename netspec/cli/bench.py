"""`netspec bench --layers`."""

from __future__ import annotations

import argparse
import sys

from netspec.cli import OK
from netspec.cli.common import add_color_option, emit, positive
from netspec.diagnostics import NetspecError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "--layers", action="store_true",
        help="conv and max pool: a course's loops against the kernels that netspec runs",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=positive, default=100, metavar="N",
        help="images in a batch (default 100, as in the notebook: some 20 seconds)",
    )  # fmt: skip
    parser.add_argument("--threads", type=positive, metavar="N",
                        help="threads of the kernels (default: all processors)")  # fmt: skip
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text (default) or json"
    )
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Measure and print, a layer at a time."""
    if not options.layers:
        message = "say what to measure"
        raise NetspecError.simple("usage/bench", message, "netspec bench --layers")
    from netspec.runtime import threads
    from netspec.testing.layer_bench import measure, table, workloads

    if options.threads is not None:
        threads.limit(options.threads)
    found = []
    for workload in workloads(options.images):
        print(f"{workload.layer} ...", file=sys.stderr)
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
        import json

        emit(json.dumps(found, indent=2))
    return OK
