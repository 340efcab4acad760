"""What `netspec check --format` writes for programs, a module for each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.cli.check_formats.checked_file import CheckedFile

FORMATS = ("json", "sarif", "github", "junit")


def report_as(form: str, files: Sequence[CheckedFile], *, ok: bool) -> str:
    """Return the report in one of the `FORMATS`; `ok` is whether the command succeeds."""
    if form == "json":
        from netspec.cli.check_formats.json_report import as_json

        return as_json(files, ok=ok)
    if form == "sarif":
        from netspec.cli.check_formats.sarif import as_sarif

        return as_sarif(files)
    if form == "github":
        from netspec.cli.check_formats.github import as_github

        return as_github(files)
    from netspec.cli.check_formats.junit import as_junit

    return as_junit(files)
