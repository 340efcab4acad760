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
    _check_minimum(minimum, lr)
    return lambda step: _half_cosine(lr, minimum, min(step, steps) / steps)


def cosine_restarts(
    lr: float,
    steps: int,
    steps_per_epoch: int,
    *,
    cycle: int | None = None,
    multiply: int = 1,
    minimum: float = 0.0,
) -> Schedule:
    """Half a cosine from `lr` to `minimum` again and again.

    The first takes `cycle` epochs (default: a third of the run, rounded up), each other `multiply`
    times as many as the one before it.

    Source: Loshchilov and Hutter, SGDR (2017); torch's CosineAnnealingWarmRestarts advanced at
    every step.
    """
    _check_minimum(minimum, lr)
    require(
        is_number(multiply) and multiply >= 1 and multiply == int(multiply),
        f"multiply must be a whole number from 1 on, not {multiply}",
    )
    first = _cycle(cycle, steps, steps_per_epoch)

    def rate(step: int) -> float:
        length = first
        while step >= length:
            step -= length
            length *= multiply
        return _half_cosine(lr, minimum, step / length)

    return rate


def linear(lr: float, steps: int, steps_per_epoch: int, *, minimum: float = 0.0) -> Schedule:
    """A straight line from `lr` at step 0 to `minimum` at step `steps`, one after the last.

    Source: torch's LinearLR(1, minimum / lr, total_iters=steps) advanced at every step.
    """
    _check_minimum(minimum, lr)
    return lambda step: lr + (minimum - lr) * (min(step, steps) / steps)


def polynomial(lr: float, steps: int, steps_per_epoch: int, *, power: float = 2.0) -> Schedule:
    """lr * (1 - step / steps)^power, which is 0 one step after the last.

    Source: torch's PolynomialLR(total_iters=steps) advanced at every step.
    """
    require(is_number(power) and power > 0, f"power must be more than 0, not {power}")
    return lambda step: lr * (1 - min(step, steps) / steps) ** power


def one_cycle(
    lr: float,
    steps: int,
    steps_per_epoch: int,
    *,
    rise: float = 0.3,
    start_divisor: float = 25.0,
    final_divisor: float = 1e4,
) -> Schedule:
    """Half a cosine up from `lr / start_divisor` to `lr`, and one down.

    The way up takes the share `rise` of the steps. The last rate is the first divided by
    `final_divisor`.

    Source: Smith and Topin, Super-Convergence (2018); torch's OneCycleLR(lr, steps).
    """
    require(is_number(rise) and 0 < rise < 1, f"rise must be between 0 and 1, not {rise}")
    for name, value in (("start_divisor", start_divisor), ("final_divisor", final_divisor)):
        require(is_number(value) and value >= 1, f"{name} must be at least 1, not {value}")
    first, top = lr / start_divisor, max(0.0, rise * steps - 1)
    last = first / final_divisor

    def rate(step: int) -> float:
        if step <= top:
            return _half_cosine(first, lr, step / top if top else 1.0)
        return _half_cosine(lr, last, min(1.0, (step - top) / max(1e-9, steps - 1 - top)))

    return rate


def cyclic(
    lr: float,
    steps: int,
    steps_per_epoch: int,
    *,
    cycle: int | None = None,
    minimum: float | None = None,
) -> Schedule:
    """Straight lines from `minimum` (default: a tenth of `lr`) up to `lr` and down again.

    Up and down take `cycle` epochs (default: a third of the run, rounded up).

    Source: Smith, Cyclical Learning Rates (2017); torch's CyclicLR in the mode `triangular`.
    """
    least = lr / 10 if minimum is None else minimum
    _check_minimum(least, lr)
    length = _cycle(cycle, steps, steps_per_epoch)
    return lambda step: least + (lr - least) * (1 - abs(2 * (step % length) / length - 1))


class OnPlateau:
    """Multiplies by `gamma` when the score has not risen for more than `patience` epochs.

    The score of an epoch is the accuracy on validation images, or without these the mean loss with
    its sign changed. Whoever trains calls `follow` with the scores so far.

    Source: torch's ReduceLROnPlateau with threshold 0.
    """

    def __init__(self, lr: float, gamma: float, patience: int) -> None:
        self._lr, self._gamma, self._patience = lr, gamma, patience
        self._falls = 0

    def follow(self, scores: Sequence[float]) -> None:
        """Set the rate to that after epochs with these scores."""
        self._falls, best, waited = 0, -math.inf, 0
        for score in scores:
            waited = 0 if score > best else waited + 1
            best = max(best, score)
            if waited > self._patience:
                self._falls, waited = self._falls + 1, 0

    def __call__(self, step: int) -> float:
        """Return the rate, whatever the step."""
        return self._lr * self._gamma**self._falls


def plateau(
    lr: float, steps: int, steps_per_epoch: int, *, gamma: float = 0.1, patience: int = 5
) -> Schedule:
    """See `OnPlateau`."""
    _check_gamma(gamma)
    require(
        is_number(patience) and patience >= 0 and patience == int(patience),
        f"patience must be a number of epochs from 0 on, not {patience}",
    )
    return OnPlateau(lr, gamma, patience)


