"""What a probe proves: the gradient agrees, or it is wrong, or the probe is inconclusive."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from netspec.tools.gradcheck.differences import Slope

Verdict = Literal["ok", "failed", "inconclusive"]

# The least share of a row's probes that must be conclusive.
ENOUGH = 0.9
# If all gradients are far below 1, a tolerance relative to 1 would accept anything. So a gradient
# is also wrong if its error is more than this share of the row's largest slope ...
COARSE = 1e-4
# ... and more than this many times the error of the differences themselves.
SURE = 10.0
# Differences tell a gradient if an error of this part of the row's largest slope would be `SURE` times
# theirs.
TELLING = 0.1


@dataclass(frozen=True, slots=True)
class Probe:
    """One direction: the measured slope (None across a kink), and the slope by each gradient."""

    slope: Slope | None
    analytic: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Score:
    """How a backend's gradient compares with the measured slopes, over the probes of a row.

    Attributes:
        error: the largest difference, relative to max(1, largest slope).
        largest, median: the largest and the median of the relative errors |a - b| / max(|a|, |b|).
        wrong, unsure: the number of wrong and of inconclusive probes.
        tells: False if the slopes are so small that the differences would not show a wrong gradient.
    """

    error: float
    largest: float
    median: float
    wrong: int
    unsure: int
    tells: bool = True


def score(probes: Sequence[Probe], backend: str, tolerance: float) -> Score:
    """Return the score of a backend, over the probes whose slope is known."""
    pairs = [(p.analytic[backend], p.slope) for p in probes if p.slope is not None]
    if not pairs:
        return Score(0.0, 0.0, 0.0, 0, 0)
    peak = max(max(abs(a), abs(s.value)) for a, s in pairs)
    found = [judge(a, s, peak, tolerance) for a, s in pairs]
    apart = [_apart(a, s) for a, s in pairs]
    relative = [
        d / max(abs(a), abs(s.value)) if d > 0 else 0.0
        for d, (a, s) in zip(apart, pairs, strict=True)
    ]
    return Score(
        error=max(apart) / max(1.0, peak),
        largest=max(relative),
        median=statistics.median(relative),
        wrong=found.count("wrong"),
        unsure=found.count("unsure"),
        tells=SURE * statistics.median(s.error for _, s in pairs) <= TELLING * peak,
    )


def judge(
    analytic: float, slope: Slope, peak: float, tolerance: float
) -> Literal["agrees", "unsure", "wrong"]:
    """Compare a gradient with a slope, among slopes of which the largest is `peak`."""
    apart = _apart(analytic, slope)
    certain = apart > SURE * slope.error
    if apart <= tolerance * max(1.0, peak) and not (certain and apart > COARSE * peak):
        return "agrees"
    return "wrong" if certain else "unsure"


def _apart(analytic: float, slope: Slope) -> float:
    apart = abs(analytic - slope.value)
    return float("inf") if math.isnan(apart) else apart  # NaN agrees with nothing


def verdict(probes: Sequence[Probe], scores: Sequence[Score]) -> Verdict:
    """Return the verdict of a row.

    A single wrong probe makes it `failed`; `ok` requires a share of at least `ENOUGH` conclusive
    probes.
    """
    if any(score.wrong for score in scores):
        return "failed"
    across = sum(probe.slope is None for probe in probes)
    unsure = max((score.unsure for score in scores), default=0)
    return "ok" if len(probes) - across - unsure >= ENOUGH * len(probes) else "inconclusive"
