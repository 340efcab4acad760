"""A picture as SVG: self-contained, with real text, and colours for light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

from netspec.draw.body import NOTE, PAD, Text
from netspec.draw.kinds import Kind
from netspec.draw.outline import Group, Item, Leaf
from netspec.draw.picture import DrawnBox, Picture
from netspec.draw.text_width import text_width
from netspec.text.printable import printable

FONT = "'DejaVu Sans', Verdana, sans-serif"
# (fill, border) by day, and by night. Text has a contrast of at least 4.5 on each.
COLORS: dict[Kind, tuple[tuple[str, str], tuple[str, str]]] = {
    Kind.INPUT: (("#f1f3f5", "#868e96"), ("#343a40", "#adb5bd")),
    Kind.WEIGHTS: (("#dbe9fb", "#3b78c3"), ("#17375e", "#6ea8f0")),
    Kind.NORM: (("#e3f4e1", "#4a9a45"), ("#1e4420", "#79c773")),
    Kind.POINTWISE: (("#fdf1d3", "#c79a1e"), ("#4a3a0c", "#dcb84c")),
    Kind.WINDOW: (("#ece3f7", "#8558b8"), ("#3c2459", "#b793e3")),
    Kind.JOIN: (("#fde5d8", "#cf6b30"), ("#562a10", "#ee9a67")),
    Kind.OTHER: (("#e0f3f3", "#3a9797"), ("#134242", "#6cc7c7")),
    Kind.BLOCK: (("#fafbfc", "#9aa4af"), ("#1c2128", "#6b7785")),
    Kind.ERROR: (("#fde2e2", "#d02b2b"), ("#5c1616", "#ff7b7b")),
}
_PAPER, _NIGHT = "#ffffff", "#12161b"
_INK, _PALE = ("#1f2328", "#57606a"), ("#e6edf3", "#a7b1bc")
_MARGIN = 16.0
_LEGEND = 30.0


def style(prefix: str = ".netspec ") -> str:
    """Return the style sheet. Each of its selectors begins with the prefix, so that it leaves alone
    what else is on a page.
    """
    return "".join([
        f"{prefix}text{{font-family:{FONT};fill:{_INK[0]}}}",
        f"{prefix}.t{{font-weight:bold}}{prefix}.s{{fill:{_INK[1]}}}",
        f"{prefix}.l{{fill:none;stroke:{_INK[1]};stroke-width:1.2}}",
        f"{prefix}.a{{fill:{_INK[1]}}}{prefix}.p{{fill:{_PAPER}}}",
        f"{prefix}.k{{fill:none;stroke:{_INK[1]};stroke-width:1;stroke-dasharray:4 3}}",
        f"{prefix}.u{{stroke-dasharray:4 3}}",
        f"{prefix}.e{{stroke:{COLORS[Kind.ERROR][0][1]};stroke-width:2}}",
        f"{prefix}.f{{fill:{COLORS[Kind.ERROR][0][1]}}}",
        *(f"{prefix}.{c}{{fill:{day[0]};stroke:{day[1]}}}" for c, day, _ in _classes()),
        "@media(prefers-color-scheme:dark){",
        f"{prefix}text{{fill:{_PALE[0]}}}{prefix}.s{{fill:{_PALE[1]}}}",
        f"{prefix}.l,{prefix}.k{{stroke:{_PALE[1]}}}{prefix}.a{{fill:{_PALE[1]}}}",
        f"{prefix}.p{{fill:{_NIGHT}}}{prefix}.e{{stroke:{COLORS[Kind.ERROR][1][1]}}}",
        f"{prefix}.f{{fill:{COLORS[Kind.ERROR][1][1]}}}",
        *(f"{prefix}.{c}{{fill:{night[0]};stroke:{night[1]}}}" for c, _, night in _classes()),
        "}@media print{.netspec{max-width:100%;max-height:100vh}}",
    ])  # fmt: skip


def _classes() -> Iterator[tuple[str, tuple[str, str], tuple[str, str]]]:
    for kind, (day, night) in COLORS.items():
        yield class_of(kind), day, night


def day_style(name: str) -> dict[str, Any]:
    """Return how a class, or two, of the style sheet looks by day, in the words of Matplotlib."""
    boxes = {c: (day[0], day[1], 1.0) for c, day, _ in _classes()}
    looks: dict[str, tuple[str, str, float]] = {
        "": (_INK[0], "none", 0.0), "t": (_INK[0], "none", 0.0), "s": (_INK[1], "none", 0.0),
        "l": ("none", _INK[1], 1.2), "k": ("none", _INK[1], 1.0), "p": (_PAPER, "none", 0.0),
        "a": (_INK[1], "none", 0.0), "f": (COLORS[Kind.ERROR][0][1], "none", 0.0), **boxes,
    }  # fmt: skip
    first, _, other = name.partition(" ")
    fill, border, wide = looks[first]
    if other == "e":
        border, wide = COLORS[Kind.ERROR][0][1], 2.0
    dashes = (0, (4, 3)) if first == "k" or other == "u" else "solid"
    return {"facecolor": fill, "edgecolor": border, "linewidth": wide, "linestyle": dashes}


def class_of(kind: Kind) -> str:
    """Return the class of boxes of a kind."""
    return f"k{list(Kind).index(kind)}"


def as_svg(picture: Picture) -> str:
    """Return a picture as the text of an SVG file."""
    legend = [*_legend(picture)]
    width = max(picture.width, max((x for x, _ in legend), default=0.0)) + 2 * _MARGIN
    height = picture.height + 2 * _MARGIN + _LEGEND
    shift = _MARGIN + max(0.0, (width - 2 * _MARGIN - picture.width) / 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="netspec" width="{_n(width)}"'
        f' height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}" role="img">'
        "<!-- drawn by netspec from a .net file -->",
        f"<title>{_text(picture.name)}</title><style>{style()}</style>",
        f'<rect class="p" width="{_n(width)}" height="{_n(height)}"/>',
        f'<g transform="translate({_n(shift)} {_n(_MARGIN)})">',
        *_shared_lines(picture),
        *(_box(box) for box in picture.boxes if box.is_open),
        *_lines(picture),
        *(_box(box) for box in picture.boxes if not box.is_open),
        *(_label(text, "s") for text in picture.shapes),
        "</g>",
        f'<g transform="translate({_n(_MARGIN)} {_n(height - _MARGIN - 6)})">',
        *(part for _, part in legend),
        "</g></svg>",
    ]
    return "\n".join(parts) + "\n"


def _box(box: DrawnBox) -> str:
    unread = " u" if isinstance(box.item, Leaf) and box.item.is_unread else ""
    frame = (
        f'<rect class="{class_of(box.item.kind)}{unread}" x="{_n(box.x)}" y="{_n(box.y)}"'
        f' width="{_n(box.width)}" height="{_n(box.height)}" rx="{6 if box.is_open else 4}"/>'
    )
    behind = ""
    if isinstance(box.item, Group) and box.item.times > 1:
        behind = frame.replace(
            f'x="{_n(box.x)}" y="{_n(box.y)}"', f'x="{_n(box.x + 3)}" y="{_n(box.y + 3)}"'
        )
    texts = "".join(_label(text, "t" if text.is_bold else "s") for text in box.texts)
    return f"<g><title>{_text(tooltip(box.item))}</title>{behind}{frame}{texts}</g>"


def tooltip(item: Item, *, place: bool = True) -> str:
    """Return what a box says when it is pointed at; `place` says that its place in the file is part
    of it.
    """
    lines = [item.title] if isinstance(item, Group) else [item.name, item.title]
    if item.note:
        lines.append(item.note)
    if isinstance(item, Leaf):
        lines += [f"{name}: {text}" for name, text in item.about]
        if item.is_unread:
            lines.append("its value is not read")
    if item.span is not None and place:
        lines.append(item.span.where)
    return "\n".join(dict.fromkeys(lines))


def _lines(picture: Picture) -> Iterator[str]:
    """Yield the lines, each piece that several share once, and the heads of arrows."""
    seen: set[tuple[tuple[float, float], tuple[float, float], bool]] = set()
    for line in picture.lines:
        wrong = picture.boxes[line.target].item.kind is Kind.ERROR
        path: str = ""
        at: tuple[float, float] | None = None
        for one, other in zip(line.points, line.points[1:], strict=False):
            if (one, other, wrong) in seen:
                continue
            seen.add((one, other, wrong))
            path += (
                "" if at == one else f"M{_n(one[0])} {_n(one[1])}"
            ) + f"L{_n(other[0])} {_n(other[1])}"
            at = other
        if path:
            yield f'<path class="l{" e" if wrong else ""}" d="{path}"/>'
        if not picture.boxes[line.target].is_open:  # else another one goes on from the border
            x, y = line.points[-1]
            head = f"M{_n(x)} {_n(y)}l-3.5 -7h7z"
            yield f'<path class="{"f" if wrong else "a"}" d="{head}"/>'


def _shared_lines(picture: Picture) -> Iterator[str]:
    for one, other in picture.shared():
        a, b = picture.boxes[one], picture.boxes[other]
        ends = [(box.x + box.width / 2, box.y + box.height / 2) for box in (a, b)]
        (x0, y0), (x1, y1) = ends
        yield f'<path class="k" d="M{_n(x0)} {_n(y0)}L{_n(x1)} {_n(y1)}"/>'


def _legend(picture: Picture) -> Iterator[tuple[float, str]]:
    """Yield the entries of the legend, each with where it ends."""
    x = 0.0
    for kind in picture.kinds():
        width = text_width(kind.value, NOTE)
        yield (
            x + 15 + width,
            f'<rect class="{class_of(kind)}" x="{_n(x)}" y="-9" width="11" height="11" rx="2"/>'
            + _label(Text(kind.value, x + 15, 0.0, NOTE), "s"),
        )
        x += 15 + width + 2 * PAD


def _label(text: Text, name: str) -> str:
    return (
        f'<text class="{name}" x="{_n(text.x)}" y="{_n(text.y)}" font-size="{_n(text.size)}">'
        f"{_text(text.text)}</text>"
    )


def _text(text: str) -> str:
    return escape("\n".join(printable(line) for line in text.splitlines()))


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
