"""What is recorded of one run of a body, whoever follows it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, field

from netspec.compiler.elaborate.values import Result, Tensor, Tensors
from netspec.compiler.syntax import tree as syntax
from netspec.compiler.torch_backend.structured.homes import Homes
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.layout import Placement
from netspec.compiler.torch_backend.structured.structure import Placed, Recorder
from netspec.compiler.torch_backend.trace import Trace, Tracer
from netspec.diagnostics import Span


@dataclass
class Recording:
    """The record of one run. The tracer that follows the run is handed it.

    Attributes:
        definition: the net or the block.
        recorder: what the runs record.
        homes: the classes of the blocks.
        views: the layers that must be correct for views with permuted axes.
        kept: what the attributes are called that hold arguments.
        owners: the statement that made each layer or block, by its path.
        placements: the layers and blocks whose names depend on others, in order.
        given_back: the values that the body ends with.
        events: records what the body calls.
    """

    definition: syntax.Net | syntax.Block
    recorder: Recorder
    homes: Homes
    views: Set[Span]
    kept: Kept
    owners: dict[str, Placed] = field(default_factory=dict)
    placements: list[Placement] = field(default_factory=list)
    given_back: list[str] = field(default_factory=list)
    events: Tracer = field(init=False)

    def __post_init__(self) -> None:
        self.events = Tracer(Trace(self.definition), self.homes.repeated)

    @property
    def trace(self) -> Trace:
        """The layers, and the calls of blocks."""
        return self.events.record


def names_of_values(result: Result) -> list[str]:
    """The names of the values that a body gives back."""
    results = result.items if isinstance(result, Tensors) else (result,)
    return [value.name for value in results if isinstance(value, Tensor)]
