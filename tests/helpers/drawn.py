"""What must hold of every picture, told from its geometry."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from netspec.compiler.elaborate.sketch import Sketch
from netspec.draw.outline import Group, Leaf, Outline, leaves
from netspec.draw.picture import DrawnBox, Picture

_SLACK = 0.02


def faults(picture: Picture, outline: Outline, sketch: Sketch) -> list[str]:
    """Return what is wrong with a picture, in words."""
    return [
        *_overlaps(picture),
        *_loose_ends(picture),
        *_shared_lines(picture),
        *_texts_outside(picture),
        *_missing_arrows(picture, outline),
        *_missing_layers(picture, outline, sketch),
    ]


def _overlaps(picture: Picture) -> Iterator[str]:
    above = [_above(picture, at) for at in range(len(picture.boxes))]
    order = sorted(range(len(picture.boxes)), key=lambda at: picture.boxes[at].y)
    for place, at in enumerate(order):
        one = picture.boxes[at]
        for other_at in order[place + 1 :]:
            other = picture.boxes[other_at]
            if other.y >= one.y + one.height - _SLACK:
                break
            if at in above[other_at]:
                if not _holds(one, other):
                    yield f"{other.item.name} sticks out of {one.item.name}"
            elif other_at in above[at]:
                if not _holds(other, one):
                    yield f"{one.item.name} sticks out of {other.item.name}"
            elif one.x < other.x + other.width - _SLACK and other.x < one.x + one.width - _SLACK:
                yield f"{one.item.name} and {other.item.name} overlap"


def _above(picture: Picture, at: int) -> set[int]:
    found = set()
    while (at := picture.boxes[at].inside) >= 0:
        found.add(at)
    return found


def _holds(outer: DrawnBox, inner: DrawnBox) -> bool:
    return (
        outer.x <= inner.x + _SLACK
        and outer.y <= inner.y + _SLACK
        and inner.x + inner.width <= outer.x + outer.width + _SLACK
        and inner.y + inner.height <= outer.y + outer.height + _SLACK
    )


def _loose_ends(picture: Picture) -> Iterator[str]:
    for line in picture.lines:
        for (x0, y0), (x1, y1) in pairwise(line.points):
            if abs(x0 - x1) > _SLACK and abs(y0 - y1) > _SLACK:
                yield f"a line of {line.value} is neither upright nor level"
        source, target = picture.boxes[line.source], picture.boxes[line.target]
        comes_in = target.inside == line.source and source.is_open
        goes_out = source.inside == line.target and target.is_open
        if not (comes_in or goes_out or source.inside == target.inside):
            yield f"{line.value} goes from {source.item.name} into {target.item.name}"
        start = source.y if comes_in else source.y + source.height
        end = target.y + target.height if goes_out else target.y
        for (x, y), wanted, box in (
            (line.points[0], start, source), (line.points[-1], end, target),
        ):  # fmt: skip
            if abs(y - wanted) > _SLACK or not box.x - _SLACK <= x <= box.x + box.width + _SLACK:
                yield f"{line.value} does not meet {box.item.name}"


def _shared_lines(picture: Picture) -> Iterator[str]:
    """Two values lie on one line nowhere."""
    pieces: dict[tuple[bool, float], list[tuple[float, float, str]]] = {}
    for line in picture.lines:
        for (x0, y0), (x1, y1) in pairwise(line.points):
            upright = abs(x0 - x1) <= _SLACK
            ends = sorted((y0, y1) if upright else (x0, x1))
            if ends[1] - ends[0] > _SLACK:
                where = upright, round(x0 if upright else y0, 1)
                pieces.setdefault(where, []).append((*ends, line.value))
    for found in pieces.values():
        found.sort()
        for at, (_, end, value) in enumerate(found):
            for start, _, other in found[at + 1 :]:
                if start >= end - _SLACK:
                    break
                if value != other:
                    yield f"{value} and {other} lie on one line"


def _texts_outside(picture: Picture) -> Iterator[str]:
    for box in picture.boxes:
        for text in box.texts:
            across = box.x <= text.x and text.x + text.width <= box.x + box.width
            down = (
                box.y <= text.y - 0.8 * text.size and text.y + 0.2 * text.size <= box.y + box.height
            )
            if not (across and down):
                yield f"{text.text!r} leaves {box.item.name}"
    for text in picture.shapes:
        for box in picture.boxes:
            crosses = (
                not box.is_open
                and box.x < text.x + text.width and text.x < box.x + box.width
                and box.y < text.y and text.y - 0.8 * text.size < box.y + box.height
            )  # fmt: skip
            if crosses:
                yield f"the shape {text.text} lies on {box.item.name}"
        if text.x + text.width > picture.width + _SLACK:
            yield f"the shape {text.text} leaves the picture"


def _missing_arrows(picture: Picture, outline: Outline) -> Iterator[str]:
    """Every value that a box reads arrives at it, from the box that computes it."""
    arriving = {(line.target, line.value): line.source for line in picture.lines}
    known = set(outline.shapes)
    for at, box in enumerate(picture.boxes):
        if box.is_open:
            continue
        for read in box.item.reads:
            value = outline.drawn_as.get(read, read)
            if read not in known:
                continue
            place: int | None = at
            seen = set()
            while place is not None and place not in seen:
                seen.add(place)
                source = arriving.get((place, value))
                if source is None:
                    yield f"no arrow brings {value} to {box.item.name}"
                    break
                giver = picture.boxes[source]
                if _computes(giver, value, outline):
                    break
                place = source if giver.is_open else None


def _computes(box: DrawnBox, value: str, outline: Outline) -> bool:
    given = {outline.drawn_as.get(each, each) for each in box.item.gives}
    return value in given


def _missing_layers(picture: Picture, outline: Outline, sketch: Sketch) -> Iterator[str]:
    """Every layer is a box, or in a closed one, or stands behind an equal one."""
    drawn = {leaf.name for leaf in leaves(outline.children)}
    for node in sketch.graph.nodes:
        if outline.drawn_as.get(node.name, node.name) not in drawn:
            yield f"{node.name} is not drawn"
    shown: set[str] = set()
    for box in picture.boxes:
        if isinstance(box.item, Leaf):
            shown.add(box.item.name)
        elif isinstance(box.item, Group) and not box.is_open:
            shown |= {leaf.name for leaf in leaves(box.item.children)}
    yield from (f"{name} is in no box" for name in drawn - shown)
