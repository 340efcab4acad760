"""The slope of a function along a line, by central differences of several steps.

    D(h) = (f(h) - f(-h)) / 2h = f'(0) + c2 h^2 + c4 h^4 + ...

Halving the step and combining, T(k, j) = (4^j T(k, j-1) - T(k-1, j-1)) / (4^j - 1), takes one power
of h^2 away after the other (Richardson). How far the entries of the table are apart says how good
they are, and the best one is kept (Ridders 1982; Press et al., Numerical Recipes, section 5.7).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

# Rows of the table at most. More would only add rounding.
MAX_ROWS = 6
# By how much a step is made smaller where it crosses a kink, and how small that makes it at most.
SHRINK = 4.0
SMALLEST = 1e-9
# Rounding errors of a function, in units of its last place, where nothing is known about them.
ROUNDING = 4.0
# Errors of up to so many times what rounding makes are put down to it.
CAREFUL = 8.0
# An extrapolation that is so much worse than the best one ends the table, and so does an error that
# is no more than so many times what rounding does: a smaller step would only make that larger.
WORSE = 2.0


@dataclass(frozen=True, slots=True)
class Slope:
    """A slope, how far off it may be, and the largest step that it was found with."""

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
    """f'(0), or None where every step crosses a kink.

    Args:
        f: the function; None where the point is not on the smooth piece that 0 is on.
        step: the first step to try.
        smallest: the smallest step to try.
        goal: stop where the error is below this times max(1, |slope|).
        rounding: what rounding errors are in a value of the function, if that is known.
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
            # The step is too large for the series, not too small for the rounding.
            step /= SHRINK
        step /= SHRINK
    return best


def _difference(
    f: Callable[[float], float | None], step: float, rounding: float
) -> tuple[float, float] | None:
    """D(step) and what rounding does to it, or None where one of the points is across a kink."""
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
        if found is None:  # two kinks within one step: what is known must do
            break
        value, noise = found
        column.append(value)
        apart = [abs(a - b) for a, b in pairwise(column)]
        if len(apart) > 1 and apart[-2] <= apart[-1] <= CAREFUL * noise:
            # Smaller steps agree less: it is rounding that is seen, of which the first has least.
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
