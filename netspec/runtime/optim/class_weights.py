"""Weights of classes: how much the targets of each count in the mean of a loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.data.choices import is_number, require
from netspec.runtime.data.dataset import IGNORED
from netspec.runtime.optim.targets import Classes, Labels

# The word for weights with which every class that occurs counts as much as any other.
BALANCED = "balanced"
# A number for each class; nothing where all count alike; or `BALANCED`, until labels are known.
ClassWeights = tuple[float, ...] | str

T = TypeVar("T")


def checked(weights: Sequence[float] | str) -> ClassWeights:
    """Return weights as they are kept.

    Raises:
        NetspecError: `train/bad-option` for anything but numbers from 0 on, of which one is more.
    """
    if weights == BALANCED or isinstance(weights, str):
        require(weights == BALANCED, f"class weights are numbers or `{BALANCED}`, not {weights!r}")
        return BALANCED
    sound = all(is_number(weight) and weight >= 0 for weight in weights)
    require(
        sound and (not len(weights) or max(weights) > 0),
        f"class weights must be at least 0, and one of them more, not {weights!r}",
    )
    return tuple(map(float, weights))


def known(weights: ClassWeights) -> tuple[float, ...]:
    """Return the numbers; none before those that balance are known."""
    return () if isinstance(weights, str) else weights


def for_labels(loss: T, labels: Labels, classes: int) -> T:
    """Return a loss with a weight for each class of a net.

    Args:
        loss: any loss; those without class weights are returned as they are.
        labels: (N, ...) those trained on.
        classes: how many classes the net has scores for.

    Raises:
        NetspecError: `train/bad-option` for another number of weights.
    """
    weights: ClassWeights = getattr(loss, "class_weights", ())
    if weights == BALANCED:
        changed: Any = loss
        return replace(changed, class_weights=balanced(labels, classes))  # type: ignore[no-any-return]
    require(
        len(weights) in (0, classes),
        f"there are {len(weights)} class weights; the network has scores for {classes} classes",
    )
    return loss


def balanced(labels: Labels, classes: int) -> tuple[float, ...]:
    """Return M / (K n) for each class of n labels, for M labels of K classes; 1 for those without.

    Source: scikit-learn's `class_weight="balanced"`.
    """
    counts = np.bincount(labels[labels != IGNORED].reshape(-1), minlength=classes)
    occurring = int((counts > 0).sum())
    weights = np.ones(classes)
    np.divide(counts.sum(), occurring * counts, out=weights, where=counts > 0)
    return tuple(weights.tolist())


class WeightedClasses(Classes):
    """Classes whose targets count as much as their weights say."""

    def __init__(self, weights: tuple[float, ...]) -> None:
        self._weights = np.array(weights)

    def counts(self, targets: Labels) -> NDArray[Any]:
        """See `Targets`: the sum of the weights of each image's targets."""
        each = np.where(targets == IGNORED, 0.0, self._weights[np.maximum(targets, 0)])
        found: NDArray[Any] = each.sum(axis=tuple(range(1, targets.ndim)))
        return found