def step(
    lr: float, steps: int, steps_per_epoch: int, *, every: int | None = None, gamma: float = 0.1
) -> Schedule:
    """Multiply by `gamma` after every `every` epochs (default: a third of the run, rounded up)."""
    _check_gamma(gamma)
    every = _third(steps, steps_per_epoch) if every is None else every
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
    """Return a rise to the first rate of `schedule` in `steps` steps, 1/steps, 2/steps, ... 1 of it.

    The schedule begins behind it, so that nothing falls before the full rate is reached.

    Source: Goyal et al. (2017); torch's SequentialLR([LinearLR(1 / steps, total_iters=steps - 1),
    schedule], [steps]) advanced at every step.

    Raises:
        NetspecError: `train/bad-option` if `steps` is negative.
    """
    _check_warm_up(steps)
    return lambda step: schedule(0) * (step + 1) / steps if step < steps else schedule(step - steps)


def warm_up_beside(schedule: Schedule, steps: int) -> Schedule:
    """Return `schedule` with its first `steps` rates multiplied by 1/steps, 2/steps, ... 1.

    For schedules that name steps of the run, which a rise in front of them would move.

    Raises:
        NetspecError: `train/bad-option` if `steps` is negative.
    """
    _check_warm_up(steps)
    return lambda step: schedule(step) * min(1.0, (step + 1) / max(1, steps))


def _check_warm_up(steps: int) -> None:
    require(steps >= 0, f"warm-up steps must be at least 0, not {steps}")


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine-restarts": cosine_restarts,
    "linear": linear,
    "polynomial": polynomial,
    "one-cycle": one_cycle,
    "cyclic": cyclic,
    "step": step,
    "multi-step": multi_step,
    "exponential": exponential,
    "plateau": plateau,
}


# Those whose options name steps of the run, and which do not fall by themselves.
_OF_THE_RUN = frozenset({"multi-step"})


def rates_of_run(
    chosen: str | Schedule,
    lr: float,
    steps: int,
    steps_per_epoch: int,
    warmup: int,
    /,
    **options: object,
) -> tuple[Schedule, Schedule]:
    """Return the schedule called `chosen`, and the rates of a run that rise to it at the beginning.

    Behind the rise a schedule goes over the steps that are left. The milestones of `multi-step`, and
    the steps of a function of one's own, stay those of the run.

    Args:
        chosen: The name of a schedule, or a schedule.
        lr: The rate that the schedule starts from.
        steps: Steps in the whole run.
        steps_per_epoch: Steps in one epoch.
        warmup: The epochs in which the rate rises.
        options: Keyword arguments of the schedule.

    Raises:
        NetspecError: `train/bad-option`, see `make_schedule` and `warm_up`.
    """
    rise = warmup * steps_per_epoch
    beside = not isinstance(chosen, str) or chosen in _OF_THE_RUN
    left = steps if beside else max(1, steps - rise)
    rule = make_schedule(chosen, lr, left, steps_per_epoch, **options)
    return rule, (warm_up_beside if beside else warm_up)(rule, rise)


def make_schedule(
    chosen: str | Schedule, lr: float, steps: int, steps_per_epoch: int, /, **options: object
) -> Schedule:
    """Return the schedule called `chosen` in `SCHEDULES`, for a run of `steps` steps; or a function.

    Args:
        chosen: Its name, or a schedule.
        lr: The rate it starts from.
        steps: Steps in the whole run.
        steps_per_epoch: Steps in one epoch.
        options: Its keyword arguments.

    Raises:
        NetspecError: `train/bad-option` for an unknown name or option, or a value out of range.
    """
    if not isinstance(chosen, str):
        require(callable(chosen), f"a schedule is a name or a function, not {chosen!r}")
        require(not options, "a function of one's own has no options")
        return chosen
    return make("schedule", SCHEDULES, chosen, lr, steps, steps_per_epoch, options=options)


def _half_cosine(start: float, end: float, share: float) -> float:
    """Return the rate after a share of the way from `start` to `end`."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _third(steps: int, steps_per_epoch: int) -> int:
    """Return the epochs of a third of the run, rounded up."""
    return math.ceil(steps / steps_per_epoch / 3)


def _cycle(cycle: int | None, steps: int, steps_per_epoch: int) -> int:
    """Return the steps of a cycle of so many epochs; None for a third of the run, rounded up."""
    epochs = _third(steps, steps_per_epoch) if cycle is None else cycle
    require(
        is_number(epochs) and epochs >= 1 and epochs == int(epochs),
        f"cycle must be a number of epochs from 1 on, not {cycle}",
    )
    return int(epochs) * steps_per_epoch


def _check_minimum(minimum: float, lr: float) -> None:
    require(
        is_number(minimum) and 0.0 <= minimum <= lr,
        f"minimum must be between 0 and the rate {lr}, not {minimum}",
    )


def _check_gamma(gamma: float) -> None:
    require(
        is_number(gamma) and 0.0 < gamma <= 1.0,
        f"gamma must be more than 0 and at most 1, not {gamma}",
    )
