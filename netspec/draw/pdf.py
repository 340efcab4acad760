"""A picture as PDF: what its SVG shows by day, drawn by Matplotlib with letters that stay letters."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.draw.svg import day_style

# A pixel of the picture is a point of the page.
_POINTS = 72.0
_SPACE = "{http://www.w3.org/2000/svg}"
_MOVE = re.compile(r"([MLlhz])([-\d. ]*)")
_STYLE = {"pdf.fonttype": 42, "font.family": "DejaVu Sans"}


def as_pdf(svg: str) -> bytes:
    """Return a picture that `as_svg` has written as PDF of one page, of its own size.

    Raises:
        NetspecError: `library/matplotlib` if Matplotlib is not installed.
    """
    matplotlib = _matplotlib()
    from matplotlib.figure import Figure

    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    content = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        page = Figure(figsize=(width / _POINTS, height / _POINTS), dpi=_POINTS)
        axes = page.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0.0, width), ylim=(height, 0.0))
        axes.set_axis_off()
        for order, artist in enumerate(_artists(root, 0.0, 0.0)):
            artist.set_zorder(order)
            axes.add_artist(artist)
        # The date would make equal pictures differ.
        page.savefig(content, format="pdf", metadata={"CreationDate": None, "Creator": "netspec"})
    return content.getvalue()


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        message = "PDF is drawn with Matplotlib, which is not installed"
        raise NetspecError.simple(
            codes.LIBRARY_MATPLOTLIB,
            message,
            "pip install 'netspec-dsl[plot]', or name a .svg file",
        ) from None
    return matplotlib


def _artists(group: ElementTree.Element, x: float, y: float) -> Iterator[Any]:
    """Yield what a group of an SVG shows, its corner at (x, y), in the order in which it is painted."""
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.text import Text

    for part in group:
        name, at = part.tag.removeprefix(_SPACE), part.attrib
        look = day_style(at.get("class", ""))
        if name == "g":
            moved = re.findall(r"-?[\d.]+", at.get("transform", "")) or ("0", "0")
            yield from _artists(part, x + float(moved[0]), y + float(moved[1]))
        elif name == "rect":
            left, top = x + float(at.get("x", "0")), y + float(at.get("y", "0"))
            corner = f"round,pad=0,rounding_size={at.get('rx', '0')}"
            yield FancyBboxPatch(
                (left, top), float(at["width"]), float(at["height"]), boxstyle=corner, **look
            )
        elif name == "path":
            yield PathPatch(_path(at["d"], x, y), **look)
        elif name == "text":
            yield Text(
                x + float(at["x"]), y + float(at["y"]), part.text or "", color=look["facecolor"],
                fontsize=float(at["font-size"]), parse_math=False, verticalalignment="baseline",
                fontweight="bold" if at["class"] == "t" else "normal",
            )  # fmt: skip


def _path(text: str, x: float, y: float) -> Any:
    """Return the path of an SVG's `d`, of which `as_svg` writes these steps alone."""
    from matplotlib.path import Path

    points: list[tuple[float, float]] = []
    steps: list[Any] = []
    for step, numbers in _MOVE.findall(text):
        found = [float(number) for number in numbers.split()]
        last = points[-1] if points else (0.0, 0.0)
        if step in "ML":
            points.append((x + found[0], y + found[1]))
        elif step == "l":
            points.append((last[0] + found[0], last[1] + found[1]))
        elif step == "h":
            points.append((last[0] + found[0], last[1]))
        else:
            points.append(points[0])
        steps.append(Path.MOVETO if step == "M" else Path.CLOSEPOLY if step == "z" else Path.LINETO)
    return Path(points, steps)
