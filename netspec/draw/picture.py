"""A picture as data: boxes in boxes, lines with their corners, and lines of text, all in pixels.

A body is laid out with its blocks closed (`netspec/draw/body.py`). To open a block, the coordinates
of the body that it is in are moved apart just so far that the block's body fits: boxes that did not
overlap do not overlap then, and lines stay upright and level.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from netspec.draw.body import LINE, NOTE, PAD, SHAPE, TITLE, Body, Text, box_texts, lay_out
from netspec.draw.kinds import Kind
from netspec.draw.outline import Group, Item, Leaf, Outline
from netspec.draw.routes import NEAR
from netspec.draw.text_width import shortened, text_width

# The usual space between two things, by whether each is a box: below a box stands its shape, above
# one is the head of an arrow.
SPACES = {(True, True): 26.0, (True, False): 14.0, (False, True): 12.0, (False, False): 9.0}
HEADER = 22.0  # the height of the title of an open block
ADAPTER = 8.0  # between the level pieces below the border of an open block
_MANY = 140


@dataclass(frozen=True)
class DrawnBox:
    """A box of the picture.

    Attributes:
        inside: the index of the block that it is in, or -1.
        texts: the lines in it.
        is_open: whether it is a block whose body is drawn.
    """

    item: Item
    x: float
    y: float
    width: float
    height: float
    inside: int
    texts: tuple[Text, ...]
    is_open: bool = False


@dataclass(frozen=True)
class DrawnLine:
    """A line from the border of a box to that of another one, or of the block that both are in.

    `source` and `target` are the index of a box.
    """

    value: str
    source: int
    target: int
    points: tuple[tuple[float, float], ...]


@dataclass
class Picture:
    """Everything that is drawn of a net."""

    name: str
    width: float = 0.0
    height: float = 0.0
    boxes: list[DrawnBox] = field(default_factory=list)
    lines: list[DrawnLine] = field(default_factory=list)
    shapes: list[Text] = field(default_factory=list)

    def shared(self) -> Iterator[tuple[int, int]]:
        """Yield pairs of boxes that share their parameters: the first use, and each further one."""
        first: dict[tuple[str, ...], int] = {}
        for at, box in enumerate(self.boxes):
            names = box.item.parameters if isinstance(box.item, Leaf) else ()
            if names and first.setdefault(names, at) != at:
                yield first[names], at

    def edges(self) -> Iterator[tuple[int, int, str]]:
        """Yield (source, target, value) for each arrow between boxes that are not open."""
        into = {(line.target, line.value): line.source for line in self.lines}
        for (target, value), start in into.items():
            if self.boxes[target].is_open:
                continue
            source = start
            while self.boxes[source].is_open:
                source = into[source, value]
            yield source, target, value

    def kinds(self) -> list[Kind]:
        """The kinds of boxes in it, in the order of the legend."""
        found = {box.item.kind for box in self.boxes}
        return [kind for kind in Kind if kind in found]


def draw(outline: Outline, depth: int | None = None) -> Picture:
    """Return the picture of a net.

    Args:
        outline: the net.
        depth: how deep blocks are opened: 0 leaves all closed. By default as deep as the picture
            does not have too many boxes.
    """
    if depth is None:
        depth = usual_depth(outline)
    bodies = Bodies(outline)
    opened = _Opened(bodies, None, bodies.outermost, depth)
    picture = Picture(outline.name, opened.width, opened.height)
    opened.add_to(picture, 0.0, 0.0, -1)
    return picture


def usual_depth(outline: Outline) -> int:
    """Return how deep blocks can be opened without there being too many boxes."""
    depth, items = 0, list(outline.children)
    while True:
        deeper = [*_opened_once(items)]
        if len(deeper) == len(items) or len(deeper) > _MANY:
            return depth
        depth, items = depth + 1, deeper


def _opened_once(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        if isinstance(item, Group):
            yield from item.children
        else:
            yield item


class Bodies:
    """The layouts of all bodies of a net that were asked for."""

    def __init__(self, outline: Outline) -> None:
        self.outline = outline
        self.outermost = lay_out(outline.children, outline.shapes, outline.drawn_as)
        self._found: dict[str, Body] = {}

    def of(self, group: Group) -> Body:
        """Return the layout of a block's body."""
        if group.name not in self._found:
            o = self.outline
            self._found[group.name] = lay_out(
                group.children, o.shapes, o.drawn_as, group.reads, group.gives
            )
        return self._found[group.name]


