"""The state of an episode of a walk: objects with the answers that they must give, and a folder."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import netspec
from netspec.compiler.ir.graph import Graph
from netspec.compiler.passes.bind_sizes import match_sizes, open_sizes, specialize
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import agreement
from tests.walk.odd_values import Array, drawn

State = dict[str, Array]
# |a - b| <= tolerance * max(1, max|a|), by the type of the numbers.
TOLERANCE = {"float32": 2e-3, "float64": 1e-8}
# The errors that a rejection may be: netspec's own, and those of Python and NumPy for wrong
# arguments.
REFUSALS = (netspec.NetspecError, TypeError, ValueError)


class Find(Exception):  # noqa: N818 - what it is called
    """Something that no step may show."""


@dataclass
class Held:
    """An object that answers, with the parameters that it must have.

    Attributes:
        name: its name in the journal.
        kind: `numpy`, `torch`, `predictor` or `standalone`.
        net: the net that it is made from.
        dtype: the type of its parameters.
        it: the object.
        state: a separate copy of its parameters.
        frozen: the names of parameters that are not trained.
    """

    name: str
    kind: str
    net: netspec.Net
    dtype: str
    it: Any
    state: State
    frozen: frozenset[str] = frozenset()

    @property
    def graph(self) -> Graph:
        return self.net.graph

    @property
    def trains(self) -> bool:
        """Whether it can be trained on labelled images."""
        return self.kind in ("numpy", "torch") and self.graph.name in ("Picture", "Vector")

    def answer(self, x: Any) -> dict[str, Array]:
        """Return its outputs by name."""
        given = self.it.forward(x)
        return (
            dict(given) if isinstance(given, Mapping) else {next(iter(self.graph.outputs)): given}
        )

    def expected(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the outputs of the reference by name."""
        exact = {n: np.asarray(a, self.dtype).astype("f8") for n, a in inputs.items()}
        graph = self.graph
        if open_sizes(graph):
            sizes = match_sizes(graph, {n: a.shape[1:] for n, a in exact.items()})
            assert sizes is not None
            graph = specialize(graph, sizes)
        state = {n: a.astype("f8") if a.dtype.kind == "f" else a for n, a in self.state.items()}
        return Reference(graph, state, training=False).forward(exact)

    def shapes(self, rng: random.Random) -> dict[str, tuple[int, ...]]:
        """Return shapes of its inputs, with numbers for open sizes."""
        sizes = {name: rng.choice([3, 4, 5, 7, 8]) for name in ("H", "W")}
        return {
            name: tuple(n if isinstance(n, int) else sizes[str(n)] for n in shape)
            for name, shape in self.graph.inputs.items()
        }

    def plain(self, rng: random.Random, batch: int | None = None) -> dict[str, Array]:
        """Return ordinary inputs by name."""
        shapes = self.shapes(rng)
        first = drawn(rng, next(iter(shapes.values())), batch)
        return {n: first if i == 0 else drawn(rng, s, len(first))
                for i, (n, s) in enumerate(shapes.items())}  # fmt: skip

    def own_state(self) -> State:
        """Return the parameters that it actually has."""
        if self.kind == "predictor":
            return self.state
        if self.kind == "standalone":
            return {name: array.copy() for name, array in self.it.parameters.items()}
        state: State = self.it.state_dict()
        return state

    def check_state(self) -> None:
        """Raise a find if its parameters were changed."""
        own = self.own_state()
        if list(own) != list(self.state) and self.kind != "standalone":
            raise Find(f"{self.name} has the parameters {list(own)}, not {list(self.state)}")
        for name, array in self.state.items():
            if not np.array_equal(own[name], array, equal_nan=True):
                raise Find(f"`{name}` of {self.name} has changed")

    def check_answer(self, inputs: Mapping[str, Array], x: Any, how: str = "") -> None:
        """Raise a find if an answer is not the reference's."""
        compare(self, self.answer(x), self.expected(inputs), how)


def one_or_all(inputs: Mapping[str, Array]) -> Any:
    """Return the argument of a model: the one array, or all by name."""
    return next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)


def compare(held: Held, ours: Mapping[str, Array], theirs: Mapping[str, Array], how: str) -> None:
    """Raise a find if outputs differ from those of the reference."""
    if set(ours) != set(theirs):
        raise Find(f"{held.name}{how} gives {list(ours)}, the reference {list(theirs)}")
    for name, array in theirs.items():
        if ours[name].shape != array.shape:
            raise Find(f"{held.name}{how}: `{name}` is {ours[name].shape}, not {array.shape}")
        if str(ours[name].dtype) != held.dtype:
            raise Find(f"{held.name}{how}: `{name}` holds {ours[name].dtype}, not {held.dtype}")
        error = agreement(array, ours[name])
        if not error <= TOLERANCE[held.dtype]:
            raise Find(f"{held.name}{how}: `{name}` is off by {error:.2e}")


@dataclass
class Scene:
    """An episode: the objects made so far, and the folder.

    Attributes:
        rng: makes all choices.
        folder: the working folder, empty at first.
        held: the objects that can be used.
        say: is called with what a step is about to do.
    """

    rng: random.Random
    folder: Path
    say: Callable[[str], None]
    held: list[Held] = field(default_factory=list)
    made: int = 0

    def take(self, *kinds: str) -> Held | None:
        """Return an object of one of these kinds, or None."""
        there = [each for each in self.held if not kinds or each.kind in kinds]
        return self.rng.choice(there) if there else None

    def take_trained(self) -> Held | None:
        """Return an object that can be trained, or None."""
        there = [each for each in self.held if each.trains]
        return self.rng.choice(there) if there else None

    def name(self, letter: str) -> str:
        """Return a new name."""
        self.made += 1
        return f"{letter}{self.made}"

    def refused(self, call: Callable[[], Any], about: str) -> None:
        """Raise a find if a call is not rejected with an ordinary error."""
        try:
            call()
        except REFUSALS as error:
            if not str(error).strip():
                raise Find(f"{about}: an error without a word") from error
        else:
            raise Find(f"{about} was not refused")
