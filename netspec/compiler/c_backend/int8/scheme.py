"""How numbers become whole ones of 8 bits, and back; products of theirs rounded as TensorFlow Lite does.

A number is scale * (q - zero). Source: Jacob et al., Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference (2018), and gemmlowp's fixed point, which TFLite uses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.records import record

Array = NDArray[Any]

LOW, HIGH = -128, 127


@record
class Scale:
    """A number is `scale` * (q - `zero`), q being -128 to 127."""

    scale: float
    zero: int

    def quantized(self, values: Array) -> Array:
        """Return whole numbers for numbers, in single precision as the C file does."""
        with np.errstate(invalid="ignore"):
            places = np.rint(values.astype(np.float32) / np.float32(self.scale))
        whole: Array = np.clip(np.nan_to_num(places) + self.zero, LOW, HIGH).astype(np.int64)
        return whole

    def numbers(self, whole: Array) -> Array:
        """Return the numbers that whole ones stand for, in single precision."""
        numbers: Array = (whole - self.zero).astype(np.float32) * np.float32(self.scale)
        return numbers


def scale_of(low: float, high: float) -> Scale:
    """Return the scale for numbers in a range, which is made to contain 0, a whole number's value."""
    low, high = min(low, 0.0), max(high, 0.0)
    exact = float(np.float32((high - low) / (HIGH - LOW)))
    # Below the normal numbers a scale would have fewer digits.
    step = max(exact, float(np.finfo(np.float32).tiny)) if exact else 1.0
    return Scale(step, int(min(max(round(LOW - low / step), LOW), HIGH)))


@record
class Factor:
    """A positive number as multiplier * 2^(shift - 31), the multiplier having 31 bits."""

    multiplier: int
    shift: int


def factor_of(number: float) -> Factor:
    """Return the factor nearest to a positive number."""
    mantissa, exponent = math.frexp(number)
    multiplier = round(mantissa * 2**31)
    if multiplier == 2**31:
        multiplier, exponent = multiplier // 2, exponent + 1
    return Factor(multiplier, exponent) if exponent >= -31 else Factor(0, 0)


def scaled(whole: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """Return whole numbers times factors, rounded twice as `MultiplyByQuantizedMultiplier` does."""
    left, right = np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0)
    product = (whole << left) * np.asarray(multiplier, np.int64)
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))  # towards 0, as C divides
    mask = (np.int64(1) << right) - 1
    behind = (high & mask) > (mask >> 1) + (high < 0)
    return np.asarray((high >> right) + behind, np.int64)
