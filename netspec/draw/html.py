"""A picture as a page: one file without any request, whose blocks open and close.

The names in a `.net` file reach the page as JSON alone, and the script writes them as text. The page's
content security policy allows that script, by its hash, and no request.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from netspec.draw.body import LINE, PAD, SHAPE, Body, Placed, box_texts
from netspec.draw.kinds import Kind
from netspec.draw.outline import Group, Item, Leaf, Outline, leaves
from netspec.draw.picture import ADAPTER, HEADER, SPACES, Bodies, usual_depth
from netspec.draw.routes import NEAR
from netspec.draw.svg import class_of, style, tooltip
from netspec.draw.text_width import text_width
from netspec.text.printable import printable


def as_html(outline: Outline, depth: int | None = None) -> str:
    """Return the page.

    Args:
        outline: the net.
        depth: how deep blocks are open at first; by default as deep as there are not too many boxes.
    """
    data = _Data(outline, usual_depth(outline) if depth is None else depth).whole()
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    name = escape(printable(outline.name))
    return (
        "<!doctype html><!-- drawn by netspec from a .net file -->\n"
        '<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{name}</title><style>{_file('page.css')}{style('.drawn ')}</style></head><body>\n"
        f"<header><h1>{name}</h1>"
        '<form id="search"><input id="words" type="search" aria-label="name of a layer"'
        ' placeholder="name of a layer"><button>find</button></form>'
        '<button id="all">open all</button><button id="none">close all</button>'
        '<span id="found" role="status"></span></header>\n'
        '<main><div id="canvas"><svg id="picture" class="drawn" xmlns="http://www.w3.org/2000/svg"></svg></div>'
        '<aside><div id="about" aria-live="polite"><p>A click on a box shows what it is, and opens or'
        f" closes a block.</p></div>{_legend(outline)}</aside></main>\n"
        f'<script type="application/json" id="net">{_embedded(data)}</script>\n'
        f"<script>{script}</script></body></html>\n"
    )


def _legend(outline: Outline) -> str:
    found = {leaf.kind for leaf in leaves(outline.children)}
    rows = (
        f'<p><svg class="drawn" width="11" height="11"><rect class="{class_of(kind)}"'
        f' width="11" height="11"/></svg> {kind.value}</p>'
        for kind in Kind
        if kind in found
    )
    return "".join(rows)


@cache
def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text("utf-8")


def _embedded(data: dict[str, Any]) -> str:
    """Return JSON that holds nothing that could end the element it stands in."""
    text = json.dumps(data, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


class _Data:
    """The layouts of all bodies, as the page's script reads them."""

    def __init__(self, outline: Outline, depth: int) -> None:
        self.made = Bodies(outline)
        self.depth = depth
        self.bodies: list[dict[str, Any]] = []
        self.source: dict[tuple[str, str], int] = {}
        self.shared: dict[tuple[str, ...], int] = {}
        self.values: dict[str, int] = {}
        self._add(self.made.outermost)

    def whole(self) -> dict[str, Any]:
        """Return everything."""
        spaces = [[SPACES[bool(one), bool(other)] for other in (0, 1)] for one in (0, 1)]
        sizes = {
            "PAD": PAD, "HEADER": HEADER, "ADAPTER": ADAPTER, "NEAR": NEAR, "LINE": LINE,
            "SPACES": spaces,
        }  # fmt: skip
        source = [{"where": where, "text": text} for where, text in self.source]
        return {"sizes": sizes, "depth": self.depth, "bodies": self.bodies, "source": source}

    def _add(self, body: Body) -> int:
        number = len(self.bodies)
        made: dict[str, Any] = {}
        self.bodies.append(made)
        made["width"] = body.width
        made["boxes"] = [self._box(box) for box in body.boxes]
        made["arrows"] = [
            {
                "value": self._value(arrow.value),
                "source": arrow.source,
                "target": arrow.target,
                "x": [x for x, _ in arrow.points],
                "y": [y for _, y in arrow.points],
            }
            for arrow in body.arrows
        ]
        made["shapes"] = [
            {"text": s.text, "box": s.box, "x": s.x, "width": round(text_width(s.text, SHAPE), 2)}
            for s in body.shapes
        ]
        return number

    def _value(self, value: str) -> int:
        return self.values.setdefault(value, len(self.values))

    def _box(self, box: Placed) -> dict[str, Any]:
        place = {"x": box.x, "y": box.y, "middle": box.middle, "width": box.width, "height": box.height,
                 "right": round(box.x + box.width, 2)}  # fmt: skip
        if box.item is None:
            return {**place, "edge": self._value(box.value)}
        return {**place, **self._item(box.item)}

    def _item(self, item: Item) -> dict[str, Any]:
        texts = box_texts(item)
        made: dict[str, Any] = {
            "kind": class_of(item.kind),
            "lines": [printable(text) for text, _, _ in texts],
            "widths": [round(text_width(text, size, bold=bold), 2) for text, size, bold in texts],
            "about": [printable(line) for line in tooltip(item, place=False).splitlines()],
        }
        if item.span is not None:
            line = printable(item.span.source.line(item.span.line)).strip()
            where = f"{printable(item.span.source.file_name)}:{item.span.line}"
            made["source"] = self.source.setdefault((where, line), len(self.source))
        if isinstance(item, Group):
            made |= {"body": self._add(self.made.of(item)), "times": item.times}
        elif item.kind is Kind.ERROR:
            made["wrong"] = 1
        elif item.parameters:
            made["shared"] = self.shared.setdefault(item.parameters, len(self.shared))
        if isinstance(item, Leaf) and item.is_unread:
            made["kind"] += " u"
        return made
