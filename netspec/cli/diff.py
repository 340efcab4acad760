"""`netspec diff A B`."""

from __future__ import annotations

import argparse
from pathlib import Path

from netspec.cli.common import add_net_options, checked_graph, emit, report
from netspec.cli.exit_codes import FAILED, OK, WRONG_USE
from netspec.diagnostics import NetspecError


def configure(parser: argparse.ArgumentParser) -> None:
    """The options."""
    from netspec.compiler.analysis.diff import FORMATS

    parser.epilog = "Exit codes are those of diff: 0 equal, 1 different, 2 trouble."
    parser.add_argument("a", metavar="A", type=Path, help="a .net file")
    parser.add_argument(
        "b", metavar="B", type=Path, nargs="?",
        help="another one; by default the same, for other settings or another net",
    )  # fmt: skip
    add_net_options(parser)
    for side in "ab":
        name = side.upper()
        parser.add_argument(f"--net-{side}", metavar="NAME", help=f"the net to take from {name}")
        parser.add_argument(
            f"--set-{side}", metavar="NAME=VALUE", action="append", default=[],
            help=f"set an argument of {name} alone",
        )  # fmt: skip
    parser.add_argument(
        "--format", choices=tuple(FORMATS), default="text",
        help="text (default) for people, json for programs",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Print the comparison."""
    from netspec.compiler.analysis.costs import summarize
    from netspec.compiler.analysis.diff import FORMATS, compare

    sides = []
    for side in (
        _side(options, options.a, options.net_a, options.set_a),
        _side(options, options.b or options.a, options.net_b, options.set_b),
    ):
        try:
            graph = checked_graph(side)
        except NetspecError as error:
            # Not 1, which would say that the nets are different.
            report(error.diagnostics, options)
            return WRONG_USE
        settings = f" with {', '.join(side.set)}" if side.set else ""
        sides.append((summarize(graph), f"{side.file}: {graph.name}{settings}"))
    (before, title_before), (after, title_after) = sides
    comparison = compare(before, after)
    emit(FORMATS[options.format](comparison, title_before, title_after))
    return OK if comparison.equal else FAILED


def _side(
    options: argparse.Namespace, file: Path, net: str | None, settings: list[str]
) -> argparse.Namespace:
    """The options as if there were one net; what is set for it alone counts before the rest."""
    own = {_name(setting) for setting in settings}
    both = [setting for setting in options.set if _name(setting) not in own]
    return argparse.Namespace(
        file=file, net=net or options.net, set=[*both, *settings], color=options.color
    )


def _name(setting: str) -> str:
    return setting.partition("=")[0].strip()
