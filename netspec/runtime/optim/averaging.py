"""The moving average of the weights over the steps of a run."""

from __future__ import annotations


def decay_at(decay: float, step: int) -> float:
    """Return how much of the average remains in a step, counted from 1: less in the first ones.

        average = d * average + (1 - d) * weights, d = min(decay, (1 + step) / (10 + step))

    The average begins at the initial weights, which a short run would otherwise hold on to.

    Source: Polyak and Juditsky (1992); TensorFlow's ExponentialMovingAverage(num_updates).
    """
    return min(decay, (1 + step) / (10 + step))
