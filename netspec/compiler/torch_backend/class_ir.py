"""The intermediate representation of a generated class: layers, blocks and decisions over numbered
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netspec.compiler.ir.op import Torch
from netspec.compiler.ir.sizes import Dim
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.conditions import Condition
from netspec.compiler.torch_backend.local_sizes import names_in
from netspec.compiler.torch_backend.trace import Trace
from netspec.diagnostics import Span

if TYPE_CHECKING:
    from netspec.compiler.torch_backend.structured.block import StructuredBlock

Value = int
"""The number of a value in a class."""


@dataclass(eq=False)
class Layer:
    """A layer of a class: its PyTorch expression, with numbers as expressions of the class's
    arguments.

    `parameters` are those that no module of `torch.nn` holds. `parameters_held` says whether the
    layer has any parameters. One without a name is the attribute of the layer's path itself, a buffer
    if `is_buffer`, which the state dict has if `is_saved`. `of_views` says that it is written in the
    form that is also correct for views with permuted axes.
    """

    torch: Torch
    parameters: Mapping[str, tuple[Dim, ...]]
    parameters_held: bool
    path: str
    reused: bool
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    span: Span
    of_views: bool = False
    is_buffer: bool = False
    is_saved: bool = True


@dataclass(eq=False)
class Use:
    """A block in a class: the block's class, and the arguments that it is created with."""

    of: BlockClass
    given: Mapping[str, Any]
    path: str
    reused: bool
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    span: Span


@dataclass(eq=False)
class Choice:
    """A decision that is made when the class is instantiated: the cases with their conditions, and
    the values that are joined after them.

    Attributes:
        cases: the conditions and steps, in the file's order; the last has no condition.
        joined: for each value that depends on the case, the value in each case; None if nothing
            reads it after that case.
    """

    cases: list[tuple[Condition | None, list[Step]]]
    span: Span
    joined: dict[Value, tuple[Value | None, ...]] = field(default_factory=dict)

    def parts(self, case: int | None = None) -> list[Value]:
        """Return the values that are joined, of one case or of all."""
        found = [
            part
            for parts in self.joined.values()
            for part in (parts if case is None else parts[case : case + 1])
        ]
        return [part for part in found if part is not None]


@dataclass(eq=False)
class Assembled:
    """A `nn.Sequential` of layers and blocks, some of which are only there in some cases of a
    decision.
    """

    path: str
    children: list[Layer | Use | Choice]
    inputs: tuple[Value, ...]
    results: tuple[Value, ...]
    span: Span
    reused: bool = False


Step = Layer | Use | Choice | Assembled


@dataclass(eq=False)
class BlockClass:
    """A class to be generated.

    Attributes:
        symbols: the arguments of its constructor, in order.
        inputs, results: the arguments of `forward`, by name, and what it returns.
        names: the names of values in the file.
        traces: the calls of the block that use it.
        is_variant: whether other calls of the block have another class.
        unassembled: the steps before layers and decisions were joined to `Assembled` ones.
        known: the block's arguments that the code does not honour, with their values.
        structure: what the class is written from, if it has the statements of the file.
    """

    definition: syntax.Net | syntax.Block
    name: str
    symbols: list[str]
    inputs: dict[str, Value]
    results: tuple[Value, ...]
    steps: list[Step]
    names: dict[Value, str]
    traces: list[Trace]
    is_variant: bool = False
    unassembled: list[Step] = field(default_factory=list)
    known: dict[str, tuple[int | float, ...]] = field(default_factory=dict)
    structure: StructuredBlock | None = None

    @property
    def fixed(self) -> dict[str, int | float]:
        """The arguments that the class does not take, with their values."""
        known = self.known.items()
        return {symbol: values[0] for symbol, values in known if symbol not in self.symbols}

    @property
    def bounded(self) -> list[str]:
        """The arguments that the class takes only with the values that occur in the file."""
        return [symbol for symbol in self.symbols if symbol in self.known]


def symbols_in(made: BlockClass) -> set[str]:
    """Return the arguments that a class's steps use."""
    return _symbols(made.steps)


def _symbols(part: Any) -> set[str]:
    if isinstance(part, (tuple, list)):
        return set().union(*(_symbols(item) for item in part))
    if isinstance(part, Layer):
        return names_in((part.torch, part.parameters))
    if isinstance(part, Use):
        return names_in(part.given)
    if isinstance(part, Assembled):
        return _symbols(part.children)
    if isinstance(part, Choice):
        conditions = {s for c, _ in part.cases if c is not None for s in c.symbols}
        return conditions | _symbols([steps for _, steps in part.cases])
    return set()