class _Opened:
    """A body with those of its blocks opened that are less deep than asked for."""

    def __init__(self, bodies: Bodies, group: Group | None, body: Body, depth: int) -> None:
        self.group = group
        self.body = body
        self.inner: dict[int, _Opened] = {
            at: _Opened(bodies, box.item, bodies.of(box.item), depth - 1)
            for at, box in enumerate(body.boxes)
            if depth > 0 and isinstance(box.item, Group)
        }
        self.ports: list[set[float]] = [set() for _ in body.boxes]
        for arrow in body.arrows:
            self.ports[arrow.source].add(arrow.points[0][0])
            self.ports[arrow.target].add(arrow.points[-1][0])
        self.x = _spread(_across(body), [*self._left_sides()], [*self._right_sides()])
        self._crop()
        self._find_adapters()
        self._stack()

    def _crop(self) -> None:
        """Leave out what is empty on the left and on the right."""
        sides = [self._sides(at) for at, box in enumerate(self.body.boxes)]
        ends = [
            (self.x[text.x], self.x[text.x] + 5 + text_width(text.text, SHAPE))
            for text in self.body.shapes
        ]
        lines = [(self.x[x], self.x[x]) for arrow in self.body.arrows for x, _ in arrow.points]
        left = min((one for one, _ in (*sides, *lines)), default=0.0) - PAD
        right = max((other for _, other in (*sides, *ends, *lines)), default=0.0) + PAD
        self.x = {at: place - left for at, place in self.x.items()}
        self.width = right - left

    def _stack(self) -> None:
        """Find where things are from top to bottom: each as far up as what is above it allows.

        Boxes and level pieces of lines that lie above each other stay so. An upright piece lies
        between two of them that are above each other, so that nothing comes between.
        """
        level: dict[tuple[str, float], tuple[float, float]] = {}
        for arrow in self.body.arrows:
            for (x0, y0), (x1, y1) in pairwise(arrow.points):
                if y0 == y1:
                    ends = (self.x[x0], self.x[x1])
                    found = level.get((arrow.value, y0), ends)
                    level[arrow.value, y0] = (min(*ends, found[0]), max(*ends, found[1]))
        labels = {text.box: text for text in self.body.shapes}
        things = []
        for at, box in enumerate(self.body.boxes):
            left, right = self._sides(at)
            if at in labels:
                right = max(right, self.x[labels[at].x] + 5 + text_width(labels[at].text, SHAPE))
            height = self._open_height(at) if at in self.inner else box.height
            things.append(_Thing(at, left, right, box.y, box.y + box.height, height))
        for (value, y), (left, right) in level.items():
            things.append(_Thing((value, y), left, right, y, y, 0.0))
        self.y, self.height = _stacked(things)
        last = [
            at for at, box in enumerate(self.body.boxes) if box.item is None and self._goes_out(at)
        ]
        for at in last:  # they lie on the border
            self.y[at] = self.height

    def _goes_out(self, at: int) -> bool:
        return any(arrow.target == at for arrow in self.body.arrows)

    def _sides(self, at: int) -> tuple[float, float]:
        """Return the left and right side of a box: no wider than it has to be for what is in it, and
        for the lines that end at it.
        """
        box, inner = self.body.boxes[at], self.inner.get(at)
        middle = self.x[box.middle]
        if inner is None:
            left, right = middle - box.width / 2, middle + box.width / 2
        else:
            left = middle - inner.middle
            right = left + inner.open_width
        ports = [self.x[x] for x in self.ports[at]]
        return min([left, *(x - 4 for x in ports)]), max([right, *(x + 4 for x in ports)])

    def _left_sides(self) -> Iterator[tuple[float, float, float]]:
        for at, inner in self.inner.items():
            box = self.body.boxes[at]
            yield box.x, box.middle, inner.middle

    def _right_sides(self) -> Iterator[tuple[float, float, float]]:
        for at, inner in self.inner.items():
            box = self.body.boxes[at]
            yield box.middle, round(box.x + box.width, 2), inner.open_width - inner.middle

    @property
    def middle(self) -> float:
        """Where the value comes in or goes out that is under or above the middle of the closed box."""
        edges = [box for box in self.body.boxes if box.item is None]
        return self.x[edges[0].middle] if edges else self.width / 2

    @property
    def open_width(self) -> float:
        """The width of the block with its title, which stands beside the values that come in."""
        assert self.group is not None
        title = _title(self.group, 0.0, 0.0)[0].width
        before = min(self.edges(gives=True).values(), default=self.width)
        if PAD + title + PAD <= before:
            return self.width
        after = max(self.edges(gives=True).values(), default=0.0)
        return max(self.width, after + PAD + title + PAD)

    def _find_adapters(self) -> None:
        """Find how the values get from the border of an open block to where its body has them."""
        self.adapters: dict[int, tuple[_Adapter, _Adapter]] = {}
        for at, inner in self.inner.items():
            left = self.x[self.body.boxes[at].middle] - inner.middle
            into = {
                a.value: self.x[a.points[-1][0]] - left for a in self.body.arrows if a.target == at
            }
            out = {
                a.value: self.x[a.points[0][0]] - left for a in self.body.arrows if a.source == at
            }
            self.adapters[at] = (
                _Adapter(inner.edges(gives=True), into, to_border=False),
                _Adapter(inner.edges(gives=False), out, to_border=True),
            )

    def edges(self, *, gives: bool) -> dict[str, float]:
        """Return where values come in, or go out, from the left of the body."""
        found = {}
        for at, box in enumerate(self.body.boxes):
            if box.item is None and any(
                (a.source if gives else a.target) == at for a in self.body.arrows
            ):
                found[box.value] = self.x[box.middle]
        return found

    def _open_height(self, at: int) -> float:
        inner, (above, below) = self.inner[at], self.adapters[at]
        ends = 0.0 if inner.edges(gives=False) else PAD
        starts = 0.0 if inner.edges(gives=True) else PAD
        return HEADER + starts + above.height + inner.height + below.height + ends

    def _frame(self, at: int) -> tuple[float, float, float, float]:
        """Return where a box is now, and its width and height."""
        left, right = self._sides(at)
        height = self._open_height(at) if at in self.inner else self.body.boxes[at].height
        return left, self.y[at], right - left, height

    def add_to(self, picture: Picture, left: float, top: float, inside: int) -> None:
        """Add everything to a picture, the body's corner at (left, top)."""
        number: dict[int, int] = {}
        frames = [self._frame(at) for at in range(len(self.body.boxes))]
        for at, box in enumerate(self.body.boxes):
            number[at] = inside
            if box.item is not None:
                number[at] = len(picture.boxes)
                x, y, width, height = frames[at]
                self._add_box(picture, at, box.item, (left + x, top + y, width, height), inside)
        for arrow in self.body.arrows:
            _, y, _, height = frames[arrow.source]
            levels = [self.y[arrow.value, y] for _, y in arrow.points[1:-1]]
            ys = [y + height, *levels, self.y[arrow.target]]
            points = [
                (left + self.x[x], top + y) for (x, _), y in zip(arrow.points, ys, strict=True)
            ]
            picture.lines.append(
                DrawnLine(arrow.value, number[arrow.source], number[arrow.target], tuple(points))
            )
        for text in self.body.shapes:
            x, y, _, height = frames[text.box]
            place = left + self.x[text.x] + 5, top + y + height + 11
            picture.shapes.append(Text(text.text, *place, SHAPE))

    def _add_box(
        self,
        picture: Picture,
        at: int,
        item: Item,
        frame: tuple[float, float, float, float],
        inside: int,
    ) -> None:
        x, y, _, height = frame
        inner = self.inner.get(at)
        if inner is None:
            texts = tuple(_centred(item, *frame))
            picture.boxes.append(DrawnBox(item, *frame, inside, texts))
            return
        assert isinstance(item, Group)
        above, below = self.adapters[at]
        middle = x + self.x[self.body.boxes[at].middle] - self._frame(at)[0]
        left = middle - inner.middle
        texts = _title_beside(item, frame, [left + outer for _, outer in above.places.values()])
        number = len(picture.boxes)
        picture.boxes.append(DrawnBox(item, *frame, inside, texts, is_open=True))
        body_top = y + HEADER + above.height + (0.0 if above.places else PAD)
        before = len(picture.lines)
        inner.add_to(picture, left, body_top, number)
        bottom = body_top + inner.height
        _join(picture, before, number, above, below, (left, y, bottom, y + height))


