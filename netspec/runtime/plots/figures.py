"""Matplotlib, if it is installed, and the style of netspec's figures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.weights.atomic_write import told_plainly
from netspec.runtime.weights.output_file import write_output
from netspec.text.printable import printable

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's colors, which people with any color vision can tell apart; black is for text.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# The date would make equal figures differ.
_ABOUT = {
    "png": {"Software": "netspec"},
    "svg": {"Date": None, "Creator": "netspec"},
    "pdf": {"CreationDate": None, "Creator": "netspec"},
}
_STYLE = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "font.size": 10,
    # Equal figures give identical files.
    "svg.hashsalt": "netspec",
    # Letters that stay letters, as journals ask.
    "pdf.fonttype": 42,
}


def require_matplotlib() -> Any:
    """Import and return Matplotlib.

    Raises:
        NetspecError: `library/matplotlib`.
    """
    try:
        import matplotlib
    except ImportError:
        raise NetspecError.simple(
            codes.LIBRARY_MATPLOTLIB,
            "curves are drawn with Matplotlib, which is not installed",
            "pip install 'netspec-dsl[plot]'",
        ) from None
    return matplotlib


def check_picture_path(path: Path, formats: tuple[str, ...] = FORMATS) -> None:
    """Check that the file name has the ending of a known picture format.

    Raises:
        NetspecError: `usage/picture`.
    """
    if path.suffix.lower() not in formats:
        raise NetspecError.simple(
            codes.USAGE_PICTURE, f"{path}: the name of a picture ends in {' or '.join(formats)}"
        )


def plain(name: str) -> str:
    """Make a name of any origin safe for Matplotlib: no formulas, and no characters that no font has."""
    return printable(name).replace("$", r"\$")


def figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """Return a figure and its axes, (rows, columns); without a window or global state of pyplot."""
    matplotlib = require_matplotlib()
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        made = Figure(figsize=size, layout="constrained")
        return made, made.subplots(rows, columns, squeeze=False)


def save(made: Any, path: Path) -> None:
    """Write a figure in the format of the file name's ending.

    Raises:
        NetspecError: `usage/picture`, `output/unwritable`, `output/disk-full`.
    """
    check_picture_path(path)
    kind = path.suffix.lower().removeprefix(".")
    content = io.BytesIO()
    with require_matplotlib().rc_context(_STYLE):
        made.savefig(content, format=kind, dpi=150, metadata=_ABOUT[kind])
    with told_plainly(path):
        write_output(path, content.getvalue())
