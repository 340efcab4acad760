"""The graph that continues a net over a sequence, from new positions and what is held of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from netspec.compiler.ir.graph import Graph, Node, Shape, show_shape
from netspec.compiler.ir.op import Op, ShapeError
from netspec.compiler.ir.scan_body import with_inputs
from netspec.compiler.ir.sizes import Dim, Size, at, names_in
from netspec.compiler.ir.step_form import Held, NotCausalError, StepForm
from netspec.compiler.syntax.tree import NumberType
from netspec.records import record

# The number of positions, where it is left open.
_OPEN = "T"
# Inputs of the new graph beside the tokens. No name of a file has an `@`.
PLACES, SEEN = "@places", "@seen"


@record
class Continuation:
    """A net for new positions.

    Attributes:
        graph: it takes the tokens (n,) of the new positions and, where something reads them,
            `PLACES` (n,), the place of each, `SEEN` (n, positions + n), which of the held and of the
            new positions each sees, and what is `held`. Its output `output` has a row for each new
            position, and it has an output for each of `held` that changes.
        held: what is handed from one call to the next.
        singly: whether it takes one position at a time.
    """

    graph: Graph
    output: str
    held: tuple[Held, ...]
    singly: bool


def continuation(
    graph: Graph, output: str, count: int, ops: Mapping[str, type[Op]]
) -> Continuation:
    """Return the net for `count` new positions.

    Args:
        graph: a net with one input (T,), whose size is known.
        output: the output that is wanted, (T, ...).
        count: how many new positions it takes.
        ops: the ops by name, of which some stand for others where there are few positions.

    Raises:
        NotCausalError: if it cannot be computed from positions before, as far as the layers say.
    """
    ((name, (size,)),) = graph.inputs.items()
    whole = with_inputs(graph, {name: (Size.named(_OPEN),)}, _misfit)  # type: ignore[dict-item]
    return _Builder(whole, name, size, count, ops).built(output)


def _misfit(node: Node, error: ShapeError) -> Exception:
    return NotCausalError(
        f"`{node.op}` at {node.origin.span.where} takes one length alone: {error.message}"
    )


@dataclass
class _Builder:
    whole: Graph
    tokens: str
    size: int
    count: int
    ops: Mapping[str, type[Op]]
    inputs: dict[str, Shape] = field(default_factory=dict)
    types: dict[str, NumberType] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    singly: bool = False

    def built(self, output: str) -> Continuation:
        """Add the nodes that an output needs."""
        self._input(self.tokens, (self.count,), self.whole.holds(self.tokens))
        values = {self.tokens: self.tokens}
        value = self.whole.outputs[output]
        needed = self._needed(value)
        for node in self.whole.nodes:
            if node.name in needed:
                values[node.name] = self._advanced(node, values)
        if self._axis(value) != 1:
            shape = show_shape(self.whole.shape_of(value))
            raise NotCausalError(f"the output {shape} has no row for each position")
        self.outputs[output] = values[value]
        graph = Graph(
            self.whole.name, self.inputs, tuple(self.nodes), self.outputs, self.whole.parameters,
            self.whole.span, input_types={n: t for n, t in self.types.items() if n in self.inputs},
        )  # fmt: skip
        return Continuation(graph, output, tuple(self.held), self.singly)

    def _needed(self, value: str) -> set[str]:
        """Return the values that one is computed from, itself too."""
        found, left = set[str](), [value]
        while left:
            name = left.pop()
            if name not in found:
                found.add(name)
                node = self.whole.by_name.get(name)
                left += node.inputs if node is not None else ()
        return found

    def _axis(self, value: str) -> int | None:
        """Return the axis of positions in a value of the whole net, counted from 1.

        Raises:
            NotCausalError: if the number of positions shows in its shape otherwise.
        """
        shape: tuple[Dim, ...] = self.whole.shape_of(value)
        found = [axis for axis, dim in enumerate(shape, 1) if dim == Size.named(_OPEN)]
        others = [dim for axis, dim in enumerate(shape, 1) if axis not in found]
        if len(found) > 1 or names_in(others):
            node = self.whole.by_name[value]
            raise NotCausalError(
                f"`{node.op}` at {node.origin.span.where} has another place for each two positions,"
                f" {show_shape(self.whole.shape_of(value))}"
            )
        return found[0] if found else None

    def _advanced(self, node: Node, values: Mapping[str, str]) -> str:
        """Add a node of the whole net for the new positions, and return its value."""
        over = tuple(map(self._axis, node.inputs))
        form = StepForm(
            node, tuple(values[name] for name in node.inputs), self.whole.shapes_into(node), over,
            self.size, self.shapes.__getitem__, lambda *added: self._add(node, *added),
            lambda name, **given: self.ops[name](**given),
            lambda *held: self._hold(node, *held), self._leave, self._seen, self._places,
            self._singly,
        )  # fmt: skip
        is_lost = self._axis(node.name) is None and any(axis is not None for axis in over)
        if is_lost and not node.op.reads_batch_alone:
            raise form.refused(f"has one value for all positions, {show_shape(node.shape)}")
        try:
            value = node.op.advance(form)
        except ShapeError as error:
            raise form.refused(f"takes one length alone: {error.message}") from None
        expected = at(node.shape, {_OPEN: self.count})
        if self.shapes[value] != expected:
            raise form.refused("has sizes that are those of one length alone")
        return value

    # -- what an op adds

    def _add(
        self, node: Node, op: Op, inputs: tuple[str, ...], parameters: Mapping[str, str]
    ) -> str:
        op = op.given(tuple(self.types.get(value, "real") for value in inputs))
        shapes = tuple(self.shapes[value] for value in inputs)
        shape = op.shape(*shapes)
        for spec in op.parameters(*shapes):
            full = parameters[spec.name]
            if self.whole.parameters[full].shape != spec.shape:
                raise NotCausalError(
                    f"`{node.op}` at {node.origin.span.where} has a parameter for each position"
                )
        name = f"{node.name}@{len(self.nodes)}"
        origin = replace(node.origin, layer=node.origin.layer or node.name)
        self.nodes.append(Node(name, op, inputs, shape, parameters, origin))
        self.shapes[name] = shape
        if op.only_moves and inputs[0] in self.types:
            self.types[name] = self.types[inputs[0]]
        return name

    def _input(self, name: str, shape: Shape, holds: NumberType) -> str:
        self.inputs[name] = self.shapes[name] = shape
        if holds != "real":
            self.types[name] = holds
        return name

    def _hold(self, node: Node, what: str, shape: Shape, start: float, axis: int | None) -> str:
        name = f"{node.name}@{what}"
        self.held.append(Held(name, shape, start, axis))
        return self._input(name, shape, "real")

    def _leave(self, held: str, value: str) -> None:
        if value != held:
            self.outputs[held] = value

    def _seen(self) -> str:
        return self._input(SEEN, (self.count, self.size + self.count), "bool")

    def _places(self) -> str:
        return self._input(PLACES, (self.count,), "int")

    def _singly(self) -> None:
        self.singly = True
