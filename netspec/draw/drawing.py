"""A net's picture in every form that it can be written in."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from netspec import codes
from netspec.compiler.elaborate.sketch import Sketch
from netspec.diagnostics import NetspecError
from netspec.draw.facts import facts_of
from netspec.draw.outline import Outline, outline
from netspec.draw.picture import Picture, draw


class Drawing:
    """The picture of a net, which notebooks show.

    Attributes:
        sketch: the net.
        depth: how deep its blocks are opened; None for as deep as there are not too many boxes.
    """

    def __init__(self, sketch: Sketch, depth: int | None = None) -> None:
        self.sketch = sketch
        self.depth = depth

    @cached_property
    def outline(self) -> Outline:
        """The tree of what is drawn."""
        facts = facts_of(self.sketch.graph)
        return outline(self.sketch, lambda name: facts.get(name, ()))

    @cached_property
    def picture(self) -> Picture:
        """The geometry: boxes, lines and texts."""
        return draw(self.outline, self.depth)

    def svg(self) -> str:
        """Return it as SVG: one file with text, and colours for light and dark pages."""
        from netspec.draw.svg import as_svg

        return as_svg(self.picture)

    def html(self) -> str:
        """Return it as a page of one file, whose blocks open and close."""
        from netspec.draw.html import as_html

        return as_html(self.outline, self.depth)

    def mermaid(self) -> str:
        """Return it as a Mermaid flowchart, which many sites draw in a README."""
        from netspec.draw.graph_text import as_mermaid

        return as_mermaid(self.picture, dict(self.outline.shapes))

    def dot(self) -> str:
        """Return it in DOT, the language of Graphviz."""
        from netspec.draw.graph_text import as_dot

        return as_dot(self.picture, dict(self.outline.shapes))

    def png(self) -> bytes:
        """Return it as PNG.

        Raises:
            NetspecError: `library/resvg` if what renders it is not installed.
        """
        from netspec.draw.png import as_png

        return as_png(self.svg(), self.picture.width, self.picture.height)

    def pdf(self) -> bytes:
        """Return it as PDF of one page, with its letters as letters.

        Raises:
            NetspecError: `library/matplotlib` if what draws it is not installed.
        """
        from netspec.draw.pdf import as_pdf

        return as_pdf(self.svg())

    def encoded(self, path: Path) -> bytes:
        """Return the bytes of a file of this name, whose ending chooses the form.

        Raises:
            NetspecError: `usage/picture` for another ending; `library/resvg`,
                `library/matplotlib`.
        """
        require_form(path)
        ending = path.suffix.lower()
        if ending in _BYTES:
            return _BYTES[ending](self)
        return _TEXTS[ending](self).encode()

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<netspec.Drawing of {self.sketch.graph.name}, {len(self.picture.boxes)} boxes>"


_TEXTS: dict[str, Callable[[Drawing], str]] = {
    ".svg": Drawing.svg, ".html": Drawing.html, ".mmd": Drawing.mermaid, ".dot": Drawing.dot,
}  # fmt: skip
_BYTES: dict[str, Callable[[Drawing], bytes]] = {".pdf": Drawing.pdf, ".png": Drawing.png}
FORMS = (*_TEXTS, *_BYTES)


def require_form(path: Path) -> None:
    """Check that a file name has the ending of a form that a picture can be written in.

    Raises:
        NetspecError: `usage/picture`.
    """
    if path.suffix.lower() not in FORMS:
        message = f"{path}: the name of a picture ends in {', '.join(FORMS[:-1])} or {FORMS[-1]}"
        raise NetspecError.simple(codes.USAGE_PICTURE, message)
