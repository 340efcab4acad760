"""The loss of images that are blended of two, with the labels of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from netspec.runtime.data.mixing import Mix
from netspec.runtime.optim.losses import Loss
from netspec.runtime.optim.targets import OF_CLASSES, Floats, Labels, Targets, targets_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MixedLoss:
    """A share of the loss for the first label, and the rest of that for the second.

    The labels are (N, 2). For cross-entropy it is the loss of a target that is as mixed.

    Attributes:
        loss: The loss for one label.
        share: How much the first one counts.
    """

    loss: Loss
    share: float

    @property
    def targets(self) -> Targets:
        """See `Loss`."""
        return targets_of(self.loss) or OF_CLASSES

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        first, second = (self.loss.value(logits, targets[:, i]) for i in (0, 1))
        return self.share * first + (1.0 - self.share) * second

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`."""
        other = np.empty_like(logits)
        second = self.loss.value_and_gradient(logits, targets[:, 1], other)
        first = self.loss.value_and_gradient(logits, targets[:, 0], dlogits)
        other *= 1.0 - self.share
        dlogits *= self.share
        dlogits += other
        return self.share * first + (1.0 - self.share) * second

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        first, second = (self.loss.in_torch(logits, targets[:, i]) for i in (0, 1))
        return self.share * first + (1.0 - self.share) * second


def mixed_loss(loss: Loss, mix: Mix | None) -> Loss:
    """Return the loss of images that are blended so; the same if they are not."""
    return loss if mix is None else MixedLoss(loss, mix.share)
