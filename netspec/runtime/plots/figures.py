"""Matplotlib, if it is installed, and the style of netspec's figures."""

from __future__ import annotations

import io
import math
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
# The least width of axes beside a legend, with their ticks and words.
_ROOM = 2.0
# So few points of a line are marked.
_FEW = 12
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


def set_epochs(ax: Any, epochs: Iterable[float]) -> None:
    """Give an axis of epochs ticks at whole ones, and no room where nothing was measured.

    Args:
        ax: the axes.
        epochs: where something is drawn. Losses of steps stand before the end of the first epoch.
    """
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(
        MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    found = {*epochs}
    if min(found) < 1:
        ax.set_xlim(left=0, right=None if len(found) > 1 else 2 * min(found))
    elif len(found) == 1:
        ax.set_xlim(min(found) - 0.5, min(found) + 0.5)


def marker_of(mark: str, points: Sequence[object]) -> dict[str, Any]:
    """Return the options of a line with marks where its points are few, so that these can be told."""
    return {"marker": mark if len(points) <= _FEW else "", "markersize": 4}


def add_legend(made: Any, ax: Any, title: str | None = None, *, grows: bool = True) -> None:
    """Add the legend of the lines in `ax`: in it, or beside it if there are many or with long names, or
    if it would cover a curve.

    Args:
        made: the figure.
        ax: its axes, with their limits and all that is drawn.
        title: what stands above the legend.
        grows: whether the figure grows by what a legend takes that stands beside.

    Raises:
        NetspecError: `usage/picture` if it does not, and has no room.
    """
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    wrapped = ["\n".join(textwrap.wrap(label, _LONGEST)) for label in labels]
    lines = [line for label in wrapped for line in label.split("\n")]
    widest = max(map(len, [*lines, title or ""]))
    if len(lines) <= _INSIDE and widest <= _INSIDE_WIDTH:
        legend = ax.legend(fontsize=8, frameon=False, title=title, title_fontsize=8)
        if not _covers_a_curve(made, ax, legend):
            return
        legend.remove()
    width, height = made.get_size_inches()
    beside, tall = _LETTER * widest + 0.6, _LEADING * len(lines) + 0.4
    if grows:
        made.set_size_inches(width + beside, max(height, tall))
    elif width < (least := len(made.axes) * (beside + _ROOM)) or height < tall:
        size = f"{max(width, math.ceil(least)):g},{max(height, math.ceil(tall)):g}"
        message = f"{width:g} x {height:g} inches have no room for the curves beside their names"
        raise NetspecError.simple(codes.USAGE_PICTURE, message, f"--size {size}")
    ax.legend(
        handles, wrapped, fontsize=8, frameon=False, title=title, title_fontsize=8,
        bbox_to_anchor=(1.02, 1.0), loc="upper left", borderaxespad=0.0,
    )  # fmt: skip


def _covers_a_curve(made: Any, ax: Any, legend: Any) -> bool:
    made.draw_without_rendering()
    box = legend.get_window_extent()
    lines = [line.get_transform().transform_path(line.get_path()) for line in ax.get_lines()]
    bands = [ax.transData.transform_path(path) for c in ax.collections for path in c.get_paths()]
    return any(path.intersects_bbox(box, filled=False) for path in lines) or any(
        path.intersects_bbox(box) for path in bands
    )


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