@dataclass(frozen=True, slots=True)
class _Thing:
    """A box, or a level piece of a line: where it is in a closed body, and how high it is now."""

    key: int | tuple[str, float]
    left: float
    right: float
    top: float
    bottom: float
    height: float

    @property
    def is_box(self) -> bool:
        """Whether it is a box."""
        return isinstance(self.key, int)


def _stacked(things: Sequence[_Thing]) -> tuple[dict[int | tuple[str, float], float], float]:
    """Return the top of each thing, and the height of all."""
    done: list[tuple[float, float, float, float, bool]] = []
    tops: dict[int | tuple[str, float], float] = {}
    for thing in sorted(things, key=lambda thing: (thing.top, thing.is_box)):
        y = 0.0
        left, right, top = thing.left, thing.right, thing.top
        least = {is_box: SPACES[is_box, thing.is_box] for is_box in (False, True)}
        # Of every pair of things, so that it is written for speed.
        for other_left, other_right, other_bottom, end, is_box in done:
            if other_left < right and left < other_right and other_bottom <= top:
                y = max(y, end + min(top - other_bottom, least[is_box]))
        tops[thing.key] = y
        done.append((left, right, thing.bottom, y + thing.height, thing.is_box))
    return tops, max((end for *_, end, _ in done), default=0.0)


