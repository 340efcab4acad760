"""The options of `netspec train`, made from the same table that recipes are checked against."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.cli.common import add_net_file, add_net_options
from netspec.cli.output_place import add_force_option
from netspec.compiler.parse.shipped_nets import find_net
from netspec.runtime.data.choices import check_name
from netspec.runtime.runs.option_types import (
    Bool,
    Choice,
    CountOrShare,
    Int,
    Kind,
    ListOf,
    Real,
    TableOf,
    Text,
    WordOrFile,
    WordOrList,
    from_text,
    problem,
)
from netspec.runtime.runs.options import OPTIONS, TARGETS, Option


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options. An option that is not given is None: recipe and defaults are applied later."""
    parser.add_argument(
        "target", nargs="?", metavar=f"{{{','.join(TARGETS)}}}",
        help="the backend (default numpy)",
    )  # fmt: skip
    add_net_file(parser, nargs="?")
    add_net_options(parser)
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--recipe", type=Path, metavar="FILE",
                        help="read training options from this TOML file instead of the one"
                             " beside the net")  # fmt: skip
    recipe.add_argument("--no-recipe", action="store_true", help="take none")
    groups = {group: parser.add_argument_group(group) for group in _groups()}
    for option in OPTIONS.values():
        add_option(groups[option.group], option)
    groups["run"].add_argument("--resume", type=Path, metavar="RUN",
                               help="continue the run in this folder")  # fmt: skip
    groups["run"].add_argument("--find-lr", type=Path, metavar="PICTURE",
                               help="do not train: take up to 100 steps with a rising rate, draw"
                               " their losses, and print where they fall fastest")  # fmt: skip
    groups["run"].add_argument("--restartable", action="store_true",
                               help="continue the run in --out if it is there already, as after a"
                                    " restart of this command")  # fmt: skip
    add_force_option(groups["run"])


_METAVARS: dict[type[Kind], str] = {
    Int: "N",
    CountOrShare: "N",
    Real: "R",
    Text: "NAME",
    ListOf: "LIST",
    TableOf: "PATTERN=R,...",
}


def settle_target(options: argparse.Namespace) -> None:
    """Settle what is the target and what the file.

    A first argument that is no target, given alone, is the file. A new run has the target NumPy by
    default.

    Raises:
        NetspecError: `usage/train` for an unknown target.
    """
    given = options.target
    if given is not None and given not in TARGETS:
        if options.file is not None:
            check_name("target", given, TARGETS, code=codes.USAGE_TRAIN)
        options.target, options.file = None, find_net(given)
    if options.target is None and options.resume is None:
        options.target = "numpy"


def _groups() -> list[str]:
    return list(dict.fromkeys(option.group for option in OPTIONS.values()))


def add_option(group: argparse.ArgumentParser | argparse._ArgumentGroup, option: Option) -> None:
    """Add one training option to a parser."""
    kind, flag = option.kind, f"--{option.name}"
    metavar = option.metavar or _METAVARS.get(type(kind))
    if isinstance(kind, Bool):
        group.add_argument(flag, action="store_true", default=None, help=option.about)
    elif isinstance(kind, Choice) and not isinstance(kind, WordOrFile | WordOrList):
        group.add_argument(flag, choices=kind.words, help=option.about)
    elif isinstance(kind, ListOf) and kind.repeated:
        group.add_argument(flag, action="append", metavar=metavar, help=option.about)
    else:
        convert = _converter(option)
        group.add_argument(flag, type=convert, metavar=metavar, help=option.about)


def _converter(option: Option) -> Any:
    def convert(text: str) -> Any:
        try:
            value = from_text(option.kind, text)
        except ValueError:
            value = text
        wrong = problem(option.kind, value)
        if wrong is not None:
            told = f"must be {option.kind.describe()}, {wrong[0]}"
            raise argparse.ArgumentTypeError(told + (f"; {wrong[1]}" if wrong[1] else ""))
        return value

    return convert


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that the command line gave, by their names in `OPTIONS`."""
    found = {name: getattr(options, option.key) for name, option in OPTIONS.items()}
    return {name: value for name, value in found.items() if value is not None}
