"""A net while it is being built: its nodes, parameters and names so far, and the limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from netspec.compiler.elaborate.definitions import Definition
from netspec.compiler.elaborate.scope import Reads
from netspec.compiler.elaborate.sketch import Misfit, ValueTypes
from netspec.compiler.ir.constants import Constant
from netspec.compiler.ir.graph import Node, Parameter, Shape
from netspec.compiler.ir.net_facts import net_facts
from netspec.compiler.ir.receptive_field import Field, extend, field_of_input
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.syntax.tree import NumberType
from netspec.diagnostics import DiagnosticSink, Hint, Label, Span

# One unit of work is one expression or statement, a layer is three, and a call of a block four: about
# 15 microseconds.
MAX_WORK = 100_000
MAX_ERRORS = 100
# Building stops after this many repetitions of errors that were already reported: a loop that repeats
# them has no new ones to show.
MAX_REPEATS = 1000
MAX_ELEMENTS = 1 << 36
MAX_CALLS_DEEP = 24


class StopBuildingError(Exception):
    """A limit was reached and has been reported, so building stops."""


class Undefined(NamedTuple):
    """The error for an undefined name, and the name that was probably meant."""

    message: str
    later: tuple[Label, ...]
    hints: tuple[Hint, ...]
    meant: str | None


@dataclass(eq=False, repr=False)
class Assembly:
    """The state that all bodies of one net share."""

    sink: DiagnosticSink
    sizes: Mapping[str, Constant] = field(default_factory=dict)  # given for open sizes
    inputs: dict[str, Shape] = field(default_factory=dict)
    input_types: dict[str, NumberType] = field(default_factory=dict)
    # The shapes of inputs as written, for those that are list expressions.
    input_shapes: dict[str, tuple[syntax.ListExpr, Shape]] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)  # layers that could not be added
    shapes: dict[str, Shape] = field(default_factory=dict)
    fields: dict[str, Field] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Parameter] = field(default_factory=dict)
    reads: Reads = field(default_factory=Reads)
    deferred: list[Callable[[Mapping[str, Constant]], None]] = field(default_factory=list)
    failed: bool = False
    work: int = 0
    errors: int = 0
    repeats: int = 0
    calls_deep: int = 0
    called: set[Span] = field(default_factory=set)
    depth: int = 0
    # The spans of undefined names and calls that were replaced by a guess. Each gives one error,
    # and what follows from the guess gives none.
    guessed: set[Span] = field(default_factory=set)
    # The parts of the tree that were not built and were checked, by their ids.
    not_built: set[int] = field(default_factory=set)
    # The errors for undefined names, by their places, which a loop meets again and again.
    undefined: dict[Span, Undefined] = field(default_factory=dict)
    # Where a body writes each name, by the id of its statements.
    places_of_names: dict[int, dict[str, list[Span]]] = field(default_factory=dict)
    # What a body defines, by the id of its statements.
    definitions: dict[int, dict[str, list[Definition]]] = field(default_factory=dict)
    # The names in parts that were not executed, such as a branch not taken, by the id of the tree.
    # Shape comments are checked only for a net as it is written, with its default arguments. Values
    # that follow from one with a false comment are doubtful. The number is the depth of block calls
    # at that comment.
    as_written: bool = True
    doubtful: dict[str, int] = field(default_factory=dict)
    # What the expressions and stages of the file gave, each kind of value once, by the node of the
    # tree: a block that is called with several shapes has several.
    given: dict[object, dict[ValueTypes, None]] = field(default_factory=dict)
    # Where the values of constants were written, by the spans of their names.
    written: dict[Span, Span] = field(default_factory=dict)
    # Label paths: those of layers and blocks, with the spans of the labels, and the paths above
    # them.
    taken: dict[str, Span] = field(default_factory=dict)
    above: dict[str, Span] = field(default_factory=dict)
    labels: dict[syntax.Label, None] = field(default_factory=dict)  # as written, in order

    # The names of classes for the bodies of scan blocks, by the block and by what they compute.
    scan_classes: dict[str, dict[str, str]] = field(default_factory=dict)

    def inside(self) -> Assembly:
        """Return the state of a graph within this net: that of the steps of a scan block."""
        return replace(
            self, inputs={}, input_types={}, input_shapes={}, nodes=[], misfits=[], shapes={},
            fields={}, outputs={}, parameters={}, doubtful={},
        )  # fmt: skip

    def take_counts(self, inside: Assembly) -> None:
        """Take over what was counted while a graph within this net was built."""
        for name in ("failed", "work", "errors", "repeats"):
            setattr(self, name, getattr(inside, name))

    def take(self, path: str, prefix: str, span: Span) -> tuple[str, Span] | None:
        """Claim a label path. Return the path that it collides with and its span, or None.

        A path must not lie below that of another layer (`stem` and `stem.weight`), because it could
        be the name of a parameter of that layer.
        """
        if path in self.taken:
            return path, self.taken[path]
        if path in self.above:
            return path, self.above[path]
        ancestors = []
        parent = path.rpartition(".")[0]
        while len(parent) > len(prefix):
            if parent in self.taken:
                return parent, self.taken[parent]
            ancestors.append(parent)
            parent = parent.rpartition(".")[0]
        self.taken[path] = span
        for ancestor in ancestors:
            self.above.setdefault(ancestor, span)
        return None

    def kind(self, path: str) -> str:
        """Return what a path that is taken names, in words."""
        if path in self.inputs:
            return "an input"
        return "a parameter, a buffer or a constant" if path in self.parameters else "a layer"

    def is_free(self, path: str) -> bool:
        """Whether nothing has this path or lies below it."""
        return path not in self.taken and path not in self.above

    def add_input(self, name: str, shape: Shape, holds: NumberType = "real") -> None:
        """Add an input of the net."""
        self.inputs[name] = self.shapes[name] = shape
        if holds != "real":
            self.input_types[name] = holds
        self.fields[name] = field_of_input(shape)

    def add_node(self, node: Node) -> None:
        """Add a node after all others."""
        self.nodes.append(node)
        self.shapes[node.name] = node.shape

    def field(self, value: str) -> Field:
        """Return the receptive field of a value."""
        done = len(self.fields) - len(self.inputs)
        extend(self.fields, self.shapes, self.nodes[done:])
        return self.fields[value]

    def totals(self) -> Mapping[str, Constant]:
        """Return the facts about the whole net that an assert may use (`NET_FACTS`)."""
        first = next(iter(self.outputs.values()), None)
        field = None if first is None else self.field(first)
        return net_facts(self.parameters.values(), self.nodes, self.shapes, field)
