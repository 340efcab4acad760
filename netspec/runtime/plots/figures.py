"""Matplotlib, if it is installed, and the style of netspec's figures."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.weights.atomic_write import told_plainly
from netspec.runtime.weights.output_file import write_output
from netspec.text.printable import printable

# With more entries, or broader ones, a legend stands beside the picture.
_INSIDE, _INSIDE_WIDTH = 8, 40
# A legend's letters and lines in inches, and the letters of its longest line.
_LETTER, _LEADING, _LONGEST = 0.075, 0.16, 56
# A line that goes so many times as high as the middle one leaves the picture.
_BEYOND = 10
LEAVES = " (leaves the picture)"

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


def add_legend(made: Any, ax: Any, title: str | None = None) -> None:
    """Add the legend of the lines in `ax`: in it, or beside it if there are many or with long names.

    The figure grows by what a legend takes that stands beside.

    Args:
        made: the figure.
        ax: its axes.
        title: what stands above the legend.
    """
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    wrapped = ["\n".join(textwrap.wrap(label, _LONGEST)) for label in labels]
    lines = [line for label in wrapped for line in label.split("\n")]
    widest = max(map(len, [*lines, title or ""]))
    if len(lines) <= _INSIDE and widest <= _INSIDE_WIDTH:
        ax.legend(fontsize=8, frameon=False, title=title, title_fontsize=8)
        return
    width, height = made.get_size_inches()
    made.set_size_inches(width + _LETTER * widest + 0.6, max(height, _LEADING * len(lines) + 0.4))
    ax.legend(
        handles, wrapped, fontsize=8, frameon=False, title=title, title_fontsize=8,
        bbox_to_anchor=(1.02, 1.0), loc="upper left", borderaxespad=0.0,
    )  # fmt: skip


def highest_of(lines: Iterable[Sequence[float]]) -> float | None:
    """Return where an axis should end so that one line that diverges does not flatten the others.

    Args:
        lines: the values of each line.

    Returns:
        The highest value of the lines that stay near the middle one, or None if all of them do.
    """
    highest = [max(values) for values in lines if values]
    if not highest or (limit := _BEYOND * median_low(highest)) <= 0:
        return None
    return None if max(highest) <= limit else max(high for high in highest if high <= limit)


def is_beyond(top: float | None, values: Sequence[float]) -> bool:
    """Whether a line of these values leaves a picture that ends at `top`."""
    return top is not None and max(values, default=top) > top


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
