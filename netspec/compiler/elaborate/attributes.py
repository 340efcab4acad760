"""Attributes of values, `.channels`, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netspec import codes
from netspec.compiler.syntax import tree as syntax
from netspec.diagnostics import Edit, Hint, suggest

if TYPE_CHECKING:
    from netspec.compiler.elaborate.reporter import Reports

RECEPTIVE_FIELD = "receptive_field"
"""The one that is not about a shape."""

# `height` and `width` are those of values with three axes.
_NAMES = ("shape", "rank", "channels", "features", "height", "width", RECEPTIVE_FIELD)


def check_name(trailer: syntax.Attribute, reporter: Reports) -> None:
    """Report an attribute that no value has, of one of which nothing is known.

    Raises:
        StopBuildingError: if there were too many errors.
    """
    if trailer.name not in _NAMES:
        meant = suggest(trailer.name, _NAMES)
        reporter.report(
            codes.VALUE_ATTRIBUTE, f"no value has `.{trailer.name}`", trailer.span,
            notes=(f"values have {', '.join(_NAMES)}",),
            hints=(Hint(f"did you mean `.{meant}`?", (Edit(trailer.span, f".{meant}"),)),)
            if meant
            else (),
        )  # fmt: skip
