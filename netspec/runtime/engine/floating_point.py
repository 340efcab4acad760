"""Floating-point arithmetic that does not depend on the caller's settings of NumPy."""

from __future__ import annotations

import numpy as np


def as_ieee() -> np.errstate:
    """Context manager: results follow IEEE 754 (infinity, NaN or 0), and nothing is raised.

    Underflow to 0 in a softmax is correct, and an infinite loss is reported by the code that reads
    it. With the caller's `np.seterr(all="raise")` both would end the program.
    """
    return np.errstate(all="ignore")
