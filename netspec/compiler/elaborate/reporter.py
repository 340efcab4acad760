"""What a body reports by: each error with the chain of blocks and turns that led there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.elaborate.fix_its import is_inside
from netspec.compiler.elaborate.net_builder import (
    MAX_ERRORS,
    MAX_REPEATS,
    MAX_WORK,
    Assembly,
    StopBuildingError,
)
from netspec.diagnostics import Code, Diagnostic, Frame, Hint, Label, Span

if TYPE_CHECKING:
    from typing import Protocol, TypedDict, Unpack

    class Details(TypedDict, total=False):
        """What a diagnostic may say besides, under its own names."""

        label: str
        secondary: tuple[Label, ...]
        notes: tuple[str, ...]
        hints: tuple[Hint, ...]

    class Reports(Protocol):
        """Who is told of errors."""

        def report(self, code: Code, message: str, span: Span, **details: Unpack[Details]) -> None:
            """Report an error or a warning."""

        def count_work(self, span: Span, units: int = 1) -> None:
            """Bound the whole work of a file, however its loops and blocks multiply."""


class Reporter:
    """Reports what is wrong in one body.

    `frames` are the calls of blocks around the body, `turns` those of its own loops that run now.
    """

    def __init__(self, assembly: Assembly, frames: tuple[Frame, ...] = ()) -> None:
        self.assembly = assembly
        self.frames = frames
        self.turns: list[tuple[str, object]] = []

    def trace(self) -> tuple[Frame, ...]:
        """The blocks around, and the loop turns of this body."""
        if not self.turns:
            return self.frames
        return (*self.frames, Frame("", None, tuple(self.turns)))

    def report(self, code: Code, message: str, span: Span, **details: Unpack[Details]) -> None:
        """Report an error or a warning with the chain that led here.

        Raises:
            StopBuildingError: if there were too many.
        """
        assembly = self.assembly
        is_error = code.severity == "error"
        assembly.failed |= is_error
        diagnostic = Diagnostic(code, message, span, trace=self.trace(), **details)
        # Only names are certain there; the rest follows from a guess.
        if not code.startswith("name/") and any(is_inside(span, g) for g in assembly.guessed):
            assembly.sink.leave_unsaid(diagnostic)
            return
        if not assembly.sink.add(diagnostic):
            assembly.repeats += is_error
            if assembly.repeats > MAX_REPEATS:
                raise StopBuildingError
            return
        assembly.errors += is_error
        if assembly.errors == MAX_ERRORS:
            message = f"{MAX_ERRORS} errors: fix these to see any others"
            assembly.sink.add(Diagnostic(codes.LIMIT_ERRORS, message))
            raise StopBuildingError

    def count_work(self, span: Span, units: int = 1) -> None:
        """Bound the whole work of a file, however its loops and blocks multiply.

        Raises:
            StopBuildingError: if it is too much, after a report.
        """
        self.assembly.work += units
        if self.assembly.work > MAX_WORK:
            message = f"the loops and blocks of this file expand to over {MAX_WORK:,} steps"
            self.report(codes.LIMIT_WORK, message, span)
            raise StopBuildingError
