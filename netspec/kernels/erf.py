"""The error function, which NumPy lacks: for programs that have no SciPy."""

from __future__ import annotations

import numpy as np

from netspec.kernels.arrays import Array

# Chebyshev coefficients, in 4t - 2 with t = 2 / (2 + |x|), of log(erfc(|x|) exp(x^2) / t).
# The form is Numerical Recipes' (Press et al. 2007, 6.2.2).
COEFFICIENTS = (
    -1.3026537197817094, 6.4196979235649021e-1, 1.9476473204185870e-2, -9.561514786808792e-3,
    -9.465953444820555e-4, 3.668394978527112e-4, 4.252332480695481e-5, -2.0278578112542522e-5,
    -1.6242900045537745e-6, 1.30365583587283e-6, 1.562644188352058e-8, -8.523809631733048e-8,
    6.529054408233037e-9, 5.059343971547392e-9, -9.913639908987193e-10, -2.2736534877054737e-10,
    9.646830556597763e-11, 2.394140441452919e-12, -6.886102799086302e-12, 8.941736240331011e-13,
    3.1290248170279256e-13, -1.1306233727026438e-13, 6.314393452555578e-16, 6.786238238021269e-15,
)  # fmt: skip


# Beyond this the value is 1, to the last digit.
FAR = 10.0


def erf(x: Array, *, out: Array) -> Array:
    """Write the error function of x to `out`, which may be x.

    Within 3e-15 in float64, and to the last digit in float32.
    """
    size = np.minimum(np.abs(x, dtype=np.float64), FAR)
    t = 2 / (2 + size)
    y = 4 * t - 2
    sums, before = np.zeros_like(y), np.zeros_like(y)  # Clenshaw's recurrence
    for coefficient in COEFFICIENTS[:0:-1]:
        before *= -1
        before += coefficient
        before += y * sums
        sums, before = before, sums
    np.square(size, out=size)
    exponent = 0.5 * (COEFFICIENTS[0] + y * sums) - before - size
    np.exp(exponent, out=exponent)
    exponent *= t
    np.copysign(1 - exponent, x, out=out, casting="same_kind")
    return out
