"""What attention and multi-head attention share: the softmax of the scores, and a code."""

import math

from netspec.compiler.ir.contract import *

ATTENTION_MISMATCH = Code.error(
    "shape/attention-mismatch", "query, key and value of shapes that do not fit together"
)


def attend(q: Array, k: Array, v: Array, bias: Array | float = 0.0, *, causal: bool) -> Array:
    """p v, with p the softmax of the scores q k^T / sqrt(D) + bias; shapes (..., T, D), (..., S, D),
    (..., S, E) and (..., T, S).
    """
    y: Array = _shares(q, k, bias, causal=causal) @ v
    return y


def attend_backward(
    dy: Array, q: Array, k: Array, v: Array, bias: Array | float = 0.0, *, causal: bool
) -> tuple[Array, Array, Array, Array]:
    """The gradients of q, k, v and of the scores, which is that of the bias."""
    p = _shares(q, k, bias, causal=causal)
    dp = dy @ v.swapaxes(-1, -2)
    dscores: Array = p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    ds = dscores / math.sqrt(q.shape[-1])
    return ds @ k, ds.swapaxes(-1, -2) @ q, p.swapaxes(-1, -2) @ dy, dscores


def _shares(q: Array, k: Array, bias: Array | float, *, causal: bool) -> Array:
    """p, the softmax of the scores along the keys."""
    scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) + bias
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=np.bool_), scores, -np.inf)
    found = np.exp(scores - scores.max(axis=-1, keepdims=True))
    result: Array = found / found.sum(axis=-1, keepdims=True)
    return result
