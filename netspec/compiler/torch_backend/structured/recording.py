"""What is recorded of one run of a body, whoever follows it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field

from netspec.compiler.elaborate.values import Result, Tensor, Tensors
from netspec.compiler.torch_backend.block_class import BlockClass
from netspec.compiler.torch_backend.structured.calls import CallWatcher, Ran
from netspec.compiler.torch_backend.structured.homes import Classes, Homes
from netspec.compiler.torch_backend.structured.kept import Kept
from netspec.compiler.torch_backend.structured.layout import Placement
from netspec.compiler.torch_backend.structured.structure import NotStructuredError, Placed, Recorder
from netspec.diagnostics import Span


@dataclass
class Recording:
    """The record of one run. The follower that follows the run is handed it.

    Attributes:
        recorder: what the runs record.
        homes: the classes of the blocks.
        views: the layers that must be correct for views with permuted axes.
        kept: what the attributes are called that hold arguments.
        classes: the classes of the blocks that it calls.
        results: which of its results the body gives back; None for all.
        owners: the statement that made each layer or block, by its path.
        given_back: the values that the body ends with.
        calls: notes the blocks that it calls.
    """

    recorder: Recorder
    homes: Homes
    views: Set[Span]
    kept: Kept
    classes: Classes
    results: tuple[int, ...] | None = None
    owners: dict[str, Placed] = field(default_factory=dict)
    given_back: list[str] = field(default_factory=list)
    calls: CallWatcher = field(init=False)

    def __post_init__(self) -> None:
        self.calls = CallWatcher(Ran(), self.homes.known)
        self._made: list[tuple[Placed, str, tuple[int, ...]]] = []
        self._values: dict[str, set[str]] = {}
        self._calls: list[tuple[BlockClass, set[str], Sequence[str]]] = []

    def results_among(self, names: Sequence[str]) -> list[str]:
        """Those of the values that a body returns which it gives back.

        Raises:
            NotStructuredError: if it does not return as many.
        """
        if max(self.results or (), default=-1) >= len(names):
            raise NotStructuredError
        return [names[at] for at in (range(len(names)) if self.results is None else self.results)]

    def made(self, step: Placed, path: str, turns: Sequence[int], values: Iterable[str]) -> None:
        """A statement has computed these values of a layer or a block."""
        self._values.setdefault(path, set()).update(values)
        if not step.again:
            self.owners[path] = step
            self._made.append((step, path, tuple(turns)))

    def called(self, home: BlockClass, values: Iterable[str], results: Sequence[str]) -> None:
        """A block has returned these results, of which it has computed those values."""
        self._calls.append((home, set(values), results))

    def placements(self, live: Set[str]) -> list[Placement]:
        """The layers and blocks in order, once it is known which values something depends on.

        Raises:
            NotStructuredError: if other results of a block are needed than its class gives.
        """
        for home, values, results in self._calls:
            kept = tuple(at for at, name in enumerate(results) if name in live)
            if not values.isdisjoint(live) and kept != home.structure.kept:
                raise NotStructuredError
        return [
            Placement(step, path, turns, not self._values[path].isdisjoint(live))
            for step, path, turns in self._made
        ]


def names_of_values(result: Result) -> list[str]:
    """The names of the values that a body gives back."""
    results = result.items if isinstance(result, Tensors) else (result,)
    return [value.name for value in results if isinstance(value, Tensor)]
