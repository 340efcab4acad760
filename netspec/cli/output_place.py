"""Where a verb may write: never over its input, and over others' files only with `--force`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from netspec import codes
from netspec.cli.common import tell
from netspec.diagnostics import NetspecError
from netspec.files.regular_file import open_regular

if TYPE_CHECKING:
    from netspec.net import Net

# How the files that netspec makes begin: programs and plans, PNG, SVG, weights, ONNX.
_MADE_BY_NETSPEC = re.compile(
    rb"[^\n]{0,300}\bby netspec from "
    rb"|\x89PNG\r\n.*\0netspec"
    rb"|<\?xml .*<dc:title>netspec</dc:title>"
    rb'|.{8}\{"__metadata__":\{"netspec":'
    rb"|\x08.\x12\x07netspec",
    re.DOTALL,
)
_LOOKED_AT = 4096


def add_force_option(parser: argparse._ActionsContainer) -> None:
    """Add `--force`."""
    parser.add_argument(
        "--force", action="store_true",
        help="overwrite a file that netspec did not generate (never one that the command reads)",
    )  # fmt: skip


def check_output(path: Path, sources: Iterable[Path], *, force: bool) -> None:
    """Refuse to write a file that must not be overwritten. Every verb calls this before it writes.

    Args:
        path: the file to be written; if it exists and is not a regular file, it is not opened.
        sources: what the verb reads: files, and folders with everything in them.
        force: True if a file that netspec did not make may be replaced.

    Raises:
        NetspecError: `output/is-source`, even with `force`; `output/unwritable` for a path that
            could not be written later; `output/not-generated`.
    """
    for source in sources:
        if _is_within(path, source):
            raise NetspecError.simple(
                codes.OUTPUT_IS_SOURCE, f"{path} is a file that this command reads: {source}",
                "name another file",
            )  # fmt: skip
    from netspec.runtime.weights.output_file import check_output_file

    check_output_file(path)
    if force or not path.is_file():
        return
    try:
        is_ours = is_made_by_netspec(path)
    except OSError as error:
        message = f"cannot write {path}: the file there cannot be read ({error.strerror})"
        raise NetspecError.simple(codes.OUTPUT_UNWRITABLE, message) from None
    if not is_ours:
        raise NetspecError.simple(
            codes.OUTPUT_NOT_GENERATED, f"{path} already exists, and netspec did not generate it",
            "name another file, or give --force to replace it",
        )  # fmt: skip


def is_made_by_netspec(path: Path) -> bool:
    """Whether a regular file is one that netspec wrote, or empty.

    Raises:
        OSError: if it cannot be read.
    """
    with open_regular(path) as file:
        start = file.read(_LOOKED_AT)
        file.seek(max(len(start), file.seek(0, 2) - _LOOKED_AT))
        end = file.read()
    return not start or bool(_MADE_BY_NETSPEC.match(start)) or _is_pdf(start, start + end)


def _is_pdf(start: bytes, whole: bytes) -> bool:
    """Whether a file is a PDF of netspec's: what a PDF says of itself stands at its end."""
    return start.startswith(b"%PDF-") and b"/Creator (netspec)" in whole


def compiled_before(path: Path, most: int) -> bytes | None:
    """Return what `--check` compares with; None, which is said, if there is no such file.

    Of a longer file than `most` bytes it is the beginning, which has one byte more.

    Raises:
        NetspecError: `file/unreadable`.
    """
    try:
        with open_regular(path) as file:
            return file.read(most + 1)
    except FileNotFoundError:
        tell(f"{path} does not exist")
        return None
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise NetspecError.simple(codes.FILE_UNREADABLE, message) from None


def say_out_of_date(path: Path) -> None:
    """Say that a file is not what would be compiled now."""
    tell(f"{path} is out of date: compile it again")


def check_beside(
    others: Iterable[Path], output: Path, sources: Iterable[Path], *, force: bool
) -> None:
    """Check the files that are written beside an output, with its name, as `check_output` does.

    Beside a file of ours they are ours too. The output itself was checked before.
    """
    force = force or output.is_file()
    for path in others:
        check_output(path, sources, force=force)


def net_sources(net: Net, recipe: Path | None = None) -> list[Path]:
    """Return the files that a net is read from: its own, its imports, and its recipe.

    Args:
        net: a net that was loaded from a file.
        recipe: the recipe that is used, if it is not the one beside the net.
    """
    from netspec.runtime.runs.recipe_place import recipe_of

    files = [Path(source.name) for source in net.written.module.sources()]
    return [*files, *filter(None, (recipe, recipe_of(files[0])))]


def _is_within(path: Path, source: Path) -> bool:
    """Return True if a path names the given file or lies in the given folder.

    Symbolic and hard links and different spellings of a path are resolved.
    """
    try:
        if path.exists() and path.samefile(source):
            return True
        return source.is_dir() and path.resolve().is_relative_to(source.resolve())
    # The source does not exist any more, or is a link to itself.
    except (OSError, RuntimeError, ValueError):
        return False
