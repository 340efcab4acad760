"""One probe: the slope of the loss along a direction, and what the gradients predict for it."""

from __future__ import annotations

from collections.abc import Mapping

from netspec.tools.gradcheck.analytic import Analytic
from netspec.tools.gradcheck.differences import SHRINK, SMALLEST, Slope, find_slope
from netspec.tools.gradcheck.loss_along_line import Landscape
from netspec.tools.gradcheck.probes import STEP, Direction
from netspec.tools.gradcheck.verdict import Probe


class Prober:
    """Probes one landscape, and remembers from probe to probe which steps cross no kink.

    Args:
        landscape: the loss.
        results: the gradients that are checked, by backend.
        tolerance: the accuracy that the differences must reach.
    """

    def __init__(
        self, landscape: Landscape, results: Mapping[str, Analytic], tolerance: float
    ) -> None:
        self._landscape = landscape
        self._results = results
        self._tolerance = tolerance
        # The first step to try, relative to what is moved.
        self._first = STEP

    def probe(self, direction: Direction) -> Probe:
        """Measure the slope along a direction, with the largest step that works."""
        said = {name: direction.slope(each.gradients) for name, each in self._results.items()}
        slope = self._measure(direction, self._first)
        if slope is not None and self._first < STEP and not self._is_good(slope):
            # The last direction needed a step this small, but this one may not. For example, a bias
            # whose effect is removed by a batch norm after it moves nothing.
            again = self._measure(direction, STEP, STEP / SHRINK**2)
            if again is not None and again.error < slope.error:
                slope = again
        if slope is not None:
            self._first = min(STEP, SHRINK * slope.step / direction.scale)
        return Probe(slope, said)

    def _measure(
        self, direction: Direction, first: float, smallest: float = SMALLEST
    ) -> Slope | None:
        return find_slope(
            self._landscape.along(direction),
            first * direction.scale,
            smallest=smallest * direction.scale,
            goal=self._tolerance / 100,
            rounding=self._landscape.rounding,
        )

    def _is_good(self, slope: Slope) -> bool:
        return slope.error <= self._tolerance / 10 * max(1.0, abs(slope.value))
