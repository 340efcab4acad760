"""`netspec summarize FILE --target c`: what the C file will take, and whether that is too much."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli import OK
from netspec.cli.c_inputs import CInput, possible_inputs, stored_input
from netspec.cli.common import emit
from netspec.cli.named_run import named_run
from netspec.diagnostics import Diagnostic, Hint, NetspecError
from netspec.text.printable import printable

if TYPE_CHECKING:
    from netspec.compiler.c_backend.sizes import CSizes, Kind
    from netspec.compiler.ir.graph import Graph, Node

_BYTES = re.compile(r"(\d{1,15}) ?(?:([KM])(?:i?B)?|B)?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20}
# The functions that take numbers of a kind, of a file in whole numbers, and what they take.
_CALLS = {"float32": ("predict takes floats", "--normalize counts them"),
          "int8": ("predict_int8 takes whole numbers", "without --normalize they count")}  # fmt: skip
# How the chosen table is written; other tables have options of their own.
FORMATS = ("table", "json")
# As many values of the arena are named in an error.
MOST_HELD = 4
# What a file computes before its first layer.
_INPUT = "the picture as the net takes it"


def add_c_sizes(parser: argparse.ArgumentParser) -> None:
    """Add the options for the sizes of the C file."""
    group = parser.add_argument_group("the C file")
    group.add_argument("--target", choices=("c",),
                       help="show what the C file will take instead: weights, memory, the caller's"
                       " arrays")  # fmt: skip
    group.add_argument("--int8", action="store_true", help="c: of the file in whole numbers")
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32",
                       help="c: the precision (default float32)")  # fmt: skip
    group.add_argument("--normalize", dest="normalize_input", action="store_true",
                       help="c: of a file that normalises its input: as the run does, or each"
                       " channel by numbers of its own")  # fmt: skip
    group.add_argument("--ram", type=_bytes, metavar="BYTES",
                       help="c: fail if the arena, the caller's arrays and the stack take more, such"
                       " as 64K or 64KiB, both 65,536")  # fmt: skip
    group.add_argument("--flash", type=_bytes, metavar="BYTES",
                       help="c: fail if the weights take more, such as 256K")  # fmt: skip


def _bytes(text: str) -> int:
    """Return the number of bytes of `64K`.

    Raises:
        argparse.ArgumentTypeError: if it is none.
    """
    found = _BYTES.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"a number of bytes, such as 64K or 1M, not {text!r}")
    return int(found[1]) * _UNITS[(found[2] or "").upper()]


def require_c_options(options: argparse.Namespace, *, rows: bool) -> None:
    """Refuse options that do not go together.

    Args:
        options: those of the command.
        rows: whether columns and rows of the usual table are chosen.

    Raises:
        NetspecError: `usage/target`.
    """
    given = {
        "--int8": options.int8,
        "--dtype": options.dtype != "float32",
        "--normalize": options.normalize_input,
        "--ram": options.ram is not None,
        "--flash": options.flash is not None,
    }
    alone = [option for option, on in given.items() if on]
    if options.target is None:
        if alone:
            message = f"{', '.join(alone)}: for the sizes of the C file"
            raise NetspecError.simple(codes.USAGE_TARGET, message, "add --target c")
        return
    if options.int8 and options.dtype != "float32":
        message = "--dtype: for a file in floating point, without --int8"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    if rows or options.memory or options.batch != 1 or options.format not in FORMATS:
        message = "--target c is a table of its own for one image, or JSON"
        hint = "leave out --memory, --batch, --columns, --depth and --blocks"
        raise NetspecError.simple(codes.USAGE_TARGET, message, hint)


def show_c_sizes(graph: Graph, options: argparse.Namespace) -> int:
    """Print the sizes of a net's C file.

    Raises:
        NetspecError: `compile/no-c`, `compile/over-budget`.
    """
    from netspec.compiler.c_backend.sizes import c_sizes

    kind: Kind = "int8" if options.int8 else options.dtype
    each = [c_sizes(graph, kind, *given) for given in _inputs(graph, options)]
    found = max(each, key=lambda sizes: sizes.weights)
    if options.format == "json":
        emit(json.dumps({"name": graph.name, **_as_object(found)}, indent=2))
    else:
        emit("\n".join([*_lines(graph, found), *_left(found, options)]))
    _require_budget(graph, found, options)
    return OK


def _inputs(graph: Graph, options: argparse.Namespace) -> list[CInput]:
    """Return what the file does to its input: as the weights of the run say, or what it may do.

    Raises:
        NetspecError: `usage/target` for several inputs, `weights/no-normalization`, `compile/no-c` for
            open sizes.
    """
    from netspec.compiler.c_backend.open_sizes import require_known
    from netspec.runtime.weights.weights_file import load_weights

    normalizes = options.normalize_input
    if normalizes and len(graph.inputs) != 1:
        message = f"--normalize: {graph.name} has several inputs"
        raise NetspecError.simple(codes.USAGE_TARGET, message)
    if len(graph.inputs) != 1 or not (normalizes or options.int8):
        return [CInput(None, None)]
    require_known(graph, {})
    run = named_run(options.file)
    if run is None or not (normalizes or run.folder.weights.is_file()):
        (shape,) = graph.inputs.values()
        return possible_inputs(shape, normalizes=normalizes)
    stored = run.complete(load_weights(run.weights))
    return [stored_input(stored, run.weights, graph.inputs, normalizes=normalizes)]


def _as_object(found: CSizes) -> dict[str, object]:
    return {
        "kind": found.kind, "weights": found.weights, "arena": found.arena,
        "arrays": dict(found.arrays), "ram": found.ram, "stack": found.stack,
        "peak": None if found.peak is None else found.peak.name, "held": dict(found.held),
        "macs": found.macs, "called_with": found.called_with, **_other_calls(found),
    }  # fmt: skip


def _other_calls(found: CSizes) -> dict[str, object]:
    """Return what the functions take that do not count, if there are any."""
    other = found.other_calls
    if other is None:
        return {}
    arrays = found.arrays_of(other)
    return {"others": {"called_with": other, "arrays": arrays, "ram": found.ram_of(other)}}


def _lines(graph: Graph, found: CSizes) -> list[str]:
    at = f"the most is in use {_place(found)}" if found.arena else ""
    rows = [("flash", "weights", found.weights, ""), ("RAM", "arena", found.arena, at)]
    callers = "the caller's, floats of predict" if _takes_floats(found) else "the caller's"
    rows += [("", printable(name), size, callers) for name, size in found.arrays.items()]
    rows.append(("", "total", found.ram, ""))
    rows.append(("", "stack", found.stack, "at most, on top"))
    wide = max(len(name) for _, name, _, _ in rows)
    shown = [
        f"{where:5}  {name:{wide}}  {size:>14,} bytes  {note}".rstrip()
        for where, name, size, note in rows
    ]
    numbers = "whole numbers of 8 bits" if found.kind == "int8" else found.kind
    return [
        f"{graph.name} in C, {numbers}, one image", "", *shown, "",
        *_said_of_others(graph, found), f"{found.macs:,} multiply-adds. Code comes on top in flash.",
    ]  # fmt: skip


def _takes_floats(found: CSizes) -> bool:
    """Whether floats of the caller count for a file in whole numbers."""
    return found.kind != found.called_with


def _said_of_others(graph: Graph, found: CSizes) -> list[str]:
    """Return what the functions take whose arrays do not count."""
    other = found.other_calls
    if other is None:
        return []
    takes, when = _CALLS[other]
    said = f"{takes}: {_named(found.arrays_of(other))}, total {found.ram_of(other):,}"
    return [f"{said}; {when}." if len(graph.inputs) == 1 else f"{said}."]


def _left(found: CSizes, options: argparse.Namespace) -> list[str]:
    """Return what is left of the memory that there is, if it is enough."""
    lines = []
    if options.ram is not None and options.ram >= found.ram:
        lines.append(f"{options.ram - found.ram:,} bytes of RAM are left for the stack")
    if options.flash is not None and options.flash >= found.weights:
        lines.append(f"{options.flash - found.weights:,} bytes of flash are left for code")
    return lines


def _place(found: CSizes) -> str:
    return f"for {_INPUT}" if found.peak is None else f"at {_line(found.peak)}"


def _line(node: Node) -> str:
    span = node.origin.span
    return node.name if span is None else f"line {span.line}: {node.name}"


def _named(sizes: Mapping[str, int]) -> str:
    """Return the first of these sizes, with their names."""
    shown = list(sizes.items())
    parts = [f"{printable(name)} ({size:,})" for name, size in shown[:MOST_HELD]]
    more = len(shown) - MOST_HELD
    return ", ".join([*parts, *([f"{more} more"] if more > 0 else [])])


def _require_budget(graph: Graph, found: CSizes, options: argparse.Namespace) -> None:
    """Refuse a net that takes more than was asked for.

    Raises:
        NetspecError: `compile/over-budget`.
    """
    wrong = []
    if options.ram is not None and found.ram + found.stack > options.ram:
        wrong.append(_too_much_ram(graph, found, options.ram))
    if options.flash is not None and found.weights > options.flash:
        message = (
            f"{graph.name} has {found.weights:,} bytes of weights, and {options.flash:,} of flash"
            " are there"
        )
        largest = max(graph.parameters.values(), key=lambda p: p.size)
        owner = next((n for n in graph.nodes if largest.name.startswith(f"{n.name}.")), None)
        span = None if owner is None else owner.origin.span
        at = "here" if owner is None else f"here, in {printable(owner.name)}"
        wrong.append(
            Diagnostic(codes.COMPILE_OVER_BUDGET, message, span, label=f"the most are {at}")
        )
    if wrong:
        raise NetspecError(wrong)


def _too_much_ram(graph: Graph, found: CSizes, there: int) -> Diagnostic:
    """Return the error for a net that takes more RAM than is there, marked where the most of it goes."""
    message = (
        f"{graph.name} takes {found.ram:,} bytes of RAM and at most {found.stack:,} of stack, and"
        f" {there:,} are there"
    )
    arrays = dict(sorted(found.arrays.items(), key=lambda each: -each[1]))
    callers = sum(arrays.values())
    most = f"{found.arena:,} bytes of the arena, most of them"
    notes = [f"the caller's arrays: {_named(arrays)}"]
    span, label = None, ""
    if found.peak is not None:
        notes.insert(0, f"in the arena there: {_named(found.held)}")
    if callers > found.arena:
        span = graph.span
        label = (
            f"{callers:,} bytes are the caller's inputs and outputs, most of them {_first(arrays)}"
        )
        notes = [f"the arena takes {found.arena:,} bytes", notes[-1]]
    elif found.peak is not None:
        span, label = found.peak.origin.span, f"{most} here, at {printable(found.peak.name)}"
    elif found.arena:
        notes.insert(0, f"{most} for {_INPUT}")
    hints: tuple[Hint, ...] = ()
    if _takes_floats(found) and found.ram_of("int8") + found.stack <= there:
        hints = (Hint("predict_int8 takes whole numbers, and fits: leave out --normalize"),)
    return Diagnostic(
        codes.COMPILE_OVER_BUDGET, message, span, label=label, notes=tuple(notes), hints=hints
    )


def _first(sizes: Mapping[str, int]) -> str:
    return printable(next(iter(sizes)))
