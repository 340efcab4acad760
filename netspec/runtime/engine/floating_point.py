"""Arithmetic that is the same whatever the caller has told NumPy to do about it."""

from __future__ import annotations

import numpy as np


def as_ieee() -> np.errstate:
    """While this lasts, results are what IEEE 754 says: infinite, NaN, or 0, and nothing is raised.

    What goes to 0 in a softmax is right, and who reads a loss that is not finite speaks for it; under
    `np.seterr(all="raise")` both would end the program.
    """
    return np.errstate(all="ignore")
