"""An affine map of each channel, folded into the layer before it: y = (x @ w + b)*scale + shift."""

from __future__ import annotations

import numpy as np

from netspec.kernels.arrays import Array


def fold(
    weight: Array,
    bias: Array | None,
    scale: Array,
    shift: Array,
    folded_weight: Array,
    folded_bias: Array,
) -> None:
    """`folded_weight = weight * scale` and `folded_bias = bias*scale + shift`.

    weight (O, ...), everything else (O,). A bias of None means zeros.
    """
    outputs = len(weight)
    rows = folded_weight.reshape(outputs, -1)
    np.multiply(weight.reshape(outputs, -1), scale[:, None], out=rows)
    if bias is None:
        np.copyto(folded_bias, shift)
    else:
        np.multiply(bias, scale, out=folded_bias)
        np.add(folded_bias, shift, out=folded_bias)
