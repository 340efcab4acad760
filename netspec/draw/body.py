"""The layout of one body, its blocks closed: boxes with places, and arrows between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from netspec.draw.columns import Extent, columns
from netspec.draw.layers import Box, Rows, arrange
from netspec.draw.outline import Group, Item
from netspec.draw.routes import Fork, tracks
from netspec.draw.text_width import shortened, text_width

TITLE, NOTE, SHAPE = 12.0, 10.0, 10.0  # sizes of text, in pixels
LINE = 14.0  # from one line of text in a box to the next
PAD = 9.0
MAX_TEXT = 320.0
_PORT = 14.0  # between two lines that end at one box
_ROW_GAP = 14.0  # below a row, where the shapes stand
_TRACK = 9.0
_ARROW = 12.0
_GAP = 18.0


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; x and y are those of its left end, y that of its base line."""

    text: str
    x: float
    y: float
    size: float
    is_bold: bool = False

    @property
    def width(self) -> float:
        """How wide it is."""
        return text_width(self.text, self.size, bold=self.is_bold)


@dataclass(frozen=True, slots=True)
class Placed:
    """A box in its body: the leaf or group, and where it is. A group is closed.

    `item` is None for the end of a value at the border of the body; `value` is that value then.
    """

    item: Item | None
    x: float
    y: float
    width: float
    height: float
    middle: float
    value: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """A value on its way from one box of a body to another, by their index; its corners."""

    value: str
    source: int
    target: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class ShapeText:
    """The shape of a value, which stands to the right of x below the box that computes it."""

    text: str
    box: int
    x: float


@dataclass(frozen=True, slots=True)
class Body:
    """A body with its blocks closed."""

    width: float
    height: float
    boxes: tuple[Placed, ...]
    arrows: tuple[Arrow, ...]
    shapes: tuple[ShapeText, ...]


def lay_out(
    items: Sequence[Item],
    shapes: Mapping[str, str],
    drawn_as: Mapping[str, str],
    reads: Sequence[str] = (),
    gives: Sequence[str] = (),
) -> Body:
    """Return the layout of a body.

    Args:
        items: the boxes, in an order in which each comes after what it reads.
        shapes: the shape of each value, as text.
        drawn_as: for values that are not drawn, those that stand for them.
        reads: the values that come in from outside.
        gives: the values that go out.
    """
    return _Layout(items, shapes, drawn_as, reads, gives).body()


