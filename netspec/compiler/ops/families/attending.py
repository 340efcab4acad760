"""What attention and multi-head attention share: the softmax of the scores, and a code."""

import math

from netspec.compiler.ir.contract import *
from netspec.records import record

ATTENTION_MISMATCH = Code.error(
    "shape/attention-mismatch", "query, key and value of shapes that do not fit together"
)


@record
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


def onnx_attention(
    to: OnnxForm,
    query: tuple[OnnxValue, Shape],
    key: tuple[OnnxValue, Shape],
    value: OnnxValue,
    *,
    bias: OnnxValue | None = None,
    mask: OnnxValue | None = None,
    causal: bool = False,
) -> OnnxValue:
    """Append `attend` for values (N, ..., T, D), given with their shapes for one image.

    The attention operator of opset 23 is not used: few runtimes have it.
    """
    (q, of_q), (k, of_k) = query, key
    axes = (*range(1, len(of_k) - 1), len(of_k), len(of_k) - 1)
    scaled = to("Div", q, to("Sqrt", to.size_as_float(of_q[-1])))
    scores = to("MatMul", scaled, to.transposed(k, axes))
    if bias is not None:
        scores = to("Add", scores, bias)
    seen = None if mask is None else to("Greater", mask, to.float(0))
    if causal:
        ones = to("Expand", to.float(1), to.sizes((of_q[-2], of_k[-2])))
        earlier = to("Greater", to("Trilu", ones, upper=0), to.float(0))
        seen = earlier if seen is None else to("And", seen, earlier)
    if seen is not None:
        scores = to("Where", seen, scores, to.float(-math.inf))
    shares = to("Softmax", scores, axis=-1)
    if mask is not None:  # a query that sees no key gets zeros, not NaN
        shares = to("Where", seen, shares, to.float(0))
    return to("MatMul", shares, value)