class _Adapter:
    """Level pieces between the border of an open block and its body.

    `inner` and `outer` are the places of the values, from the left of the block; `to_border` says that
    the border is below the body, and values go to it.
    """

    def __init__(
        self, inner: Mapping[str, float], outer: Mapping[str, float], *, to_border: bool
    ) -> None:
        self.places = {value: (x, outer.get(value, x)) for value, x in inner.items()}
        bent = [value for value, (one, other) in self.places.items() if abs(one - other) > 0.01]
        starts, ends = (0, 1) if to_border else (1, 0)
        start = {value: self.places[value][starts] for value in bent}
        end = {value: self.places[value][ends] for value in bent}
        self.track = {value: at for at, value in enumerate(_uncovered(bent, start, end))}
        self.height = ADAPTER * (len(bent) + 1) if bent else 0.0


def _uncovered(
    values: Sequence[str], start: Mapping[str, float], end: Mapping[str, float]
) -> Iterator[str]:
    """Yield values from the uppermost level piece on, so that none comes down on the end of another.

    Where two take each other's place one of them has to.
    """
    left = [*values]
    while left:
        free = (
            value for value in left
            if not any(other != value and abs(start[other] - end[value]) < NEAR for other in left)
        )  # fmt: skip
        value = next(free, left[0])
        left.remove(value)
        yield value


def _join(
    picture: Picture,
    before: int,
    block: int,
    above: _Adapter,
    below: _Adapter,
    place: tuple[float, float, float, float],
) -> None:
    """Lengthen the lines of a body that come from its border or end there, up to the block's border."""
    left, top, bottom, end = place
    for at in range(before, len(picture.lines)):
        line = picture.lines[at]
        points = list(line.points)
        if line.source == block and line.value in above.places:
            inner, outer = above.places[line.value]
            start = [(left + outer, top)]
            if line.value in above.track:
                y = top + HEADER + ADAPTER * (above.track[line.value] + 0.5)
                start += [(left + outer, y), (left + inner, y)]
            points = [*start, *points[1:]] if _is_upright(points) else [*start, *points]
        if line.target == block and line.value in below.places:
            inner, outer = below.places[line.value]
            stop = [(left + outer, end)]
            if line.value in below.track:
                y = bottom + ADAPTER * (below.track[line.value] + 0.5)
                stop = [(left + inner, y), (left + outer, y), *stop]
            points = [*points[:-1], *stop]
        picture.lines[at] = DrawnLine(line.value, line.source, line.target, tuple(points))


