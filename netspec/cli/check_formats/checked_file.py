"""A file that was checked, as every format of `check` is handed it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from netspec.compiler.driver import Compilation
from netspec.compiler.fixes import AppliedFix
from netspec.diagnostics import Diagnostic, chain
from netspec.records import record


@record
class CheckedFile:
    """A file, what was found in it, whether that fails the check, and the fixes made before."""

    name: str
    result: Compilation
    failed: bool
    fixes: tuple[AppliedFix, ...] = ()

    @property
    def diagnostics(self) -> Sequence[Diagnostic]:
        """The errors and the warnings, in order of place."""
        return self.result.diagnostics

    @property
    def errors(self) -> int:
        """The number of errors."""
        return len(self.result.errors)

    @property
    def warnings(self) -> int:
        """The number of warnings."""
        return len(self.diagnostics) - self.errors


def distinct(files: Iterable[CheckedFile]) -> list[tuple[str, Diagnostic]]:
    """Return every diagnostic with the file in whose check it was found.

    Files that import the same one meet the same mistake in it, which is listed once.
    """
    found: dict[object, tuple[str, Diagnostic]] = {}
    for file in files:
        for d in file.diagnostics:
            found.setdefault((d.code, d.span or file.name, d.message), (file.name, d))
    return list(found.values())


def words(diagnostic: Diagnostic) -> str:
    """Return all that a diagnostic says, without the lines of source, a fact on each line."""
    return "\n".join(_words(diagnostic))


def _words(diagnostic: Diagnostic) -> Iterator[str]:
    yield diagnostic.message + (f": {diagnostic.label}" if diagnostic.label else "")
    yield from (f"in {text}" for text in chain(diagnostic.trace))
    yield from (f"note: {note}" for note in diagnostic.notes)
    yield from (f"help: {hint.text}" for hint in diagnostic.hints)
