"""An imported net: what each front gives, and what the stages behind it work on.

It holds netspec's ops and attributes, but no structure: nodes in the order they run, each with the
modules that enclose it. Values have the name of the node that computes them, or of an input or a
tensor. Shapes are those of one image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

from netspec.compiler.ir.graph import Shape
from netspec.compiler.syntax.tree import NumberType

LARGEST = 3.4e38
"""What stands for an infinite number, which no file can name."""

Constant = Union[bool, int, float, str, None, "tuple[Constant, ...]"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node was written in the source of the model. `line` counts from 1."""

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Scope:
    """A call of a module that encloses a node.

    Attributes:
        path: the module's whole path, such as `layer1.0`; names of parameters begin with it.
        kind: the name of its class, such as `BasicBlock`; empty if it is not known.
        call: which call of the module it is, from 0: a module may be called again.
        only_holds: whether it has no code of its own, as `Sequential`: it prefixes labels only.
    """

    path: str
    kind: str = ""
    call: int = 0
    only_holds: bool = False


@dataclass(frozen=True, slots=True)
class ImportedNode:
    """One layer: an op of netspec, and the value that it computes.

    Attributes:
        value: the name of the value, which no other value has.
        op: the name of the op, such as `conv`.
        attributes: by the op's names, in any order. Those with the op's default may be left out. A
            number in place of a value (`x * 2`) is one of them.
        inputs: names of values.
        shape: of the value, for one image.
        parameters: the op's own names of the parameters and buffers that it has, with their names
            in the weights: {"weight": "layer1.0.conv1.weight"}. A name that does not begin with the
            label is that of another layer's parameter, which this one reads too.
        label: the whole path of the layer, `layer1.0.conv1`, which its parameters' names begin
            with; empty if it has none. It is needed by layers with parameters only.
        scopes: the calls of modules that enclose it, the outermost first, without the net itself
            and without the layer's own module.
        place: where it was written, if that is known.
        called: what the source calls the value; empty if that is not known.
    """

    value: str
    op: str
    attributes: Mapping[str, Constant]
    inputs: tuple[str, ...]
    shape: Shape
    parameters: Mapping[str, str] = field(default_factory=dict)
    label: str = ""
    scopes: tuple[Scope, ...] = ()
    place: Place | None = None
    called: str = ""


@dataclass(frozen=True, slots=True)
class ImportedTensor:
    """A parameter, a buffer or a constant that is a value of its own.

    Attributes:
        value: the name that nodes read it by.
        name: its whole name in the weights, `layer1.0.layer_scale`; for a constant a free name, or
            the whole one that its module has for it.
        kind: `parameter`, `buffer` or `constant`.
        stored: its shape in the weights.
        shape: its shape as a value: without a 1 in front that stands for the batch.
        initial: an initial rule as it is written, such as `zeros`, or the numbers, nested.
        scopes: the calls of modules that enclose it, as a node's.
        is_own: whether a module holds it under its name, as it does all but some constants.
    """

    value: str
    name: str
    kind: str
    stored: Shape
    shape: Shape
    initial: str | tuple[Constant, ...]
    scopes: tuple[Scope, ...] = ()
    is_own: bool = True


@dataclass(frozen=True, slots=True)
class ImportedInput:
    """An input of the net, by the shape of one image and what it holds."""

    name: str
    shape: Shape
    holds: NumberType = "real"


@dataclass(frozen=True, slots=True)
class ImportedNet:
    """A whole model.

    Attributes:
        name: the net's name, in PascalCase.
        inputs: in order.
        nodes: in the order they run: each behind those that it reads.
        outputs: the names of outputs, with the values. A single one is called `output`.
        tensors: the values that are stored.
        doc: comment lines for the head of the file, such as where it came from.
    """

    name: str
    inputs: tuple[ImportedInput, ...]
    nodes: tuple[ImportedNode, ...]
    outputs: Mapping[str, str]
    tensors: tuple[ImportedTensor, ...] = ()
    doc: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a model that no `.net` file can express.

    Attributes:
        what: the operator, or what else stands in the way.
        why: what about it, and the nearest form in netspec, in a sentence.
        path: the path of the module, empty for the model itself.
        kind: the class of the module.
        place: the line of the model's source.
        help: what may help.
    """

    what: str
    why: str
    path: str = ""
    kind: str = ""
    place: Place | None = None
    help: str = ""
