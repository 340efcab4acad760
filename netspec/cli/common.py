"""What verbs share: options that choose a net, reports, and output."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.compiler.parse.shipped_nets import find_net
from netspec.diagnostics import Diagnostic, NetspecError, render
from netspec.project import where_explained
from netspec.text.printable import printable_lines
from netspec.text.width import terminal_width

if TYPE_CHECKING:
    from netspec.compiler.driver import Request
    from netspec.compiler.ir.graph import Graph
    from netspec.net import Net

# These are errors of the command line if they point to no place in a file.
_WRONG_USE = (
    codes.CALL_UNKNOWN_ATTRIBUTE, codes.DATA_UNKNOWN_NAME, codes.GRADCHECK_LABEL, codes.GRADCHECK_OPTION,
    codes.GRADCHECK_PARAMS, codes.FILE_NO_SUCH_NET, codes.FILE_SEVERAL_NETS, codes.FILE_REVISION,
    codes.RUN_EXISTS, codes.RUN_FIXED, codes.RUN_MISSING, codes.TRAIN_BAD_OPTION,
)  # fmt: skip


def add_net_file(
    parser: argparse.ArgumentParser,
    name: str = "file",
    *,
    nargs: str | None = None,
    help: str = "a .net file, the name of a net that comes with netspec, or the folder of a run",
) -> None:
    """Add the argument that names one or several `.net` files; see `find_net`."""
    metavar = name.removesuffix("s").upper()
    parser.add_argument(name, metavar=metavar, nargs=nargs, type=find_net, help=help)


def net_name(given: str) -> str:
    """An argparse type: the path of the shipped net of this name, or else the text itself."""
    path = find_net(given)
    return given if path == Path(given) else str(path)


def add_net_options(parser: argparse.ArgumentParser) -> None:
    """Add `--net`, `--set`, `--ops` and `--color`."""
    parser.add_argument("--net", metavar="NAME", help="the net to use, if the file has several")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="set an argument of the net, such as depth=56 or hidden=[512,256]; may be repeated",
    )
    parser.add_argument(
        "--ops",
        metavar="FILE",
        action="append",
        default=[],
        help="run a Python file that defines ops, which the net may use; may be repeated",
    )
    add_color_option(parser)


def add_color_option(parser: argparse.ArgumentParser) -> None:
    """Add `--color`."""
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="color errors, warnings and verdicts (auto: on a terminal, unless NO_COLOR is set)",
    )


def positive(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    return _whole(text, 1)


def natural(text: str) -> int:
    """An argparse type: an integer of at least 0."""
    return _whole(text, 0)


def thread_count(text: str) -> int:
    """An argparse type: a number of threads."""
    from netspec.kernels.parallel import MOST_THREADS

    number = _whole(text, 1)
    if number > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"a whole number of at most {MOST_THREADS:,}")
    return number


def _whole(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise argparse.ArgumentTypeError(f"a whole number of at least {least}, not {text!r}")
    return number


def arguments_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments given with `--set`.

    Raises:
        NetspecError: with an error for every setting that cannot be read.
    """
    if not options.set:
        return {}
    from netspec.compiler.overrides import parse_settings

    return parse_settings(options.set)


def checked_net(options: argparse.Namespace, arguments: Mapping[str, Any] | None = None) -> Net:
    """Check the one net that the options name, and report its warnings.

    Those of a run were reported when it was trained, and are not repeated.

    Args:
        options: with `file`, which may also be a run, and `net`, `set` and `color`.
        arguments: the arguments of the net, for example those of a recipe merged with `--set`; by
            default those of `--set`.

    Raises:
        NetspecError: with the errors; the warnings have been reported before.
    """
    from netspec.cli.named_run import named_run

    run, request = named_run(options.file), named_request(options, arguments)
    known = run is not None and request.arguments == run.facts.constants
    return requested_net(request, options, warn=not known)


def named_request(
    options: argparse.Namespace, arguments: Mapping[str, Any] | None = None
) -> Request:
    """Return the request for what the options name, as `checked_net` describes them.

    Raises:
        NetspecError: for settings that cannot be read, and for a damaged run.
    """
    from netspec.cli.named_run import named_run
    from netspec.compiler.driver import Request

    chosen = arguments_of(options) if arguments is None else arguments
    run = named_run(options.file)
    if run is None:
        return Request(path=options.file, net=options.net, arguments=chosen)
    net = options.net or run.facts.net
    return Request(path=run.net_file, net=net, arguments=run.with_arguments(chosen))


