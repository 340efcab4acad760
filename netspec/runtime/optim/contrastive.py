"""The contrastive loss of pairs, with which a net learns from two views of each image, without labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.runtime.data.choices import is_number, require
from netspec.runtime.optim.targets import Floats, Labels, Targets

if TYPE_CHECKING:
    from torch import Tensor

# A shorter vector is divided by this instead of its length.
_SHORTEST = 1e-12


@dataclass(frozen=True, kw_only=True)
class NormalizedTemperatureCrossEntropy:
    """NT-Xent: each view is to find the other one of its image among all views of the batch.

    The output is [2, D], a vector for each view. With the 2N vectors of a batch divided by their lengths,
    u, and s = u u^T / temperature, the loss is the mean over the views i of the cross-entropy of s[i, k],
    k != i, whose target is the other view of the image. Labels are not read, and there are no accuracies.
    In several processes each finds its views among its own part of a batch. Source: Chen et al., A simple
    framework for contrastive learning (2020); CS231n's `simclr_loss_vectorized`.

    Attributes:
        temperature: What the cosines are divided by.

    Raises:
        NetspecError: `train/bad-option` for a temperature that is not above 0.
    """

    targets: ClassVar[Targets | None] = None
    temperature: float = 0.5

    def __post_init__(self) -> None:
        require(
            is_number(self.temperature) and self.temperature > 0,
            f"the temperature must be above 0, not {self.temperature!r}",
        )

    def value(self, logits: Floats, targets: Labels) -> float:
        """See `Loss`."""
        return self.value_and_gradient(logits, targets, np.empty_like(logits))

    def value_and_gradient(self, logits: Floats, targets: Labels, dlogits: Floats) -> float:
        """See `Loss`. `dlogits` may be `logits` itself.

        With p the softmax of s and q the targets, g = (p - q) / (2 N temperature):
        du = (g + g^T) u, dz = (du - u (u . du)) / |z|.
        """
        self._require_pairs(logits.shape)
        rows = logits.reshape(-1, logits.shape[2])
        numbers = np.arange(len(rows))
        lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _SHORTEST)
        unit = rows / lengths
        scores = unit @ unit.T / self.temperature
        scores[numbers, numbers] = -np.inf
        scores -= scores.max(axis=1, keepdims=True)
        other = numbers ^ 1
        right = scores[numbers, other]
        np.exp(scores, out=scores)
        total = scores.sum(axis=1, keepdims=True)
        loss = float(np.mean(np.log(total[:, 0]) - right, dtype=np.float64))
        scores /= total
        scores[numbers, other] -= 1
        slope = (scores + scores.T) @ unit / (len(rows) * self.temperature)
        slope -= unit * (unit * slope).sum(axis=1, keepdims=True)
        dlogits[...] = (slope / lengths).reshape(logits.shape)
        return loss

    def in_torch(self, logits: Tensor, targets: Tensor) -> Tensor:
        """See `Loss`."""
        import torch
        from torch.nn import functional

        self._require_pairs(tuple(logits.shape))
        unit = functional.normalize(logits.flatten(0, 1), dim=1, eps=_SHORTEST)
        numbers = torch.arange(len(unit), device=unit.device)
        same = numbers[:, None] == numbers
        scores = (unit @ unit.T / self.temperature).masked_fill(same, -torch.inf)
        return functional.cross_entropy(scores, numbers ^ 1)

    @staticmethod
    def _require_pairs(shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[1] != 2:
            raise NetspecError.simple(
                codes.MODEL_SCORES,
                f"the output is [N, {', '.join(map(str, shape[1:]))}]; the contrastive loss needs a"
                " vector for each of two views, [N, 2, features]",
            )
