"""Blends of pictures of a batch with each other: mixup and cutmix.

Sources: Zhang et al., mixup: Beyond Empirical Risk Minimization (2018); Yun et al., CutMix (2019). As in
torchvision's `MixUp` and `CutMix`, a picture is blended with the one before it in the batch, and a batch
has one share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from netspec.runtime.data.augmentations import Change

_OF_MIXES = 3


class Mix(NamedTuple):
    """How the pictures of a batch are blended.

    Attributes:
        share: How much of each is its own; the rest is its partner's.
        box: The rows and columns, top, bottom, left, right, that are the partner's; None where all
            pixels are blended.
    """

    share: float
    box: tuple[int, int, int, int] | None = None


def draw_mix(
    changes: Sequence[Change], size: tuple[int, int], seed: int, epoch: int, start: int
) -> Mix | None:
    """Draw how a batch is blended; None without changes.

    Args:
        changes: of `netspec.runtime.data.augmentations.MIXES`; one of them is drawn.
        size: (H, W) of a picture.
        seed: of the run.
        epoch: from 1.
        start: the place of the batch's first picture in the order of the epoch.
    """
    if not changes:
        return None
    rng = np.random.default_rng([seed, epoch, _OF_MIXES, start])
    change = changes[int(rng.integers(len(changes)))]
    alpha = float(change.arguments["alpha"])  # type: ignore[arg-type]  # a number
    share = float(rng.beta(alpha, alpha))
    if change.name == "mixup":
        return Mix(share)
    height, width = size
    row, column = int(rng.integers(height)), int(rng.integers(width))
    half = 0.5 * math.sqrt(1.0 - share)
    top, bottom = max(0, int(row - half * height)), min(height, int(row + half * height))
    left, right = max(0, int(column - half * width)), min(width, int(column + half * width))
    own = 1.0 - (bottom - top) * (right - left) / (height * width)
    return Mix(own, (top, bottom, left, right))


def blended(own: Any, partners: Any, mix: Mix) -> Any:
    """Return pictures (N, C, H, W) blended with their partners; arrays, or tensors of PyTorch.

    With a box the own ones are changed, so that the two must not share memory.
    """
    if mix.box is None:
        return own * mix.share + partners * (1.0 - mix.share)
    top, bottom, left, right = mix.box
    own[:, :, top:bottom, left:right] = partners[:, :, top:bottom, left:right]
    return own
