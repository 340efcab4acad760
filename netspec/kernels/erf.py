"""The error function, which NumPy lacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from netspec.kernels.arrays import Array, as_one, chunks

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

# For float32, erf(x) = x P(x^2) / Q(x^2): the coefficients of P and Q, highest power first, as in XLA's
# and Eigen's `erf` of single precision.
SINGLE_P = (
    0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861, 0.18520832239976145,
    1.128379143519084,
)  # fmt: skip
SINGLE_Q = (
    -1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885, 0.014070470171167667,
    0.11098505178285362, 0.49746925110067538, 1.0,
)  # fmt: skip
# There the fraction is above 1, so that it can be cut off at 1 exactly: else `gelu` would be wrong for
# large negative numbers, which multiply what is left to 1.
SINGLE_FAR = 4.0

# Beyond this the value is 1 to the last digit.
FAR = 10.0

# How many numbers are computed at a time, so that temporary arrays stay in cache: in float32 a call is
# else so short that two threads, which share Python's lock, are no faster than one.
BLOCK, SINGLE_BLOCK = 1 << 14, 1 << 18


def powers(coefficients: tuple[float, ...]) -> list[float]:
    """Return the same sum as powers of 2t - 1, highest first: half the work of Clenshaw's recurrence."""
    first, *others = coefficients
    lowest_first = np.polynomial.chebyshev.cheb2poly([first / 2, *others])
    return [float(coefficient) for coefficient in lowest_first[::-1]]


POWERS = powers(COEFFICIENTS)


def erf(x: Array | float, *, out: Array | None = None) -> Array:
    """Write the error function of x, broadcast, to `out`, which must be contiguous and may be x.

    Without `out` it is a new array. The error is below 2e-15 in float64, and below
    3.5e-7 of the value in float32.
    """
    if out is None:
        x = np.asarray(x)
        out = np.empty(x.shape, x.dtype if x.dtype.kind == "f" else np.float64)
    if out is not x:
        np.copyto(out, x)
    as_one(_erf, out)
    return out


def _erf(array: Array) -> None:
    """Replace the numbers of an array by their error function, in place."""
    array = array.reshape(-1)
    single = array.dtype == np.float32
    most = SINGLE_BLOCK if single else BLOCK
    work = np.empty((4, min(most, array.size)), np.float32 if single else np.float64)
    with np.errstate(under="ignore"):  # the square of a tiny number underflows
        for block in chunks(array.size, most):
            own = work[:, : block.stop - block.start]
            if single:
                _single_block(array[block], *own[:3])
            else:
                _double_block(array[block], *own)


def _single_block(x: Array, square: Array, above: Array, below: Array) -> None:
    np.clip(x, -SINGLE_FAR, SINGLE_FAR, out=x)
    np.multiply(x, x, out=square)
    _polynomial(square, SINGLE_P, above)
    _polynomial(square, SINGLE_Q, below)
    above /= below
    x *= above
    np.clip(x, -1, 1, out=x)


def _polynomial(x: Array, coefficients: Sequence[float], out: Array) -> None:
    """Write the sum of powers of x, highest first, by Horner's rule."""
    np.multiply(x, coefficients[0], out=out)
    for coefficient in coefficients[1:-1]:
        out += coefficient
        out *= x
    out += coefficients[-1]


def _double_block(x: Array, size: Array, t: Array, u: Array, value: Array) -> None:
    np.abs(x, out=size)
    np.minimum(size, FAR, out=size)
    np.add(size, 2, out=t)
    np.divide(2, t, out=t)
    np.multiply(t, 2, out=u)
    u -= 1
    _polynomial(u, POWERS, value)
    size *= size
    value -= size
    np.exp(value, out=value)
    value *= t
    np.subtract(1, value, out=value)
    np.copysign(value, x, out=x, casting="same_kind")
