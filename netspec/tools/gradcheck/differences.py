"""The slope of a function along a line, by central differences with several step sizes.

    D(h) = (f(h) - f(-h)) / 2h = f'(0) + c2 h^2 + c4 h^4 + ...

Halving the step and combining, T(k, j) = (4^j T(k, j-1) - T(k-1, j-1)) / (4^j - 1), eliminates one
power of h^2 after the other (Richardson). The distance between neighbouring entries of the table
estimates their error, and the best entry is kept (Ridders 1982; Press et al., Numerical Recipes,
section 5.7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# The maximum number of rows in the table. More would only add rounding.
MAX_ROWS = 6
# The factor by which a step is reduced if it crosses a kink, and the smallest step that results.
SHRINK = 4.0
SMALLEST = 1e-9
# The rounding error of a function in units of its last place, if nothing is known about it.
ROUNDING = 4.0
# Errors of up to this many times the rounding error are attributed to rounding.
CAREFUL = 8.0
# The table ends if an extrapolation is this many times worse than the best one, or if the error is
# at most this many times the rounding error: a smaller step would only increase that.
WORSE = 2.0


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope, an estimate of its error, and the largest step that it was found with."""

    value: float
    error: float
    step: float


def find_slope(
    f: Callable[[float], float | None],
    step: float,
    *,
    smallest: float = SMALLEST,
    goal: float = 1e-9,
    rounding: float = 0.0,
) -> Slope | None:
    """Return f'(0), or None if every step crosses a kink.

    Args:
        f: the function; it returns None if the point is not on the same smooth piece as 0.
        step: the first step to try.
        smallest: the smallest step to try.
        goal: stop when the error is below this times max(1, |slope|).
        rounding: the rounding error of a value of the function, if known.
    """
    best: Slope | None = None
    while step >= smallest:
        first = _difference(f, step, rounding)
        if first is not None:
            found = _extrapolate(f, step, first, goal, rounding)
            if best is not None and found.error >= best.error:
                break
            best = found
            if best.error <= max(goal * max(1.0, abs(best.value)), CAREFUL * first[1]):
                break
            # The step is too large for the series rather than too small for the rounding.
            step /= SHRINK
        step /= SHRINK
    return best


def _difference(
    f: Callable[[float], float | None], step: float, rounding: float
) -> tuple[float, float] | None:
    """Return D(step) and its rounding error, or None if one of the two points is across a kink."""
    above = f(step)
    if above is None:
        return None
    below = f(-step)
    if below is None:
        return None
    least = ROUNDING * float(np.finfo(np.float64).eps) * max(abs(above), abs(below))
    return (above - below) / (2 * step), max(least, rounding) / (2 * step)


def _extrapolate(
    f: Callable[[float], float | None],
    step: float,
    first: tuple[float, float],
    goal: float,
    rounding: float,
) -> Slope:
    value, noise = first
    column, row = [value], [value]
    best = Slope(value, float("inf"), step)
    h = step
    for _ in range(1, MAX_ROWS):
        h /= 2
        found = _difference(f, h, rounding)
        if found is None:  # two kinks within one step: use what there is
            break
        value, noise = found
        column.append(value)
        apart = [abs(a - b) for a, b in pairwise(column)]
        if len(apart) > 1 and apart[-2] <= apart[-1] <= CAREFUL * noise:
            # Smaller steps agree less, so the difference is rounding, which is smallest in the
            # first.
            scatter = Slope(column[0], max(apart) + first[1], step)
            return scatter if scatter.error < WORSE * best.error else best
        previous, row = row, [value]
        factor = 1.0
        for j, above in enumerate(previous):
            factor *= 4.0
            row.append((factor * row[j] - above) / (factor - 1.0))
            error = max(abs(row[j + 1] - row[j]), abs(row[j + 1] - above)) + noise
            if error <= best.error:
                best = Slope(row[j + 1], error, step)
        enough = max(goal * max(1.0, abs(best.value)), WORSE * noise)
        if best.error <= enough or abs(row[-1] - previous[-1]) >= WORSE * best.error:
            break
    return best
