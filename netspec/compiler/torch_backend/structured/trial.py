"""Building with arguments that nobody gave, to find out what a net or a block does with them."""

from __future__ import annotations

from netspec.compiler.elaborate.net_builder import StopBuildingError
from netspec.diagnostics import Diagnostic, DiagnosticSink


class FirstError(DiagnosticSink):
    """Stops the building at the first error: that there is one is all that is asked."""

    def add(self, diagnostic: Diagnostic) -> bool:
        """Keep a diagnostic.

        Raises:
            StopBuildingError: if it is an error.
        """
        is_new = super().add(diagnostic)
        if diagnostic.severity == "error":
            raise StopBuildingError
        return is_new
