"""Continues sequences of tokens with a net that has scores for the next one."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.compiler.ir.graph import Graph
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.models.classifier_shape import image_shape, scores_output, scores_shape
from netspec.runtime.models.continuing import Continued
from netspec.runtime.models.inputs import Inputs

Forward = Callable[[NDArray[Any]], Any]


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn from its scores.

    Attributes:
        temperature: The scores are divided by it: below 1 the likely become likelier. 0 takes the best.
        top_k: Only this many of the best are drawn from; None for all.
        top_p: Only the fewest of the best are drawn from whose probabilities sum to this.
        seed: Of the random numbers. The same seed gives the same tokens, with either backend.
        known: Only tokens below it are drawn, which are those of a vocabulary; None for all. A net
            may have scores for more.

    Raises:
        NetspecError: `train/bad-option` for a value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0
    known: int | None = None

    def __post_init__(self) -> None:
        require(
            is_number(self.temperature) and self.temperature >= 0,
            f"the temperature must be at least 0, not {self.temperature!r}",
        )
        require(
            self.top_k is None or (isinstance(self.top_k, int) and self.top_k >= 1),
            f"top_k must be at least 1, not {self.top_k!r}",
        )
        require(
            is_number(self.top_p) and 0 < self.top_p <= 1,
            f"top_p must be above 0 and at most 1, not {self.top_p!r}",
        )
        require(
            isinstance(self.seed, int) and self.seed >= 0,
            f"seed must be a whole number from 0 on, not {self.seed!r}",
        )

    def draw(self, scores: NDArray[Any], rng: np.random.Generator) -> int:
        """Return a token, given the scores (K,) of all. Equal scores are taken in their order."""
        z = scores[: self.known].astype(np.float64)
        best = np.argsort(-z, kind="stable")[: self.top_k]
        if self.temperature == 0:
            return int(best[0])
        powers = np.exp((z[best] - z[best[0]]) / self.temperature)
        shares = np.cumsum(powers / powers.sum())
        # The first whose sum reaches top_p is the last that may be drawn.
        kept = min(int(np.searchsorted(shares, self.top_p * (1 - 1e-12))) + 1, len(best))
        chosen = int(np.searchsorted(shares[:kept], rng.random() * shares[kept - 1], side="right"))
        return int(best[min(chosen, kept - 1)])


SAMPLING = Sampling()


def _tokens(prompt: Sequence[int]) -> list[int]:
    """Return the tokens of a prompt.

    Raises:
        NetspecError: `train/bad-option` if there is none, or if it holds something else.
    """
    require(len(prompt) > 0, "the prompt has no token: give one to begin with")
    for at, token in enumerate(prompt):
        require(
            isinstance(token, numbers.Integral)
            and not isinstance(token, bool)
            and abs(int(token)) < 1 << 63,
            f"the prompt holds {token!r} at {at}, and takes whole numbers, which are tokens",
            "a data set's `vocabulary.encode` gives those of a text",
        )
    return [int(token) for token in prompt]


def generate(
    graph: Graph,
    forward: Forward,
    prompt: Sequence[int],
    length: int | None,
    sampling: Sampling,
    continued: Callable[[], Continued | None] = lambda: None,
) -> Iterator[int]:
    """Yield the tokens that follow a prompt, each drawn from the scores behind all before it.

    The net has one input [T] of tokens and scores [T, classes], of which those at t depend on the
    tokens up to t alone: it is recurrent, or its attention is causal. It reads the last T tokens; while
    there are fewer, the rest of its input is filled with token 0, which a causal net does not see.

    A net that can be continued reads each token once, as long as there are at most T. Behind that
    every token has another place in the window than before, which is computed as a whole.

    Args:
        graph: The net.
        forward: Returns the outputs of a batch in evaluation mode.
        prompt: The tokens to begin with, at least one.
        length: How many follow; None never ends.
        sampling: How they are drawn.
        continued: Returns what reads new tokens; None if the net cannot be continued.

    Raises:
        NetspecError: `model/scores`, `model/inputs`, `model/open-size`, `model/places` for a token that
            the net does not know, `model/not-finite`, `train/bad-option`.
    """
    (size,) = _shape(graph)
    tokens = _tokens(prompt)
    rng = np.random.default_rng([sampling.seed, 3])
    window = np.zeros((1, size), np.int64)
    window[0, : len(tokens)] = tokens[-size:]
    Inputs(graph, np.dtype(np.float64)).check(window)
    reader = continued() if len(tokens) <= size else None
    new = tokens
    for _ in itertools.count() if length is None else range(length):
        last = tokens[-size:]
        if reader is not None and len(tokens) <= size:
            following = reader.scores(new)
        else:
            reader = None
            window[0, : len(last)] = last
            outputs = forward(window)
            scores = outputs[scores_output(graph)] if isinstance(outputs, dict) else outputs
            following = scores[0, len(last) - 1]
        if not np.isfinite(following).all():
            raise NetspecError.simple(
                codes.MODEL_NOT_FINITE, "the scores are not finite", "the weights are damaged"
            )
        new = [sampling.draw(following, rng)]
        tokens = [*last, *new]
        yield new[0]


def _shape(graph: Graph) -> tuple[int, ...]:
    """Return the shape of the input, [T], of a net that has scores for each token.

    Raises:
        NetspecError: see `generate`.
    """
    shape, scores = image_shape(graph), scores_shape(graph)
    if len(shape) != 1 or len(scores) != 2 or scores[0] != shape[0]:
        raise NetspecError.simple(
            codes.MODEL_SCORES,
            f"{graph.name} makes [N, {', '.join(map(str, scores))}] of"
            f" [N, {', '.join(map(str, shape))}]; tokens are generated by a net that makes"
            " [N, T, classes] of [N, T]",
        )
    return shape
