"""Nets as what they compute: whether two are the same up to every name, and which layers correspond.

A `Structure` has a vertex for each input, layer and parameter, and for each of those inside a scan
block; a vertex has a label without names, and reads others, in order or in any order. Two nets are the
same if there is a one-to-one map of the vertices that keeps labels and reads. It is looked for from the
outputs down. Where inputs may be swapped, colors say which fits: a color sums up all that is above and
below a vertex, as in the refinement of Weisfeiler and Lehman (1968). A map that was found is exact, it
does not rest on colors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from netspec.compiler.ir.graph import Graph, Node, Parameter
from netspec.compiler.ir.scan_body import RESULT, ScanBody
from netspec.records import record

# How often a choice among vertices of one color may turn out wrong. In nets that people write none does:
# branches of one color are copies of each other.
MAX_WRONG = 2_000
# How often colors are refined: each time they see the whole net.
_ROUNDS = 2

ALIKE = 8
"""What `likeness` gives for layers that are the same with all that is below and above."""

_Numbers = dict[object, int]


@record(slots=True)
class Vertex:
    """A vertex. `later` are those that it reads in the next step of a scan, which may stand behind it."""

    label: object
    reads: tuple[int, ...] = ()
    swappable: tuple[int, ...] = ()
    later: tuple[int, ...] = ()


@record
class Structure:
    """The vertices of a net, each behind those that it reads. The last one is the net itself, which reads
    the inputs and the outputs in order, and what nothing else reads. `layers` has the vertex of each
    layer by its name.
    """

    vertices: Sequence[Vertex]
    layers: Mapping[str, int]


def structure_of(graph: Graph, *, init: bool = True) -> Structure:
    """Return the structure of a net.

    Args:
        graph: the net.
        init: whether initial values count.
    """
    return _Builder(init).whole(graph)


def body_structure(body: ScanBody, *, init: bool = True) -> Structure:
    """Return the structure of one step of a scan block."""
    return _Builder(init).step(body)


class _Builder:
    def __init__(self, init: bool) -> None:
        self.init = init
        self.vertices: list[Vertex] = []

    def add(self, vertex: Vertex) -> int:
        self.vertices.append(vertex)
        return len(self.vertices) - 1

    def whole(self, graph: Graph) -> Structure:
        values = {
            name: self.add(Vertex(("input", _shape(shape), graph.holds(name))))
            for name, shape in graph.inputs.items()
        }
        inputs = tuple(values.values())
        held = {name: self.parameter(p) for name, p in graph.parameters.items()}
        layers = {node.name: self.node(node, graph, values, held) for node in graph.nodes}
        outputs = tuple(values[value] for value in graph.outputs.values())
        return self.closed((len(inputs), len(outputs)), (*inputs, *outputs), layers)

    def step(self, body: ScanBody) -> Structure:
        graph = body.graph
        given = [self.add(Vertex(("given", _shape(graph.inputs[n])))) for n in body.given]
        held = {
            body.local(name): self.parameter(p)
            for name, p in graph.parameters.items()
        }  # fmt: skip
        result = self.steps(body, tuple(given), held)
        return self.closed("step", (*given, result), {})

    def closed(self, label: object, reads: tuple[int, ...], layers: Mapping[str, int]) -> Structure:
        """Add the net itself, which reads all that nothing reads."""
        read = set(reads)
        for vertex in self.vertices:
            read.update(vertex.reads, vertex.swappable, vertex.later)
        loose = tuple(i for i in range(len(self.vertices)) if i not in read)
        self.add(Vertex(("net", label), reads, loose))
        return Structure(self.vertices, layers)

    def parameter(self, parameter: Parameter) -> int:
        counts = self.init or parameter.role == "constant"
        starts = parameter.initializer if counts else None
        return self.add(Vertex(("parameter", _shape(parameter.shape), parameter.role, starts)))

    def node(
        self, node: Node, graph: Graph, values: dict[str, int], held: Mapping[str, int]
    ) -> int:
        """Add a layer; note the vertex of its value, and return it."""
        inputs = tuple(values[value] for value in node.inputs)
        own = {name: held[full] for name, full in node.parameters.items()}
        body = node.op.steps()
        if body is not None:
            result = self.steps(body, inputs, own)
            made = Vertex(("steps", _shape(node.shape)), (result, *inputs))
        else:
            label = (resolved_call(node, graph), _shape(node.shape), tuple(own))
            swaps = node.op.is_commutative
            reads = tuple(own.values()) if swaps else (*inputs, *own.values())
            made = Vertex(label, reads, inputs if swaps else ())
        values[node.name] = self.add(made)
        return values[node.name]

    def steps(self, body: ScanBody, inputs: tuple[int, ...], own: Mapping[str, int]) -> int:
        """Add what a scan block does in a step; return the vertex of the step's result."""
        graph = body.graph
        values = {
            name: self.add(Vertex(("item" if place == 0 else "given",), (vertex,)))
            for place, (name, vertex) in enumerate(zip(body.given, inputs, strict=True))
        }
        for state in body.states:
            start = state.start
            reads = (values[start],) if isinstance(start, str) else ()
            label = ("state", _shape(graph.inputs[state.name]), None if reads else start)
            values[state.name] = self.add(Vertex(label, reads))
        held = {name: own[body.local(name)] for name in graph.parameters}
        for node in graph.nodes:
            self.node(node, graph, values, held)
        for state in body.states:
            at = values[state.name]
            before = self.vertices[at]
            following = values[graph.outputs[state.name]]
            self.vertices[at] = Vertex(before.label, before.reads, (), (following,))
        return values[graph.outputs[RESULT]]


