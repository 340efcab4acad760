"""Small pieces of HTML for notebooks: no script, no style sheet, and every text escaped.

Colours are left to the notebook, which knows whether it is light or dark; lines take that of the text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from netspec.text.printable import printable, printable_lines

_WIDTH, _HEIGHT = 360, 120
_MOST_POINTS = 300
_CAPTION = (
    "font-size:small;max-width:96px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap"
)
# Okabe and Ito's blue, vermilion and green, which people with any colour vision can tell apart. Blue
# is lighter than theirs: each is seen on light paper and on dark, with a contrast of at least 3.
_COLORS = ("#1585C7", "#D55E00", "#009E73")


def text(words: object) -> str:
    """Return words as text of a page."""
    return escape(printable(str(words)))


def preformatted(words: str) -> str:
    """Return lines of text as they are: notebooks would break those of a wide table."""
    style = "white-space:pre;overflow-x:auto"
    return f'<pre style="{style}">{escape(printable_lines(words))}</pre>'


def folded(title: str, content: str, *, is_open: bool = False) -> str:
    """Return content that opens and closes below its title."""
    return f"<details{' open' * is_open}><summary>{text(title)}</summary>{content}</details>"


def picture(png: bytes, alternative: str) -> str:
    """Return a picture, with words for who does not see it."""
    source = base64.b64encode(png).decode()
    return f'<img src="data:image/png;base64,{source}" alt="{text(alternative)}">'


def captioned(png: bytes, caption: str, height: int) -> str:
    """Return a picture of so many pixels' height with its caption below it."""
    source, words = base64.b64encode(png).decode(), text(caption)
    return (
        '<figure style="display:inline-block;margin:2px;text-align:center">'
        # As a style: notebooks have sheets that overrule attributes.
        f'<img src="data:image/png;base64,{source}" alt="{words}"'
        f' style="height:{height}px;width:auto;max-width:none;image-rendering:pixelated">'
        f'<figcaption style="{_CAPTION}">{words}</figcaption></figure>'
    )


def table(
    titles: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    left: int = 1,
    total: Sequence[object] | None = None,
) -> str:
    """Return a table.

    Args:
        titles: above the columns.
        rows: the cells.
        left: how many of the first columns are words, aligned to the left.
        total: the last row, in bold.
    """
    return "".join([
        "<table><thead>", _row("th", titles, left), "</thead><tbody>",
        *(_row("td", row, left) for row in rows),
        *([] if total is None else [_row("th", total, left)]),
        "</tbody></table>",
    ])  # fmt: skip


def _row(tag: str, cells: Sequence[object], left: int) -> str:
    sides = ("left" if at < left else "right" for at in range(len(cells)))
    inner = (
        f'<{tag} style="text-align:{side}">{text(cell)}</{tag}>'
        for side, cell in zip(sides, cells, strict=True)
    )
    return f"<tr>{''.join(inner)}</tr>"


def curves(title: str, lines: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return curves over equal steps as a picture, each with its name and its last value.

    Values that are not finite are left out; without two finite values there is no picture.
    """
    known = [(name, _points(values)) for name, values in lines]
    known = [(name, points) for name, points in known if len(points) > 1]
    if not known:
        return ""
    heights = [y for _, points in known for _, y in points]
    low, high = min(heights), max(heights)
    tall = (high - low) or 1.0
    parts = []
    for at, (name, points) in enumerate(known):
        color = _COLORS[at % len(_COLORS)]
        path = " ".join(
            f"{x * _WIDTH:.1f},{(_HEIGHT - 8) * (1 - (y - low) / tall) + 4:.1f}" for x, y in points
        )
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>'
            f'<rect x="{_WIDTH + 6}" y="{6 + 16 * at}" width="9" height="9" fill="{color}"/>'
            f'<text x="{_WIDTH + 20}" y="{14 + 16 * at}" font-size="11" fill="currentColor">'
            f"{text(name)} {points[-1][1]:.4g}</text>"
        )
    return (
        f'<figure style="margin:0"><figcaption>{text(title)}, {low:.4g} to {high:.4g}</figcaption>'
        f'<svg width="{_WIDTH + 130}" height="{_HEIGHT}" role="img" font-family="sans-serif">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="currentColor"'
        f' stroke-opacity="0.3"/>{"".join(parts)}</svg></figure>'
    )


def _points(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return points with x from 0 to 1: means of neighbours, where there are too many values."""
    count = len(values)
    size = -(-count // _MOST_POINTS) or 1
    found = []
    for start in range(0, count, size):
        part = [float(v) for v in values[start : start + size] if abs(v) < float("inf")]
        if part:
            found.append(((start + (len(part) - 1) / 2) / max(1, count - 1), sum(part) / len(part)))
    return found
