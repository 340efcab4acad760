"""Learning rates over a run: pure functions from a step's number, counted from 0, to its rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from netspec.runtime.data.choices import is_number, make, require

Schedule = Callable[[int], float]


def constant(lr: float, steps: int, steps_per_epoch: int) -> Schedule:
    """The same rate for all steps."""
    return lambda step: lr  # noqa: ARG005


def cosine(lr: float, steps: int, steps_per_epoch: int, *, minimum: float = 0.0) -> Schedule:
    """Half a cosine from `lr` at step 0 to `minimum` at step `steps`, one after the last.

        minimum + (lr - minimum) * (1 + cos(pi * step / steps)) / 2

    Source: Loshchilov and Hutter, SGDR (2017); torch's CosineAnnealingLR(T_max=steps) advanced at
    every step.
    """
    require(
        is_number(minimum) and 0.0 <= minimum <= lr,
        f"minimum must be between 0 and the rate {lr}, not {minimum}",
    )
    half = (lr - minimum) / 2
    return lambda step: minimum + half * (1 + math.cos(math.pi * min(step, steps) / steps))


def step(
    lr: float, steps: int, steps_per_epoch: int, *, every: int | None = None, gamma: float = 0.1
) -> Schedule:
    """Multiply by `gamma` after every `every` epochs (default: a third of the run, rounded up)."""
    _check_gamma(gamma)
    if every is None:
        every = math.ceil(steps / steps_per_epoch / 3)
    require(is_number(every) and every >= 1, f"every must be at least 1 epoch, not {every}")
    period = every * steps_per_epoch
    return lambda step: lr * gamma ** (step // period)


def multi_step(
    lr: float,
    steps: int,
    steps_per_epoch: int,
    *,
    milestones: Sequence[int] | None = None,
    gamma: float = 0.1,
) -> Schedule:
    """Multiply by `gamma` at each milestone, given in completed epochs.

    Default: at one half and three quarters of the run, as in the ResNet paper (He et al. 2016).
    """
    _check_gamma(gamma)
    at = (
        [math.ceil(steps / 2), math.ceil(steps * 3 / 4)]
        if milestones is None
        else [epoch * steps_per_epoch for epoch in milestones]
    )
    require(
        all(is_number(point) and point >= 0 for point in at),
        f"milestones must be epochs, not {milestones}",
    )
    return lambda step: lr * gamma ** sum(step >= point for point in at)


def exponential(lr: float, steps: int, steps_per_epoch: int, *, gamma: float = 0.95) -> Schedule:
    """Multiply by `gamma` after each epoch."""
    _check_gamma(gamma)
    return lambda step: lr * gamma ** (step // steps_per_epoch)


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """Return `schedule` with its first `steps` rates multiplied by 1/steps, 2/steps, ...

    1 (Goyal et al. 2017).

    Raises:
        NetspecError: `train/bad-option` if `steps` is negative.
    """
    require(steps >= 0, f"warm-up steps must be at least 0, not {steps}")
    if steps == 0:
        return schedule
    return lambda step: schedule(step) * min(1.0, (step + 1) / steps)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "step": step,
    "multi-step": multi_step,
    "exponential": exponential,
}


def make_schedule(
    name: str, lr: float, steps: int, steps_per_epoch: int, /, **options: object
) -> Schedule:
    """Return the schedule called `name` in `SCHEDULES`, for a run of `steps` steps.

    Args:
        name: Its name.
        lr: The rate it starts from.
        steps: Steps in the whole run.
        steps_per_epoch: Steps in one epoch.
        options: Its keyword arguments.

    Raises:
        NetspecError: `train/bad-option` for an unknown name or option, or a value out of range.
    """
    return make("schedule", SCHEDULES, name, lr, steps, steps_per_epoch, options=options)


def _check_gamma(gamma: float) -> None:
    require(
        is_number(gamma) and 0.0 < gamma <= 1.0,
        f"gamma must be more than 0 and at most 1, not {gamma}",
    )
