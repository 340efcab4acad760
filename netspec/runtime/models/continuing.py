"""Scores for the next token from the tokens that are new, by what is held of those before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.step_form import NotCausalError
from netspec.compiler.ops import registry
from netspec.compiler.passes.one_step import PLACES, SEEN, Continuation, continuation
from netspec.runtime.models.classifier_shape import image_shape, scores_output

Array = NDArray[Any]


# Fewer new tokens are read one after another: a graph for a number of tokens must be compiled first.
SEVERAL = 16


class Arrays(Protocol):
    """A backend that computes the outputs of one graph, for one image, with a model's parameters."""

    def given(self, name: str, array: Array) -> Any:
        """Return numbers as an input of the graph, by its name."""
        ...

    def held(self, shape: tuple[int, ...], value: float) -> Any:
        """Return a new array of the backend's, filled with a number."""
        ...

    def run(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the outputs by name, which the next run may overwrite."""
        ...

    def array(self, value: Any) -> Array:
        """Return an output as an array of NumPy."""
        ...


Compile = Callable[[Graph], Arrays]


class Continued:
    """A sequence of which each token is read once, up to as many as the net has positions.

    Args:
        graph: a net of tokens (T,) with scores (T, classes), of known size.
        compile: makes what computes a graph for new tokens. It is called once for one token at a time,
            and once for several.

    Raises:
        NotCausalError: if the net cannot be continued.
    """

    def __init__(self, graph: Graph, compile: Compile) -> None:
        self._graph, self._compile = graph, compile
        ((self._tokens, _),) = graph.inputs.items()
        (self._size,) = image_shape(graph)
        one = _of(graph, 1)
        self._singly = one.singly
        self._made = {1: (one, compile(one.graph))}
        self._held: dict[str, Any] = {}
        self._read = 0

    def scores(self, tokens: Sequence[int]) -> Array:
        """Return the scores (classes,) behind the last of these new tokens, which are at least one."""
        singly = self._singly or len(tokens) < SEVERAL
        parts = [[token] for token in tokens] if singly else [list(tokens)]
        for part in parts:
            rows = self._over(part)
        last: Array = rows[0, -1]
        return last

    def _over(self, tokens: list[int]) -> Array:
        """Return the scores (1, n, classes) of new tokens, and hold what is needed of them."""
        n = len(tokens)
        if n not in self._made:
            several = _of(self._graph, n)
            self._made[n] = several, self._compile(several.graph)
        made, arrays = self._made[n]
        given = {self._tokens: np.array([tokens])}
        if PLACES in made.graph.inputs:
            given[PLACES] = np.arange(self._read, self._read + n)[None]
        if SEEN in made.graph.inputs:
            old = np.broadcast_to(np.arange(self._size) < self._read, (n, self._size))
            given[SEEN] = np.concatenate([old, np.tri(n, dtype=bool)], axis=1)[None]
        inputs = {name: arrays.given(name, array) for name, array in given.items()}
        for each in made.held:
            if each.name not in self._held:
                self._held[each.name] = arrays.held((1, *each.shape), each.start)
            inputs[each.name] = self._held[each.name]
        outputs = arrays.run(inputs)
        for each in made.held:
            if each.axis is not None:
                part = (slice(None),) * each.axis + (slice(self._read, self._read + n),)
                self._held[each.name][part] = outputs[each.name]
            elif each.name in outputs:
                self._held[each.name][...] = outputs[each.name]
        self._read += n
        return arrays.array(outputs[made.output])


def _of(graph: Graph, count: int) -> Continuation:
    return continuation(graph, scores_output(graph), count, registry())


def continued(graph: Graph, compile: Compile) -> Continued | None:
    """Return what reads a sequence token by token, see `Continued`; None if the net must be computed
    for all positions at a time.
    """
    try:
        return Continued(graph, compile)
    except NotCausalError:
        return None


def why_not_continued(graph: Graph) -> str | None:
    """Return why a net must be computed for all positions at a time; None if it can be continued."""
    try:
        _of(graph, 1)
    except NotCausalError as error:
        return str(error)
    return None
