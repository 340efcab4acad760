"""`netspec test-op FILE`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli import FAILED, OK
from netspec.cli.common import add_color_option, emit
from netspec.compiler import ops
from netspec.compiler.ops import registry
from netspec.compiler.parse.op_files import OpFile, load_ops, op_file
from netspec.diagnostics import NetspecError, plural

if TYPE_CHECKING:
    from netspec.testing.op_checks import Finding

_EPILOG = """\
The file is run: it is Python. Its ops are tested with their own examples as netspec's are, in the
reference, the NumPy program and PyTorch; docs/add-an-op.md says what is checked.
"""
_SHOWN = 3  # failures of one check


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "file", metavar="FILE",
        help="a Python file that defines ops, or the name of an installed package of ops",
    )  # fmt: skip
    parser.add_argument("--op", metavar="NAME", help="test this op alone")
    add_color_option(parser)


def run(options: argparse.Namespace) -> int:
    """Test the ops, print a line for each check, and the first failures."""
    from netspec.testing.op_checks import check_op

    file = _file(options.file)
    if options.op is not None and options.op not in file.ops:
        message = f"{file.name} has no op `{options.op}`: it has {', '.join(file.ops)}"
        raise NetspecError.simple(codes.USE_NAME, message)
    chosen = file.ops.values() if options.op is None else [file.ops[options.op]]
    failed = 0
    for op in chosen:
        emit(op.name)
        for finding in check_op(op, file.name):
            failed += bool(finding.failures)
            emit(f"    {_line(finding)}")
            for failure in finding.failures[:_SHOWN]:
                emit(f"        {failure}")
            if len(finding.failures) > _SHOWN:
                emit(f"        and {len(finding.failures) - _SHOWN} more")
    emit("all checks hold" if not failed else f"{plural(failed, 'check')} failed")
    return FAILED if failed else OK


def _file(given: str) -> OpFile:
    """Return the ops of a Python file, or of an installed package that declares ops."""
    _refuse_own(Path(given))
    found = None if given.endswith(".py") else op_file(given)
    return load_ops(given) if found is None else found


def _refuse_own(path: Path) -> None:
    """Refuse the file of an op of netspec's own, which the project's tests are for.

    Raises:
        NetspecError: `use/file`, with the command.
    """
    if path.stem in registry() and path.resolve().parent == Path(ops.__file__).resolve().parent:
        message = f"{path} has an op of netspec's own, which the project's tests are for"
        raise NetspecError.simple(codes.USE_FILE, message, f"make test-op NAME={path.stem}")


def _line(finding: Finding) -> str:
    runs = finding.runs - sum(finding.skipped.values())
    verdict = "FAILED" if finding.failures else "ok" if runs else "-"
    passed = runs - len(finding.failures)
    skipped = f" ({'; '.join(finding.skipped)})" if finding.skipped else ""
    return f"{verdict:<7} {finding.check}: {passed} of {runs}{skipped}"
