"""A picture as text for other programs that draw graphs: Mermaid and Graphviz's DOT."""

from __future__ import annotations

import re
from collections.abc import Iterator

from netspec.draw.body import box_texts
from netspec.draw.kinds import Kind
from netspec.draw.picture import Picture
from netspec.draw.svg import COLORS, class_of
from netspec.text.printable import printable

_MARK = "drawn by netspec from a .net file"


def as_mermaid(picture: Picture, shapes: dict[str, str]) -> str:
    """Return the text of a Mermaid flowchart, as it stands in a README between fences."""
    lines = [f"%% {_MARK}", "flowchart TB", *_mermaid_boxes(picture, -1, "    ")]
    for source, target, value in sorted(picture.edges()):
        shape = f'|"{_mermaid(shapes[value])}"|' if shapes.get(value) else ""
        lines.append(f"    n{source} -->{shape} n{target}")
    lines += [f"    n{one} -.- n{other}" for one, other in picture.shared()]
    for kind in picture.kinds():
        fill, border = COLORS[kind][0]
        lines.append(f"    classDef {class_of(kind)} fill:{fill},stroke:{border},color:#1f2328")
    return "\n".join(lines) + "\n"


def _mermaid_boxes(picture: Picture, inside: int, indent: str) -> Iterator[str]:
    for at, box in enumerate(picture.boxes):
        if box.inside != inside:
            continue
        title, *notes = (_mermaid(text) for text, _, _ in box_texts(box.item))
        label = "<br/>".join((title, *notes))
        if box.is_open:
            yield f'{indent}subgraph n{at}["{title}"]'
            yield from _mermaid_boxes(picture, at, indent + "    ")
            yield f"{indent}end"
        else:
            yield f'{indent}n{at}["{label}"]:::{class_of(box.item.kind)}'


def _mermaid(text: str) -> str:
    """Write all but letters, digits and a few signs as the entities of Mermaid, which are HTML's
    with `#` for `&`.
    """
    return re.sub(r"[^\w ,.:()=\[\]×·/-]", lambda found: f"#{ord(found[0])};", printable(text))


def as_dot(picture: Picture, shapes: dict[str, str]) -> str:
    """Return a DOT graph, which `dot -Tpdf` draws."""
    lines = [
        f"// {_MARK}",
        f"digraph {_dot(picture.name)} {{",
        '    node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11]',
        '    edge [fontname="Helvetica", fontsize=9]',
        *_dot_boxes(picture, -1, "    "),
    ]
    for source, target, value in sorted(picture.edges()):
        wrong = picture.boxes[target].item.kind is Kind.ERROR
        color = f", color={_dot(COLORS[Kind.ERROR][0][1])}" if wrong else ""
        lines.append(f"    n{source} -> n{target} [label={_dot(shapes.get(value, ''))}{color}]")
    for one, other in picture.shared():
        lines.append(f"    n{one} -> n{other} [style=dashed, dir=none, constraint=false]")
    return "\n".join([*lines, "}"]) + "\n"


def _dot_boxes(picture: Picture, inside: int, indent: str) -> Iterator[str]:
    for at, box in enumerate(picture.boxes):
        if box.inside != inside:
            continue
        texts = [text for text, _, _ in box_texts(box.item)]
        if box.is_open:
            yield f"{indent}subgraph cluster_{at} {{"
            yield f"{indent}    label={_dot(texts[0])}"
            yield from _dot_boxes(picture, at, indent + "    ")
            yield f"{indent}}}"
        else:
            fill, border = (_dot(color) for color in COLORS[box.item.kind][0])
            yield f"{indent}n{at} [label={_dot(*texts)}, fillcolor={fill}, color={border}]"


def _dot(*lines: str) -> str:
    r"""Return a quoted string of DOT, in which `\` and `"` have a meaning."""
    escaped = (printable(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
