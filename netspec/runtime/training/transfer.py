"""Transfer learning: loads weights of another run or network, and freezes parameters.

What matches by name and shape is loaded, and everything else keeps its initial values. So a network
with a new number of `classes` starts with the layers of the old one and a new last layer.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import Diagnostic, Hint, NetspecError, plural, suggest
from netspec.runtime.data.choices import BAD_OPTION, is_number, require
from netspec.runtime.weights.safetensors_file import short
from netspec.runtime.weights.tensor_names import match_names, may_be_missing

# How many tensors of a kind a report names.
_SHOWN = 8


class HasState(Protocol):
    """A model of either backend."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Return copies of all parameters and buffers by name."""
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Load parameters and buffers."""
        ...


@dataclass(frozen=True)
class Transfer:
    """The result of loading: what happened to each tensor of the weights and of the network.

    Attributes:
        total: The number of tensors in the network.
        loaded: The names of tensors that were loaded.
        renamed: Name in the weights -> the name it was loaded under.
        notes: Why these were renamed, in words.
        missing: Names in the network that are not in the weights; they keep their initial values.
        counters: Those of batch norm that are not in the weights; they start at 0.
        unexpected: Names in the weights that are not in the network.
        different: Name -> the shape in the weights and the network's; these keep their initial
            values too.
    """

    total: int
    loaded: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: list[str] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    different: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the report."""
        yield f"{len(self.loaded)} of {plural(self.total, 'tensor')} loaded"
        yield from (f"  {note}" for note in self.notes)
        differences = [
            f"{_name(name)} is {list(theirs)}, the network has {list(ours)}"
            for name, (theirs, ours) in self.different.items()
        ]
        yield from _some("initial values kept, different shape", differences)
        yield from _some("initial values kept, not in the file", map(_name, self.missing))
        yield from _some("counters of batch norm at 0, not in the file", map(_name, self.counters))
        yield from _some("not used, not in the network", map(_name, self.unexpected))


def start_from(model: HasState, weights: Mapping[str, NDArray[Any]]) -> Transfer:
    """Load what matches by name and shape; the rest of the model is unchanged.

    Names with a prefix, and those of older checkpoints, are matched with the network's names
    (`netspec.runtime.weights.tensor_names`), and counters of batch norm may be missing.

    Raises:
        NetspecError: `weights/mismatch` if nothing matches.
    """
    state = model.state_dict()
    matched = match_names(weights, state)
    report = Transfer(len(state), renamed=matched.names, notes=matched.notes)
    for given, array in weights.items():
        name = matched.names.get(given, given)
        if name not in state:
            report.unexpected.append(given)
        elif array.shape != state[name].shape:
            report.different[name] = (array.shape, state[name].shape)
        else:
            state[name] = array
            report.loaded.append(name)
    found = {*report.loaded, *report.different}
    for name in state:
        if name not in found:
            (report.counters if may_be_missing(name) else report.missing).append(name)
    if not report.loaded:
        raise NetspecError(
            [
                Diagnostic(
                    codes.WEIGHTS_MISMATCH,
                    "nothing in the weights matches the network",
                    notes=tuple(line.strip() for line in report.lines())[1:],
                    hints=(Hint("tensors are matched by name and shape"),),
                )
            ]
        )
    model.load_state_dict(state)
    return report


def choose_frozen(
    graph: Graph, patterns: Sequence[str], only: Sequence[str] = ()
) -> frozenset[str]:
    """Return the parameters and buffers that are not trained.

    A pattern is a glob over whole names: `*` matches any text, including dots (`layer1.*`,
    `*.bias`).

    Args:
        graph: the net.
        patterns: those whose names match one are frozen.
        only: if there are any, those whose names match none are frozen too.

    Raises:
        NetspecError: `train/bad-option` for a pattern that matches nothing, with what was probably
            meant, and if no parameter is left to train.
    """
    names = list(graph.saved())
    frozen = {name for pattern in patterns for name in _matching(graph, pattern, names)}
    if only:
        frozen |= set(names).difference(*(_matching(graph, pattern, names) for pattern in only))
    if (patterns or only) and all(p.name in frozen for p in graph.trainable()):
        raise NetspecError.simple(
            BAD_OPTION, f"all parameters of {graph.name} are frozen: no parameter is left to train"
        )
    return frozenset(frozen)


def factors(graph: Graph, patterns: Mapping[str, float]) -> dict[str, float]:
    """Return the factor of each trainable parameter whose name matches one of the patterns.

    The last pattern that matches counts. Patterns are as for `choose_frozen`.

    Raises:
        NetspecError: `train/bad-option` for a pattern that matches nothing, and for a factor below 0.
    """
    names = [p.name for p in graph.trainable()]
    found: dict[str, float] = {}
    for pattern, factor in patterns.items():
        require(
            is_number(factor) and factor >= 0,
            f"the factor of `{pattern}` must be at least 0, not {factor!r}",
        )
        found.update(dict.fromkeys(_matching(graph, pattern, names), float(factor)))
    return found


def _matching(graph: Graph, pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that match a pattern.

    Raises:
        NetspecError: `train/bad-option` if there are none.
    """
    matched = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not matched:
        meant = _meant(pattern, names)
        raise NetspecError.simple(
            BAD_OPTION,
            f"no parameter of {graph.name} matches `{pattern}`",
            f"did you mean `{meant}`?" if meant else "`netspec summarize` lists the layers",
        )
    return matched


def _meant(pattern: str, names: Sequence[str]) -> str | None:
    """Return a similar pattern that matches something: a layer's, a block's, or a single name."""
    groups = {name[: i + 1] + "*" for name in names for i, char in enumerate(name) if char == "."}
    below = f"{pattern.rstrip('.*')}.*"
    return below if below in groups else suggest(below, groups) or suggest(pattern, names)


def _name(name: str) -> str:
    """Format a name from a file, which may contain anything, for a terminal."""
    return short(name if name.isprintable() else name.encode("unicode_escape").decode())


def _some(title: str, found: Iterable[str]) -> Iterator[str]:
    """Yield a title and the first few of many items, each on a line."""
    items = list(found)
    if items:
        yield f"  {title}: {len(items)}"
        yield from (f"    {item}" for item in items[:_SHOWN])
        if len(items) > _SHOWN:
            yield f"    ... and {len(items) - _SHOWN} more"
