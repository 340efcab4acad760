"""What attention and multi-head attention share: the softmax of the scores, and a code."""

import math
from dataclasses import dataclass

from netspec.compiler.ir.contract import *

ATTENTION_MISMATCH = Code.error(
    "shape/attention-mismatch", "query, key and value of shapes that do not fit together"
)


@dataclass(frozen=True)
class Scores:
    """What becomes of the scores q k^T / sqrt(D), (..., T, S), before and behind the softmax.

    Attributes:
        causal: whether query t sees the keys 0 to t alone.
        bias: added to the scores.
        mask: 0 where a key is hidden from a query; a query that sees none gets zeros.
        kept: what the softmax is multiplied by, a mask of dropout.
    """

    causal: bool = False
    bias: Array | float = 0.0
    mask: Array | None = None
    kept: Array | float = 1.0

    def shares(self, q: Array, k: Array) -> Array:
        """p, the softmax of the scores along the keys."""
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + self.bias
        if self.causal:
            scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, -np.inf)
        if self.mask is not None:
            scores = np.where(self.mask > 0, scores, -np.inf)
        largest = scores.max(axis=-1, keepdims=True)
        found = np.exp(scores - np.where(largest == -np.inf, 0, largest))
        total = found.sum(axis=-1, keepdims=True)
        result: Array = found / np.where(total == 0, 1, total)
        return result


def attend(scores: Scores, q: Array, k: Array, v: Array) -> Array:
    """p v, with p the softmax of the scores, for shapes (..., T, D), (..., S, D) and (..., S, E)."""
    y: Array = (scores.shares(q, k) * scores.kept) @ v
    return y


def attend_backward(
    scores: Scores, dy: Array, q: Array, k: Array, v: Array
) -> tuple[Array, Array, Array, Array]:
    """The gradients of q, k, v and of the scores, which is that of the bias."""
    p = scores.shares(q, k)
    dp = dy @ v.swapaxes(-1, -2) * scores.kept
    dscores: Array = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    ds = dscores / math.sqrt(q.shape[-1])
    return ds @ k, ds.swapaxes(-1, -2) @ q, (p * scores.kept).swapaxes(-1, -2) @ dy, dscores
