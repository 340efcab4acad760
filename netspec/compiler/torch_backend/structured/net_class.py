"""The class of a net with the statements of the file."""

from __future__ import annotations

from collections.abc import Set

from netspec.compiler.ir.attributes import show
from netspec.compiler.ir.initializers import Values
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.docstrings import plain_text
from netspec.compiler.torch_backend.init_calls import (
    fill_lines,
    init_docs,
    list_lines,
    parameter_text,
)
from netspec.compiler.torch_backend.python_constants import words_in
from netspec.compiler.torch_backend.python_layout import INDENT, Doc, Group, statement
from netspec.compiler.torch_backend.structured.constructor import (
    Constructor,
    buffer_lines,
    constant_text,
    label_words,
)
from netspec.compiler.torch_backend.structured.flow import placed_in
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.kinds import kind_of
from netspec.compiler.torch_backend.structured.module import forward_head
from netspec.compiler.torch_backend.structured.net import StructuredNet
from netspec.compiler.torch_backend.structured.structure import NotStructuredError, Placed
from netspec.compiler.torch_backend.symbolic_numbers import SymbolicFloat
from netspec.compiler.torch_backend.tied_parameters import tie_lines


class StructuredClass:
    """Writes the class of a net: a `nn.Sequential` that its constructor fills, or a `nn.Module`.

    Args:
        net: the net.
        error: how `ValueError` is written.
        sequence: the type of an argument that is a list.
        outputs: the class of several outputs, if they have one.
    """

    def __init__(self, net: StructuredNet, error: str, sequence: str, outputs: str) -> None:
        self.outputs = outputs
        self.sequence = sequence
        self.net = net
        self.text = net.text
        kept = {net.kept.argument(name) for name in self.text.attributes}
        self.writer = Constructor(
            net.body,
            self.text.layout,
            error,
            _needed(net) | kept,
            self.text.flags,
            arguments=net.values,
            classes=[made.name for made in net.homes.all],
        )
        self.symbols = _Arguments(net.kept)
        read = _with_defaults(net, self.writer.needed)
        self.arguments = [name for name in read if name not in net.fixed]
        self.fixed = {name: net.values[name] for name in read if name in net.fixed}

    # -- the head

    def signature(self) -> list[str]:
        """`def __init__(self, depth: int = 20) -> None:`."""
        items: list[Doc] = ["self"]
        for name in self.arguments:
            value = self.net.values[name]
            kind = "float" if name in self.net.fractional else kind_of(value, self.sequence)
            if name in self.net.derived:
                items.append(f"{name}: {kind} | None = None")
            else:
                items.append(f"{name}: {kind} = {constant_text(value)}")
        return statement(Group("def __init__(", tuple(items), ") -> None"), 1, after=":")

    def facts(self) -> list[str]:
        """What the docstring says of the arguments that the class does not take."""
        fixed = {n: v for n, v in self.net.values.items() if n in self.net.fixed}
        if not fixed:
            return []
        lines = [f"{INDENT}{name} = {plain_text(show(value))}" for name, value in fixed.items()]
        return ["", "Fixed when this was generated, for the layers depend on them:", *lines]

    def constructor(self) -> list[str]:
        """The constructor."""
        lines = [*buffer_lines(self.net.body), *self.signature(), f"{INDENT * 2}super().__init__()"]
        for name, value in self.fixed.items():
            lines += statement(f"{name} = {constant_text(value)}", 2)
        for name in self.arguments:
            if name in self.net.derived:
                lines += statement(f"if {name} is None:", 2)
                lines += statement(f"{name} = {self.net.derived[name]}", 3)
        lines += self.text.kept_lines()
        lines += self.writer.lines()
        lines += fill_lines(self.net.fills, self.symbols)
        lines += self._in_blocks()
        lists = {}
        for (place, own), rule in self.net.own.items():
            owned = self.net.owned[place, own]
            path = ".".join((*self._path(place), *filter(None, [own])))
            tensor = parameter_text("self", path, owned)
            if isinstance(rule, Values):
                lists[tensor] = rule
            else:
                for doc in init_docs(tensor, rule, owned.rank, self.symbols):
                    lines += statement(doc, 2)
        return [*lines, *list_lines(lists), *tie_lines(self.net.graph)]

    def _path(self, place: Placed) -> tuple[str, ...]:
        if place.label is not None:
            return place.label
        if place.kind in self.writer.counted.counted:
            alike = [p for step in self.net.body.steps or () for p in placed_in(step)]
            last = [p for p in alike if p.kind == place.kind and not p.again][-1]
            if last is not place or place not in (self.net.body.steps or ()):
                raise NotStructuredError
            return (f"{place.kind}{{{self.net.text.layout.counter(place.kind)}}}",)
        return (self.writer.counted.names[place],)

    def _in_blocks(self) -> list[str]:
        """The initial values in all objects of a block's class."""
        lines: list[str] = []
        by_block: dict[BlockClass, list[str]] = {}
        for (block, path), (rule, owned) in self.net.inner.items():
            tensor = parameter_text("module", path, owned)
            for doc in init_docs(tensor, rule, owned.rank, self.symbols):
                by_block.setdefault(block, []).extend(statement(doc, 4))
        for block, filled in by_block.items():
            word = "elif" if lines else "if"
            lines += statement(f"{word} isinstance(module, {block.name}):", 3)
            lines += filled
        return [*statement("for module in self.modules():", 2), *lines] if lines else []

    def forward(self, functional: str) -> list[str]:
        """`forward`; a chain has that of `nn.Sequential`."""
        if self.text.is_chain:
            return []
        head = forward_head(self.text.inputs, len(self.net.graph.outputs), gives=self.outputs)
        return ["", *head, *self.text.forward(functional, self.outputs).lines()]


class _Arguments(dict[str, str]):
    """What `forward` reads from the object is an argument in the constructor."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept

    def __missing__(self, key: str) -> str:
        return self.kept.in_constructor(key)


def _with_defaults(net: StructuredNet, needed: Set[str]) -> list[str]:
    """The arguments that something reads, also the defaults of others."""
    read = set(needed)
    for name in reversed(net.values):  # a default reads those in front of it
        if name in read and name in net.derived:
            read |= words_in(net.derived[name])
    return [name for name in net.values if name in read]


def _needed(net: StructuredNet) -> set[str]:
    """The names that initial values need."""
    fills = (fill.rule for some in net.fills.values() for fill in some)
    inner = (rule for rule, _ in net.inner.values())
    needed = {
        word
        for rule in (*net.own.values(), *fills, *inner)
        for value in vars(rule).values()
        if isinstance(value, SymbolicFloat)
        for word in words_in(net.kept.in_constructor(value.outer))
    }
    for place, _ in net.own:
        needed |= label_words(place)
    return needed