class _Layout:
    def __init__(
        self,
        items: Sequence[Item],
        shapes: Mapping[str, str],
        drawn_as: Mapping[str, str],
        reads: Sequence[str],
        gives: Sequence[str],
    ) -> None:
        self.shapes = shapes
        self.drawn_as = drawn_as
        given = set(self._drawn([value for item in items for value in item.gives]))
        incoming = self._drawn(reads)
        outgoing = [v for v in self._drawn(gives) if v in given]
        known = given | set(incoming)
        self.items: list[Item | None] = [
            *(None for _ in incoming),
            *items,
            *(None for _ in outgoing),
        ]
        self.boxes = [
            *(Box((), (value,), is_edge=True) for value in incoming),
            *(self._box(item, known) for item in items),
            *(Box((value,), (), is_edge=True) for value in outgoing),
        ]

    def _drawn(self, values: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(self.drawn_as.get(value, value) for value in values))

    def _box(self, item: Item, known: set[str]) -> Box:
        reads = tuple(value for value in self._drawn(item.reads) if value in known)
        return Box(reads, tuple(self._drawn(item.gives)), is_block=isinstance(item, Group))

    def body(self) -> Body:
        self.rows: Rows = arrange(self.boxes)
        self.sizes = [box_size(item, len(box.reads), len(box.gives)) if item else (2 * PAD, 0.0)
                      for item, box in zip(self.items, self.boxes, strict=True)]  # fmt: skip
        extents = [self._extent(at) for at in range(len(self.rows.places))]
        x = columns(self.rows, extents, _GAP)
        left = min((x[at] - e.left for at, e in enumerate(extents)), default=0.0)
        right = max((x[at] + e.right for at, e in enumerate(extents)), default=0.0)
        self.x = [round(value - left + PAD, 2) for value in x]
        self._find_ports()
        boxes, tops = self._place_rows()
        arrows = tuple(self._arrows(boxes, tops))
        texts = tuple(self._shape_texts())
        height = max((box.y + box.height for box in boxes), default=0.0)
        return Body(round(right - left + 2 * PAD, 2), round(height, 2), boxes, arrows, texts)

    def _extent(self, place: int) -> Extent:
        at = self.rows.places[place].box
        if at < 0:
            return Extent(3.0, 3.0)
        half = self.sizes[at][0] / 2
        gives = self.boxes[at].gives
        if not gives or self.items[at] is None:
            return Extent(half, half)
        last = out_port(gives, gives[-1])
        return Extent(half, max(half, last + 5 + text_width(self._shape(gives[-1]), SHAPE)))

    def _shape(self, value: str) -> str:
        return shortened(self.shapes.get(value, ""), SHAPE, MAX_TEXT)

    def _find_ports(self) -> None:
        """Give each value that a box reads a place on its upper border: the main one, of a block the
        first, the middle, the others in the order in which they come.
        """
        order = {place: at for row in self.rows.rows for at, place in enumerate(row)}
        into: dict[int, list[tuple[int, str, bool]]] = {}
        for line in self.rows.lines:
            if self.rows.places[line.end].box >= 0:
                box = self.boxes[self.rows.places[line.end].box]
                is_main = line.value == box.reads[0] if box.is_block else line.is_main
                into.setdefault(line.end, []).append((order[line.start], line.value, is_main))
        self.ports: dict[tuple[int, str], float] = {}
        for at, found in into.items():
            found.sort()
            middle = next((i for i, (_, _, main) in enumerate(found) if main), (len(found) - 1) / 2)
            room = self.sizes[at][0] / 2 - 6
            furthest = max(middle, len(found) - 1 - middle, 1)
            step = min(_PORT, room / furthest)
            for i, (_, value, _) in enumerate(found):
                self.ports[at, value] = round((i - middle) * step, 2)

    def _place_rows(self) -> tuple[tuple[Placed, ...], list[tuple[float, float]]]:
        """Return the boxes, and the top and the bottom of each row."""
        tops: list[tuple[float, float]] = []
        placed: dict[int, Placed] = {}
        self.tracks: list[dict[str, tuple[float, int]]] = []
        y = 0.0
        for rank, row in enumerate(self.rows.rows):
            inside = [self.rows.places[place].box for place in row]
            height = max((self.sizes[at][1] for at in inside if at >= 0), default=0.0)
            for at in inside:
                if at >= 0:
                    width, own = self.sizes[at]
                    item, box = self.items[at], self.boxes[at]
                    value = (*box.reads, *box.gives)[0] if item is None else ""
                    top = y + (height - own) / 2
                    placed[at] = Placed(
                        item, round(self.x[at] - width / 2, 2), round(top, 2), round(width, 2),
                        round(own, 2), self.x[at], value,
                    )  # fmt: skip
            tops.append((y, y + height))
            y += height + self._space_below(rank, y + height)
        return tuple(placed[at] for at in range(len(self.boxes))), tops

    def _space_below(self, rank: int, bottom: float) -> float:
        forks: dict[str, tuple[float, list[float]]] = {}
        row = set(self.rows.rows[rank])
        for line in self.rows.lines:
            if line.start in row:
                _, ends = forks.setdefault(line.value, (self._start(line.start, line.value), []))
                ends.append(self._end(line.end, line.value))
        found = [Fork(start, tuple(ends)) for start, ends in forks.values()]
        chosen = tracks(found)
        is_labelled = any(self.rows.places[at].box >= 0 and self.items[self.rows.places[at].box]
                          for at in row)  # fmt: skip
        above = bottom + (_ROW_GAP if is_labelled else 4.0)
        self.tracks.append(
            {
                value: (above + track * _TRACK, track)
                for value, track in zip(forks, chosen, strict=True)
            }
        )
        count = max(chosen, default=-1) + 1
        return (above - bottom) + count * _TRACK + _ARROW if rank + 1 < len(self.rows.rows) else 0.0

    def _start(self, place: int, value: str) -> float:
        at = self.rows.places[place].box
        port = out_port(self.boxes[at].gives, value) if at >= 0 else 0.0
        return round(self.x[place] + port, 2)

    def _end(self, place: int, value: str) -> float:
        at = self.rows.places[place].box
        return round(self.x[place] + (self.ports[at, value] if at >= 0 else 0.0), 2)

    def _arrows(
        self, boxes: Sequence[Placed], tops: Sequence[tuple[float, float]]
    ) -> Iterator[Arrow]:
        rank_of = {place: rank for rank, row in enumerate(self.rows.rows) for place in row}
        before = {(line.value, line.end): line.start for line in self.rows.lines}
        for line in self.rows.lines:
            target = self.rows.places[line.end].box
            if target < 0:
                continue
            steps = [line.end]
            while self.rows.places[steps[-1]].box < 0 or len(steps) == 1:
                steps.append(before[line.value, steps[-1]])
            steps.reverse()
            source = self.rows.places[steps[0]].box
            y = boxes[source].y + boxes[source].height
            points = [(self._start(steps[0], line.value), y)]
            for one, other in pairwise(steps):
                level, track = self.tracks[rank_of[one]][line.value]
                start, end = self._start(one, line.value), self._end(other, line.value)
                if track >= 0 and abs(start - end) > 0.005:
                    points += [(start, level), (end, level)]
            points.append((self._end(line.end, line.value), boxes[target].y))
            rounded = tuple((round(x, 2), round(y, 2)) for x, y in points)
            yield Arrow(line.value, source, target, rounded)

    def _shape_texts(self) -> Iterator[ShapeText]:
        for at, (item, box) in enumerate(zip(self.items, self.boxes, strict=True)):
            if item is None or not box.gives:
                continue
            value = box.gives[-1]
            text = self._shape(value)
            goes_on = any(
                line.start == at and not self._is_border(line.end) for line in self.rows.lines
            )
            if text and goes_on:
                yield ShapeText(text, at, self._start(at, value))

    def _is_border(self, place: int) -> bool:
        """Whether a place is the end of a value at the border, which shows its shape outside."""
        at = self.rows.places[place].box
        return at >= 0 and self.items[at] is None


def out_port(gives: Sequence[str], value: str) -> float:
    """Return where a value leaves a box, from its middle."""
    return (gives.index(value) - (len(gives) - 1) / 2) * _PORT


def box_texts(item: Item) -> list[tuple[str, float, bool]]:
    """Return the lines in a box, as (text, size, whether bold)."""
    lines = [(item.title, TITLE, True)]
    if isinstance(item, Group) and item.times > 1:
        lines = [(f"{item.times} × {item.title}", TITLE, True)]
    if item.note:
        lines.append((item.note, NOTE, False))
    return [(shortened(text, size, MAX_TEXT, bold=bold), size, bold) for text, size, bold in lines]


def box_size(item: Item, reads: int, gives: int) -> tuple[float, float]:
    """Return the width and height of a closed box with so many values coming in and going out."""
    lines = box_texts(item)
    text = max(text_width(line, size, bold=bold) for line, size, bold in lines)
    sides = max((reads + 1) * _PORT / 2, gives * _PORT) if max(reads, gives) > 1 else 0.0
    return round(
        max(text + 2 * PAD, 44.0, min(sides, 400.0) + PAD, gives * _PORT + PAD), 2
    ), LINE * len(lines) + PAD
