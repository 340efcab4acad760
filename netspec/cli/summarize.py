"""`netspec summarize FILE`."""

from __future__ import annotations

import argparse

from netspec import codes
from netspec.cli import OK
from netspec.cli.c_sizes import add_c_sizes, require_c_options, show_c_sizes
from netspec.cli.common import (
    add_net_file,
    add_net_options,
    checked_graph,
    emit,
    positive,
    thread_count,
)
from netspec.diagnostics import NetspecError
from netspec.text.width import terminal_width


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.compiler.analysis.costs_text import COLUMNS, DEFAULT, FORMATS

    add_net_file(parser)
    add_net_options(parser)
    parser.add_argument(
        "--batch", type=positive, default=1, metavar="N",
        help="images in a batch, for the memory (default 1)",
    )  # fmt: skip
    rows = parser.add_mutually_exclusive_group()
    rows.add_argument(
        "--depth", type=positive, metavar="N",
        help="add up blocks whose labels have more than N parts, one row each",
    )  # fmt: skip
    rows.add_argument(
        "--blocks", action="store_true", help="one row for each call of a block in the net"
    )
    parser.add_argument(
        "--columns", metavar="NAMES",
        help=f"all, or some of {','.join(COLUMNS)} (default {','.join(DEFAULT)}; csv: all);"
        " json has everything anyway",
    )  # fmt: skip
    parser.add_argument(
        "--memory", action="store_true",
        help="show the memory of the NumPy program instead: its arena, scratch, parameters",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=thread_count, metavar="N",
        help="threads of the kernels, for --memory (default: all processors)",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default="table",
        help="table (default) and md for people, json and csv for programs",
    )  # fmt: skip

    add_c_sizes(parser)


def run(options: argparse.Namespace) -> int:
    """Print the summary of the chosen net."""
    from netspec.compiler.analysis.costs import summarize
    from netspec.compiler.analysis.costs_text import FORMATS, as_table, chosen_columns
    from netspec.compiler.passes.layer_limit import require_few_rows

    require_c_options(options, rows=_chooses_rows(options))
    if options.target is not None:
        return show_c_sizes(checked_graph(options), options)
    if options.memory:
        return _memory(options)
    columns = None if options.columns is None else chosen_columns(options.columns, "--columns")
    graph = checked_graph(options)
    require_few_rows(graph)
    summary = summarize(graph, options.batch)
    if options.depth is not None:
        summary = summary.folded(options.depth)
    if options.blocks:
        summary = summary.by_blocks()
    if options.format == "table":
        emit(as_table(summary, columns, terminal_width()))
    else:
        emit(FORMATS[options.format](summary, columns))
    return OK


def _memory(options: argparse.Namespace) -> int:
    """Print the memory that a training step of the NumPy program takes.

    Raises:
        NetspecError: `usage/memory`, `model/open-size`.
    """
    if options.format not in ("table", "json") or _chooses_rows(options):
        message = "--memory is a table of its own, or JSON"
        hint = "leave out --columns, --depth and --blocks"
        raise NetspecError.simple(codes.USAGE_MEMORY, message, hint)
    from netspec.compiler.numpy_backend.memory_use import footprint
    from netspec.compiler.numpy_backend.memory_use_text import as_object, as_table
    from netspec.compiler.numpy_backend.pipeline import make_plan
    from netspec.runtime.engine import threads
    from netspec.runtime.models.classifier_shape import require_sizes

    graph = checked_graph(options)
    require_sizes(graph)
    if options.threads is not None:
        threads.limit(options.threads)
    found = []
    for training in (True, False):
        plan = make_plan(graph, training=training, backward=training)
        found.append(footprint(graph, plan, options.batch))
    if options.format == "json":
        import json

        emit(json.dumps({"name": graph.name, **as_object(found)}, indent=2))
    else:
        emit(as_table(graph.name, found, terminal_width()))
    return OK


def _chooses_rows(options: argparse.Namespace) -> bool:
    return bool(options.columns or options.depth or options.blocks)
