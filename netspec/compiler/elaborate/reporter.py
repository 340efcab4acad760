"""Reports the errors of a body, each with the chain of block calls and loop iterations that led to
it.
"""

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

_WORK_HELP = (
    "if a loop writes a table of numbers, join a `range` for each row, or compute it with values, such as"
    " `cos(positions)` of a `constant positions: [length] = range(length)`"
)

if TYPE_CHECKING:
    from typing import Protocol, TypedDict, Unpack

    class Details(TypedDict, total=False):
        """The optional parts of a diagnostic, under the names that `Diagnostic` gives them."""

        label: str
        secondary: tuple[Label, ...]
        notes: tuple[str, ...]
        hints: tuple[Hint, ...]

    class Reports(Protocol):
        """The interface through which errors are reported."""

        def report(self, code: Code, message: str, span: Span, **details: Unpack[Details]) -> None:
            """Report an error or a warning."""

        def count_work(self, span: Span, units: int = 1) -> None:
            """Add to the work of the file, which is limited however its loops and blocks multiply."""


class Reporter:
    """Reports the errors of one body.

    `frames` are the enclosing block calls, `turns` the current iterations of the body's own loops.
    """

    def __init__(self, assembly: Assembly, frames: tuple[Frame, ...] = ()) -> None:
        self.assembly = assembly
        self.frames = frames
        self.turns: list[tuple[str, object]] = []

    def trace(self) -> tuple[Frame, ...]:
        """Return the enclosing block calls, and the current loop iterations of this body."""
        if not self.turns:
            return self.frames
        return (*self.frames, Frame("", None, tuple(self.turns)))

    def report(self, code: Code, message: str, span: Span, **details: Unpack[Details]) -> None:
        """Report an error or a warning with the chain that led here.

        Raises:
            StopBuildingError: if there were too many errors.
        """
        assembly = self.assembly
        is_error = code.severity == "error"
        assembly.failed |= is_error
        diagnostic = Diagnostic(code, message, span, trace=self.trace(), **details)
        # In a guessed part only errors about names are certain. All others may follow from the
        # guess.
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

    @property
    def is_inline(self) -> bool:
        """Whether the body is that of an inline block."""
        calls = [frame for frame in self.frames if frame.call is not None]
        return bool(calls) and not calls[-1].block

    def count_work(self, span: Span, units: int = 1) -> None:
        """Add to the work of the file, which is limited however its loops and blocks multiply.

        Raises:
            StopBuildingError: if the limit is exceeded, which was then reported.
        """
        self.assembly.work += units
        if self.assembly.work > MAX_WORK:
            message = f"the loops and blocks of this file expand to over {MAX_WORK:,} steps"
            self.report(codes.LIMIT_WORK, message, span, hints=(Hint(_WORK_HELP),))
            raise StopBuildingError
