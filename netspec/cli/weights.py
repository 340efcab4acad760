"""`netspec weights FILE` and `netspec weights A B`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.cli import FAILED, OK
from netspec.cli.common import add_color_option, emit, tell
from netspec.text.printable import printable
from netspec.text.width import terminal_width

if TYPE_CHECKING:
    from netspec.runtime.weights.safetensors_file import Weights
    from netspec.runtime.weights.tensor_report import TensorList, WeightsComparison


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("file", type=Path, metavar="FILE",
                        help="weights: safetensors (also in shards), a checkpoint of PyTorch, an .npz,"
                        " or the folder of a run")  # fmt: skip
    parser.add_argument("other", type=Path, metavar="OTHER", nargs="?",
                        help="weights to compare them with; the exit code is 1 if they differ, and"
                        " --rename is for these")  # fmt: skip
    add_rename_option(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text",
                        help="(default text)")  # fmt: skip
    add_color_option(parser)


def add_rename_option(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add `--rename`."""
    parser.add_argument("--rename", action="append", default=[], metavar="PATTERN=NAME",
                        help="give tensors whose whole names match a regular expression another name,"
                        r" such as 'encoder\.(.*)=\1'; may be repeated, and the first that matches"
                        " counts")  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the contents of a weights file, or how two of them differ."""
    from netspec.runtime.weights.rename_rules import load_renamed
    from netspec.runtime.weights.tensor_report import compare_weights, tensor_list

    first = load_renamed(options.file, options.rename if options.other is None else ())
    tell_notes(options.file, first.notes)
    if options.other is None:
        _print(tensor_list(first.tensors), options, first)
        return OK
    second = load_renamed(options.other, options.rename)
    found = compare_weights(first.tensors, second.tensors)
    tell_notes(options.file, found.first_notes)
    tell_notes(options.other, (*second.notes, *found.notes))
    _print(found, options)
    return OK if found.equal else FAILED


def _print(
    found: TensorList | WeightsComparison, options: argparse.Namespace, of: Weights | None = None
) -> None:
    if options.format == "json":
        from netspec.runtime.weights.data_facts import data_as_object

        about = {} if of is None else data_as_object(of.normalization, of.metadata)
        emit(json.dumps({**found.to_dict(), **about}, indent=1))
    else:
        lines = [] if of is None else _about(of)
        emit("\n".join([found.text(terminal_width()), *lines]))


def _about(weights: Weights) -> list[str]:
    """Return lines on what the weights were trained on, as far as the file says."""
    from netspec.runtime.data.normalization_text import formulas
    from netspec.runtime.weights.data_facts import complete, stored_names

    lines = []
    if weights.normalization is not None:
        for name, made in formulas(weights.normalization, ("the input",)).items():
            lines.append(f"{printable(name)} was normalised in training: {made}")
    names = stored_names(weights.metadata)
    if names:
        lines.append(f"{len(names)} classes: {', '.join(complete(names, len(names)))}")
    return lines


def tell_notes(path: Path, notes: Iterable[str]) -> None:
    """Print notes on how tensors were found in a file."""
    for note in notes:
        tell(f"{path}: {note}")
