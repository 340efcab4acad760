"""Connectionist temporal classification in NumPy: all alignments at once, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netspec import codes
from netspec.diagnostics import NetspecError, plural
from netspec.runtime.data.dataset import IGNORED

Floats = NDArray[np.floating]
_BLANK = 0


def ctc(scores: Floats, targets: NDArray[np.integer], dscores: Floats) -> float:
    """Return the loss of `ConnectionistTemporalClassification`, and write its gradient.

    The states of a target c1 c2 .. cL are - c1 - c2 - .. cL -, with blanks between. a[t, s] is the log
    of the probability of all ways to state s in step t, and b[t, s] that of all ways from there to the
    end. With the log-probabilities y: loss = -log p, p = sum_s exp(a[t, s] + b[t, s]) in every step, and
    dL/dz[t, k] = softmax(z)[t, k] - sum over s of class k of exp(a[t, s] + b[t, s]) / p.

    Args:
        scores: (N, T, K); class 0 is the blank.
        targets: (N, L), from 1; filled up with `IGNORED`.
        dscores: (N, T, K), the gradient; it may be the scores.
    """
    batch, steps, _ = scores.shape
    lengths = (targets != IGNORED).sum(axis=1)
    states = np.full((batch, 2 * targets.shape[1] + 1), _BLANK)
    states[:, 1::2] = np.where(targets == IGNORED, _BLANK, targets)
    shifted = scores.astype(np.float64) - scores.max(axis=2, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
    # (T, N, S), the log-probability of each state's class.
    own = np.take_along_axis(logs, states[:, None, :], axis=2).transpose(1, 0, 2)
    # A state follows from itself, the one before, and over a blank from another class.
    leaps = np.zeros(states.shape, bool)
    leaps[:, 2:] = (states[:, 2:] != _BLANK) & (states[:, 2:] != states[:, :-2])
    ends = np.stack([2 * lengths, np.maximum(2 * lengths - 1, 0)], axis=1)
    forward, backward = np.full((2, *own.shape), -np.inf)
    rows = np.arange(batch)
    with np.errstate(invalid="ignore", divide="ignore"):
        forward[0, :, 0] = own[0, :, 0]
        has_any = lengths > 0
        if states.shape[1] > 1:
            forward[0, has_any, 1] = own[0, has_any, 1]
        for t in range(1, steps):
            forward[t] = own[t] + _arriving(forward[t - 1], leaps)
        backward[-1, rows[:, None], ends] = 0.0
        reached = np.roll(leaps, -2, axis=1)[:, ::-1]
        for t in range(steps - 2, -1, -1):
            following = (backward[t + 1] + own[t + 1])[:, ::-1]
            backward[t] = _arriving(following, reached)[:, ::-1]
        total = np.logaddexp.reduce(forward[-1][rows[:, None], ends], axis=1, where=[
            [True, True] if some else [True, False] for some in has_any.tolist()
        ], initial=-np.inf)  # fmt: skip
        ways = np.exp(forward + backward - total[:, None])  # (T, N, S)
    counts = np.maximum(lengths, 1)
    gradient = np.exp(logs)
    for t in range(steps):
        np.subtract.at(gradient[:, t], (rows[:, None], states), ways[t])
    gradient /= (counts * batch)[:, None, None]
    dscores[...] = gradient
    return float((-total / counts).mean())


def require_steps(targets: NDArray[np.integer], steps: int, of: str = "the batch") -> None:
    """Check that the steps suffice for each target: one for a class, and a blank between equal ones.

    Args:
        targets: (N, L), filled up with `IGNORED`.
        steps: T.
        of: What the targets are of, for the error.

    Raises:
        NetspecError: `data/shape`.
    """
    lengths = (targets != IGNORED).sum(axis=1)
    repeats = ((targets[:, 1:] == targets[:, :-1]) & (targets[:, 1:] != IGNORED)).sum(axis=1)
    needed = lengths + repeats
    if not (needed > steps).any():
        return
    at = int(np.argmax(needed > steps))
    apart = f" and {plural(int(repeats[at]), 'blank')} between equal ones" if repeats[at] else ""
    raise NetspecError.simple(
        codes.DATA_SHAPE,
        f"target {at} of {of} is longer than its steps: {plural(int(lengths[at]), 'label')}"
        f"{apart} need {needed[at]} steps, and the scores have {steps}",
        "leave out such sequences, or let the net give more steps",
    )


def _arriving(before: Floats, leaps: NDArray[np.bool_]) -> Floats:
    """Return the log of the sum of what comes from the same state, the one before and, in a leap, two."""
    after = before.copy()
    after[:, 1:] = np.logaddexp(after[:, 1:], before[:, :-1])
    far = np.where(leaps[:, 2:], before[:, :-2], -np.inf)
    after[:, 2:] = np.logaddexp(after[:, 2:], far)
    return after
