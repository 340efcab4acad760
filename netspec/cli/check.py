"""`netspec check FILE...`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from netspec import codes
from netspec.cli import FAILED, OK, WRONG_USE
from netspec.cli.check_formats import FORMATS, report_as
from netspec.cli.common import (
    add_net_options,
    arguments_of,
    emit,
    is_wrong_use,
    net_name,
    report,
    tell,
    write_whole,
)
from netspec.diagnostics import NetspecError, plural

if TYPE_CHECKING:
    from netspec.cli.check_formats.checked_file import CheckedFile
    from netspec.cli.net_files import NetFile
    from netspec.compiler.fixes import AppliedFix, Fixed
    from netspec.compiler.ir.graph import Graph
    from netspec.compiler.requirements import Requirements, Sizes


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    from netspec.compiler.analysis.cost_facts import COST_FACTS

    parser.add_argument(
        "files", metavar="FILE", nargs="+", type=net_name,
        help="a .net file, a folder of them, the name of a net that comes with netspec, or - for "
        "standard input",
    )  # fmt: skip
    add_net_options(parser)
    parser.add_argument(
        "--assert", dest="facts", metavar="CONDITION", action="append", default=[],
        help="what each net must meet, such as 'numbers <= 100_000 and flops <= 5_000_000'; facts: "
        f"{', '.join(COST_FACTS)}; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--forbid", metavar="LAYERS", action="append", default=[],
        help="layers that a net may not have, such as batch_norm,dropout; also parameter, buffer and "
        "constant",
    )  # fmt: skip
    parser.add_argument(
        "--require", metavar="LAYERS", action="append", default=[],
        help="layers that a net must have, and that its outputs depend on, such as conv",
    )  # fmt: skip
    for end in ("input", "output"):
        parser.add_argument(
            f"--{end}", metavar="SIZES", action="append",
            help=f"the shape that the {end} must have, such as 1,8,8 or 3,_,_; once for each {end}",
        )  # fmt: skip
    parser.add_argument("--strict", action="store_true", help="warnings fail as errors do")
    parser.add_argument(
        "--fix", action="store_true",
        help="fix errors, and with --strict warnings, wherever there is exactly one suggested change "
        "and it is no guess",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("text", *FORMATS), default="text",
        help="text: errors on stderr, a line a file on stdout; for programs, all on stdout: json, "
        "sarif for code scanning, github for annotations in GitHub Actions, junit for test reports",
    )  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def run(options: argparse.Namespace) -> int:
    """Check every file; the exit code is a failure if any of them fails."""
    from netspec.cli.check_formats.checked_file import CheckedFile
    from netspec.cli.net_files import named_files
    from netspec.compiler.driver import Compilation, compile_request

    arguments = arguments_of(options)
    required = _requirements(options)
    found = named_files(options.files)
    files = found.files
    for note in found.notes:
        tell(note)
    # All files are fixed before the first is checked: a file that imports another one is checked
    # against the fixed version.
    fixes = {file: _fixes(file, arguments, options) for file in files} if options.fix else {}
    told = []
    code = OK
    for file in files:
        try:
            result = compile_request(file.request(options.net, arguments))
        except NetspecError as error:
            result = Compilation(diagnostics=error.diagnostics)
        if required and result.module is not None:
            from netspec.compiler.requirements import with_unmet

            named = file.name in options.files
            result = with_unmet(result, result.module, required, is_named=named)
        failures = result.diagnostics if options.strict else result.errors
        if failures and code != FAILED:
            code = WRONG_USE if is_wrong_use(failures) else FAILED
        told.append(CheckedFile(file.name, result, bool(failures), fixes.get(file, ())))
        if options.format != "text":
            continue
        shown = result.errors if options.quiet and not options.strict else result.diagnostics
        report(shown, options)
        if not options.quiet:
            emit(_line(told[-1]))
    if options.format != "text":
        text = report_as(options.format, told, ok=code == OK)
        if text:
            emit(text)
    return code


def _requirements(options: argparse.Namespace) -> Requirements | None:
    """Return what the options ask of each net; None if that is nothing.

    Raises:
        NetspecError: `require/op`, `require/shape`.
    """
    if not (options.facts or options.forbid or options.require or options.input or options.output):
        return None
    from netspec.compiler.requirements import (
        FORBID_NAME,
        REQUIRE_NAME,
        Requirements,
        named_ops,
        sizes,
    )

    def shapes(given: list[str] | None, option: str) -> tuple[Sizes, ...] | None:
        return None if given is None else tuple(sizes(text, option) for text in given)

    return Requirements(
        tuple(options.facts),
        named_ops(options.forbid, FORBID_NAME), named_ops(options.require, REQUIRE_NAME),
        shapes(options.input, "--input"), shapes(options.output, "--output"),
    )  # fmt: skip


def _fixes(
    file: NetFile, arguments: Mapping[str, Any], options: argparse.Namespace
) -> tuple[AppliedFix, ...]:
    """Apply the fixes to a file and print them. A file that cannot be read is reported by the check.

    Raises:
        NetspecError: `usage/fix` or `output/unwritable`; the file is unchanged.
    """
    from netspec.cli.net_files import as_written
    from netspec.compiler.driver import Request
    from netspec.compiler.fixes import fixed
    from netspec.compiler.parse import decode_source

    if file.path is None:
        message = "standard input cannot be fixed in place: name a file"
        raise NetspecError.simple(codes.USAGE_FIX, message)
    try:
        raw = file.read()
        source = decode_source(raw, file.name)
    except NetspecError:
        return ()
    request = Request(source=source, folder=file.path.parent, net=options.net, arguments=arguments)
    done = fixed(request, warnings=options.strict)
    if done.fixes:
        if file.read() != raw:
            message = (
                f"{file.name} was changed by another program in the meantime, and is left as it is"
            )
            raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message)
        write_whole(file.path, as_written(done.text, raw))
    if options.format == "text":
        for line in _told(file.name, done):
            tell(line)
    return done.fixes


def _told(name: str, done: Fixed) -> Iterator[str]:
    """Yield a line for each fix, and for each choice that is left to the author of the file."""
    for fix in done.fixes:
        where = fix.diagnostic.span.where if fix.diagnostic.span else name
        yield f"{where}: {fix.hint.text} [{fix.diagnostic.code}]"
    for diagnostic in done.choices:
        where = diagnostic.span.where if diagnostic.span else name
        several = len([hint for hint in diagnostic.hints if hint.edits]) > 1
        why = "several changes are possible; choose one" if several else "the change is a guess"
        yield f"{where}: {why}"
    if done.fixes:
        yield f"{name}: {plural(len(done.fixes), 'change')} made"


def _line(file: CheckedFile) -> str:
    numbers = ((file.errors, "error"), (file.warnings, "warning"))
    counts = [plural(number, what) for number, what in numbers if number]
    if file.failed:
        return f"{file.name}: {', '.join(counts)}"
    result = file.result
    found = [f"{net}: {_parameters(graph):,} parameters"
             for net, graph in result.graphs.items()]  # fmt: skip
    if not found and result.module is not None:
        # Names were checked, and no shape: nothing gives the blocks their inputs.
        found = [plural(len(result.module.blocks), "block"), "no net gives shapes to check"]
    return f"{file.name}: {', '.join(['ok', *counts])} ({'; '.join(found)})"


def _parameters(graph: Graph) -> int:
    return sum(parameter.size for parameter in graph.trainable())