def resolved_call(node: Node, graph: Graph) -> tuple[object, ...]:
    """Return an op and what its attributes stand for, to be compared; long numbers without the last
    digits, which differ by rounding alone.
    """
    attributes = node.op.resolved(*graph.shapes_into(node))
    return (node.op.name, *((name, _value(value)) for name, value in attributes.items()))


def _value(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(map(_value, value))
    return f"{value:.14g}" if isinstance(value, float) else value


def _shape(shape: Iterable[object]) -> tuple[object, ...]:
    return tuple(size if isinstance(size, int) else str(size) for size in shape)


# ------------------------------------------------------------------------------------------- colors


@record(slots=True)
class Colors:
    """What is known of each vertex of two nets as a number, the same for vertices that look the same:
    by its label, by all below it, by all above it, and by both.
    """

    label: Sequence[int]
    below: Sequence[int]
    above: Sequence[int]
    both: Sequence[int]


def colors_of(a: Structure, b: Structure) -> tuple[Colors, Colors]:
    """Return the colors of two nets, which can be compared."""
    numbers: _Numbers = {}
    sides = [a.vertices, b.vertices]
    labels = [[_number(numbers, v.label) for v in side] for side in sides]
    seeds = labels
    for _ in range(_ROUNDS):
        below = [_below(side, seed, numbers) for side, seed in zip(sides, seeds, strict=True)]
        above = [_above(side, seed, numbers) for side, seed in zip(sides, seeds, strict=True)]
        seeds = [
            [_number(numbers, pair) for pair in zip(*known, strict=True)]
            for known in zip(below, above, strict=True)
        ]
    first = [_below(side, seed, numbers) for side, seed in zip(sides, labels, strict=True)]
    from_top = [_above(side, seed, numbers) for side, seed in zip(sides, labels, strict=True)]
    made = [Colors(*each) for each in zip(labels, first, from_top, seeds, strict=True)]
    return made[0], made[1]


def _number(numbers: _Numbers, key: object) -> int:
    return numbers.setdefault(key, len(numbers))


def _below(side: Sequence[Vertex], seed: Sequence[int], numbers: _Numbers) -> list[int]:
    found: list[int] = []
    for vertex, own in zip(side, seed, strict=True):
        reads = tuple(found[i] for i in vertex.reads)
        swappable = tuple(sorted(found[i] for i in vertex.swappable))
        later = tuple(seed[i] for i in vertex.later)
        found.append(_number(numbers, ("below", own, reads, swappable, later)))
    return found


def _above(side: Sequence[Vertex], seed: Sequence[int], numbers: _Numbers) -> list[int]:
    readers: list[list[tuple[int, int]]] = [[] for _ in side]
    found = [0] * len(side)
    for at in range(len(side) - 1, -1, -1):
        vertex = side[at]
        found[at] = _number(numbers, ("above", seed[at], tuple(sorted(readers[at]))))
        # How a net's own vertex reads a value depends on how many inputs and outputs there are.
        for place, i in enumerate(vertex.reads):
            readers[i].append((found[at], place))
        for i in vertex.swappable:
            readers[i].append((found[at], -1))
    return found


# --------------------------------------------------------------------------------------------- maps


def same_structure(a: Structure, b: Structure, colors: tuple[Colors, Colors]) -> list[int] | None:
    """Return for each vertex of the one net its counterpart in the other, if the nets are the same."""
    if sorted(colors[0].both) != sorted(colors[1].both):
        return None
    return _Map(a, b, colors[0].both, colors[1].both).search()


@record(slots=True)
class _Choice:
    """A choice to come back to: how many pairs there were, what was open, and what else to try."""

    pairs: int
    open: tuple[int, ...]
    vertex: int
    others: tuple[int, ...]


class _Map:
    """A one-to-one map from the vertices of `a` to those of `b`, as far as it is known."""

    def __init__(
        self, a: Structure, b: Structure, color_a: Sequence[int], color_b: Sequence[int]
    ) -> None:
        self.a, self.b = a.vertices, b.vertices
        self.colors = color_a, color_b
        self.to = [-1] * len(self.a)
        self.back = [-1] * len(self.b)
        self.pairs: list[int] = []
        self.open: tuple[int, ...] = ()
        self.choices: list[_Choice] = []

    def search(self) -> list[int] | None:
        fits = self.join(len(self.a) - 1, len(self.b) - 1)
        for _ in range(MAX_WRONG + len(self.a)):
            if fits and not self.open:
                return self.to
            fits = self.choose() if fits else self.retry()
            if not fits and not self.choices:
                return None
        return None

    def join(self, x: int, y: int) -> bool:
        """Pair two vertices and all that follows from that; return whether it fits."""
        stack = [(x, y)]
        while stack:
            x, y = stack.pop()
            if self.to[x] == y:
                continue
            if self.to[x] >= 0 or self.back[y] >= 0 or self.colors[0][x] != self.colors[1][y]:
                return False
            self.to[x], self.back[y] = y, x
            self.pairs.append(x)
            one, other = self.a[x], self.b[y]
            stack.extend(zip(one.reads, other.reads, strict=True))
            stack.extend(zip(one.later, other.later, strict=True))
            if one.swappable:
                self.open = (*self.open, x)
        return True

    def choose(self) -> bool:
        """Settle what can be settled of one open vertex, one without a choice if there is one."""
        best: tuple[int, int, int, tuple[int, ...]] | None = None
        for x in self.open:
            left = self.left(x)
            if left is None:
                return False
            mine, theirs = left
            if not mine:
                self.open = tuple(each for each in self.open if each != x)
                return True
            for vertex in mine:
                color = self.colors[0][vertex]
                fitting = tuple(
                    dict.fromkeys(other for other in theirs if self.colors[1][other] == color)
                )
                if not fitting:
                    return False
                if best is None or len(fitting) < best[0]:
                    best = len(fitting), x, vertex, fitting
            if best is not None and best[0] == 1:
                break
        assert best is not None
        _, _, vertex, fitting = best
        if len(fitting) > 1:
            self.choices.append(_Choice(len(self.pairs), self.open, vertex, fitting[1:]))
        return self.join(vertex, fitting[0])

    def left(self, x: int) -> tuple[list[int], list[int]] | None:
        """Return what an open vertex and its counterpart read that is not paired; None if what is paired
        does not fit.
        """
        mine, theirs = self.a[x].swappable, self.b[self.to[x]].swappable
        known = Counter(self.to[each] for each in mine if self.to[each] >= 0)
        told = Counter(each for each in theirs if self.back[each] >= 0)
        if known != told or len(mine) != len(theirs):
            return None
        return (
            [each for each in mine if self.to[each] < 0],
            [each for each in theirs if self.back[each] < 0],
        )

    def retry(self) -> bool:
        """Go back to the last choice, and try what is next; return whether that fits."""
        if not self.choices:
            return False
        choice = self.choices.pop()
        for x in self.pairs[choice.pairs :]:
            self.back[self.to[x]] = -1
            self.to[x] = -1
        del self.pairs[choice.pairs :]
        self.open = choice.open
        if len(choice.others) > 1:
            rest = _Choice(choice.pairs, choice.open, choice.vertex, choice.others[1:])
            self.choices.append(rest)
        return self.join(choice.vertex, choice.others[0])


# What a layer looks like: its op with its attributes, and the net below it, above it or both.
Look = tuple[int, int | None, int | None]


class Likeness:
    """How alike a layer of the one net and one of the other are, by their names."""

    def __init__(self, a: Structure, b: Structure, colors: tuple[Colors, Colors]) -> None:
        self.before, self.after = _marks(a, colors[0]), _marks(b, colors[1])

    def __call__(self, one: str, other: str) -> int:
        """Return 0 for another op, else more for the same attributes, for the same net below and above
        it, up to `ALIKE`.
        """
        x, y = self.before[one], self.after[other]
        if x.op != y.op:
            return 0
        return 1 + 3 * (x.label == y.label) + 2 * (x.below == y.below) + 2 * (x.above == y.above)


@record(slots=True)
class Marks:
    """What a layer is compared by: its op, and its colors."""

    op: object
    label: int
    below: int
    above: int

    @property
    def whole(self) -> tuple[Look, ...]:
        """What layers have in common that are `ALIKE`."""
        return ((self.label, self.below, self.above),)

    @property
    def halves(self) -> tuple[Look, ...]:
        """What layers of the same attributes may have in common: what is below them, or above."""
        return (self.label, self.below, None), (self.label, None, self.above)


def _marks(net: Structure, colors: Colors) -> dict[str, Marks]:
    return {
        name: Marks(_op(net.vertices[at]), colors.label[at], colors.below[at], colors.above[at])
        for name, at in net.layers.items()
    }


def _op(vertex: Vertex) -> object:
    """The name of a layer's op, which its label begins with."""
    label = vertex.label
    assert isinstance(label, tuple)
    return label[0][0] if isinstance(label[0], tuple) else label[0]