def _is_upright(points: Sequence[tuple[float, float]]) -> bool:
    return len(points) > 1 and abs(points[0][0] - points[1][0]) < 0.01


def _centred(item: Item, x: float, y: float, width: float, height: float) -> Iterator[Text]:
    lines = box_texts(item)
    base = y + (height - LINE * len(lines)) / 2 + LINE - 3.5
    for at, (line, size, bold) in enumerate(lines):
        text = Text(line, 0.0, 0.0, size, bold)
        yield Text(line, x + (width - text.width) / 2, base + at * LINE, size, bold)


def _title(group: Group, x: float, y: float) -> tuple[Text, ...]:
    """Return the title of an open block, and what it is called with."""
    title, *notes = box_texts(group)
    bold = Text(title[0], x, y + 15, TITLE, is_bold=True)
    return bold, *(Text(note[0], x + bold.width + 6, y + 15, NOTE) for note in notes)


def _title_beside(
    group: Group, frame: tuple[float, float, float, float], lines: Sequence[float]
) -> tuple[Text, ...]:
    """Return those texts of a title that fit beside the lines that come in through the border; of a
    title that fits nowhere, what fits into the widest place.
    """
    x, y, width, _ = frame
    ends = [x, *sorted(line for line in lines if line > x), x + width]
    first, *between = pairwise(ends)
    places = [first, *reversed(between)]
    for left, right in places:
        title = _title(group, left + PAD, y)
        if title[0].x + title[0].width <= right - 4:
            return tuple(text for text in title if text.x + text.width <= right - 4)
    left, right = max(places, key=lambda place: place[1] - place[0])
    bold = _title(group, left + PAD, y)[0]
    text = shortened(bold.text, TITLE, right - 4 - bold.x, bold=True)
    return (Text(text, bold.x, bold.y, TITLE, is_bold=True),)


def _across(body: Body) -> list[float]:
    found = {0.0, body.width}
    for box in body.boxes:
        found |= {box.x, box.middle, round(box.x + box.width, 2)}
    found |= {x for arrow in body.arrows for x, _ in arrow.points}
    found |= {text.x for text in body.shapes}
    return sorted(found)


def _moved_apart(
    found: Sequence[float], least: Sequence[tuple[float, float, float]]
) -> dict[float, float]:
    """Return new places of sorted coordinates, none nearer to the one before it than it was.

    Args:
        found: the coordinates.
        least: for pairs of them, how far apart they have to be.
    """
    after: dict[float, list[tuple[float, float]]] = {}
    for one, other, distance in least:
        after.setdefault(other, []).append((one, distance))
    moved: dict[float, float] = {}
    last, place = found[0], found[0]
    for at in found:
        place += at - last
        last = at
        for other, distance in after.get(at, ()):
            place = max(place, moved[other] + distance)
        moved[at] = place
    return moved


def _spread(
    found: Sequence[float],
    left: Sequence[tuple[float, float, float]],
    right: Sequence[tuple[float, float, float]],
) -> dict[float, float]:
    """Like `_moved_apart`. Space between a `left` pair is made next to the first of the two, and
    space between a `right` pair next to the second one: what is near the middle stays near it.
    """
    once = _moved_apart(found, right)
    end = once[found[-1]]
    mirrored = {end - place: at for at, place in once.items()}
    pairs = [(end - once[other], end - once[one], distance) for one, other, distance in left]
    twice = _moved_apart(sorted(mirrored), pairs)
    width = max(twice.values())
    return {at: width - twice[place] for place, at in mirrored.items()}
