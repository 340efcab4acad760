"""Limits a NaN or an infinity in a picture to the outputs of a convolution whose windows hold it.

`conv` and `winograd` multiply by zeros where that is faster. Because 0 times NaN is NaN, it would
spread to neighbouring outputs too. So outputs that are not finite are computed again without such
products.
"""

from math import isfinite

import numpy as np

from netspec.kernels.arrays import Array, as_one
from netspec.kernels.windows import Window, clipped_taps


def mend(x: Array, kernel: Array, bias: Array | None, out: Array, window: Window) -> None:
    """Compute the outputs of `out = x * kernel + bias` that are not finite again, one tap at a time.

    x (N, H, W, C), kernel (O, C, kh, kw), bias (O,) or None, out (N, OH, OW, O). If everything is
    finite, this costs as much as reading the outputs once.
    """
    shape, flat = out.shape, out.flags.c_contiguous

    def task(numbers: Array, x: Array, kernel: Array, bias: Array | float = 0.0) -> None:
        # NaN and infinity survive in either sum; very large numbers may overflow and look like
        # them.
        with np.errstate(over="ignore", invalid="ignore"):
            if isfinite(numbers.dot(numbers) if flat else np.add.reduce(numbers, axis=None)):
                return
            for picture, result in zip(x, numbers.reshape(shape), strict=True):
                _mend_picture(picture, kernel, bias, result, window)

    numbers = out.reshape(-1) if flat else out
    as_one(task, numbers, reads=(x, kernel) if bias is None else (x, kernel, bias))


def _mend_picture(x: Array, kernel: Array, bias: Array | float, out: Array, window: Window) -> None:
    """The same for one picture: x (H, W, C), out (OH, OW, O)."""
    wrong = ~np.isfinite(out)
    if not wrong.any():
        return
    exact = np.zeros(out.shape, out.dtype)
    height, width = x.shape[:2]
    for tap in clipped_taps(window, range(len(out)), range(out.shape[1]), (height, width)):
        exact[tap.out_h, tap.out_w] += x[tap.in_h, tap.in_w] @ kernel[:, :, tap.i, tap.j].T
    np.copyto(out, exact + bias, where=wrong)