def requested_net(request: Request, options: argparse.Namespace, *, warn: bool = True) -> Net:
    """Check the one net of a request, and report its warnings, unless `warn` is False.

    Raises:
        NetspecError: with the errors; warnings have been reported before.
    """
    from netspec.compiler.driver import compile_request, select, written
    from netspec.net import Net

    result = compile_request(request)
    warnings = tuple(d for d in result.diagnostics if d.severity == "warning")
    if warn:
        report(warnings, options)
    graph = select(result, request.net)
    return Net(graph, written(result, request, graph.name), warnings)


def checked_graph(options: argparse.Namespace) -> Graph:
    """Return the graph of the one net that the options name; otherwise like `checked_net`."""
    return checked_net(options).graph


def report(diagnostics: Iterable[Diagnostic], options: argparse.Namespace) -> None:
    """Print diagnostics to stderr, each followed by an empty line.

    On a terminal a line at the end says where the first of them is explained.
    """
    color = _use_color(options, sys.stderr)
    shown = [*diagnostics]
    for diagnostic in shown:
        print(render(diagnostic, color=color), end="\n\n", file=sys.stderr)
    if color and shown:
        print(f"\x1b[2mmore: {where_explained(shown[0].code)}\x1b[0m\n", file=sys.stderr)


def _use_color(options: argparse.Namespace, stream: TextIO) -> bool:
    choice = getattr(options, "color", "auto")
    if choice != "auto":
        return bool(choice == "always")
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


_VERDICT = r"(?m)^(ok|BAD|unsure)(?=  )|(?<=  )(ok|failed|inconclusive)$"
_COLORS = {"ok": 32, "BAD": 31, "failed": 31, "unsure": 33, "inconclusive": 33}


def emit_verdicts(text: str, options: argparse.Namespace) -> None:
    """Print a report to stdout; the verdicts at the ends of its lines are colored if colors are on."""
    text = printable_lines(text)
    if _use_color(options, sys.stdout):
        text = re.sub(_VERDICT, lambda m: f"\x1b[{_COLORS[m.group()]}m{m.group()}\x1b[0m", text)
    _print(text)


def is_wrong_use(diagnostics: Iterable[Diagnostic]) -> bool:
    """Return True if all diagnostics are about the command line and none is about a file."""
    return all(
        d.code.startswith(("setting/", "usage/"))
        or d.code in (codes.REQUIRE_OP, codes.REQUIRE_SHAPE)
        or (d.span is None and d.code in _WRONG_USE)
        or (d.span is not None and d.span.source.name in ("--set", "--assert"))
        for d in diagnostics
    )


def emit(text: str) -> None:
    """Print to stdout; control characters that a terminal could obey are shown as escapes.

    Raises:
        NetspecError: `output/unwritable`, for example if the disk is full.
    """
    _print(printable_lines(text))


def tell(text: str) -> None:
    """Print to stderr, like `emit`."""
    print(printable_lines(text), file=sys.stderr)


def _print(text: str, end: str = "\n") -> None:
    try:
        print(text, end="" if text.endswith("\n") else end, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        message = f"cannot write the output: {error.strerror}"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message) from None


def emit_piece(text: str) -> None:
    """Print a piece of a line to stdout at once, like `emit`."""
    _print(printable_lines(text), end="")


def emit_text(text: str) -> None:
    """Print the contents of a file unchanged, except for characters that a terminal would obey."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An encoding that is given sets what `main` chose for errors back to `strict`.
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace", newline="\n")
    if text:
        _print(printable_lines(text) if sys.stdout.isatty() else text)


def emit_unchanged(raw: bytes) -> None:
    """Print the bytes of a file as they are; nothing on a terminal, where they were just typed."""
    if sys.stdout.isatty():
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")
    _print(raw.decode("utf-8", "surrogateescape"), end="")


class CheckReport(Protocol):
    """The result of a check: can be shown as text or JSON, with diagnostics for what failed."""

    diagnostics: list[Diagnostic]

    @property
    def ok(self) -> bool:
        """True if nothing failed."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return the whole result as a dict, for JSON."""
        ...

    def text(self, width: int | None) -> str:
        """Return the whole result as text; names in tables are shortened to fit the width."""
        ...


def emit_report(found: CheckReport, options: argparse.Namespace) -> int:
    """Print a report in the format of `--format`, and return the exit code."""
    if options.format == "json":
        import json

        emit(json.dumps(found.to_dict(), indent=2))
    else:
        emit_verdicts(found.text(terminal_width()), options)
        report(found.diagnostics, options)
    return OK if found.ok else FAILED


def write_whole(path: Path, text: str) -> None:
    """Write a result to the path that the user named; see `write_output`.

    Raises:
        NetspecError: `output/unwritable`, `output/disk-full`.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Like `write_whole`, for what is no text."""
    from netspec.runtime.weights.atomic_write import told_plainly
    from netspec.runtime.weights.output_file import write_output

    with told_plainly(path):
        write_output(path, data)
