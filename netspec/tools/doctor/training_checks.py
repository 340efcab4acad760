"""Checks that train a little: the learning rate, a small batch, and the gradients that both use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from netspec.runtime.models.numpy_model import Model
from netspec.runtime.optim.optimizers import OPTIMIZERS
from netspec.tools.doctor.examinee import Patient
from netspec.tools.doctor.initial_checks import DEAD, spread_in_words
from netspec.tools.doctor.report import Pictured, Symptom
from netspec.tools.doctor.short_training import Trial, told_by_images, train_briefly
from netspec.tools.doctor.signals import dead_units
from netspec.tools.gradcheck import gradcheck

# Steps on one batch with the training's own learning rate. The mean loss of the last few steps
# counts, because large rates make it jump.
RATE_IMAGES, RATE_STEPS, RATE_LAST = 32, 30, 5
# The rate is too high if that mean is RISEN times the loss at the start, or if the loss was LEAPT
# times as high on the way and has not halved by the end.
RISEN, LEAPT = 1.2, 10.0
# Factors for the rates that are tried if the rate is too high, and if it is too low.
LOWER = (0.1, 0.01, 0.001, 0.0001)
HIGHER = (10.0, 100.0, 1e3, 1e4, 1e5)
# The steps have trained the net if the images reduce the loss by this share (of the loss of equal
# scores) more than before. It is the effect of the images that counts and not how low the loss is,
# because the last layer's bias learns how frequent the labels are. Measured: 4e-5 for the slowest
# that is known to learn (LeNet, momentum, 0.001, pixels from 0 to 1), 6e-6 for Adam at 1e-7, 3e-7
# for LeNet's weights drawn 30 times too small.
MOVED = 2e-5
# Relative to He's standard deviation: smaller weights than this may be why the net does not learn.
SMALL_WEIGHTS = 0.2

# A small batch counts as learnt at this share of the loss of equal scores. For ten classes that is
# 0.23, where hardly an image is wrong.
LEARNT = 0.1
SMALL, SMALL_STEPS = 20, 200
# The rates of Adam for the small batch, the usual one first.
SMALL_RATES = (1e-3, 1e-2, 1e-4)

GRADIENT_BATCH, DIRECTIONS = 4, 3


def learning_rate(patient: Patient, pictured: Pictured) -> Symptom:
    """Check that the training's optimizer and rate learn a batch, and neither diverge nor stall."""
    name = "learning rate"
    trial = _with_rate(patient, patient.lr)
    pictured.trials[f"{patient.optimizer}, learning rate {patient.lr:g}"] = trial.losses
    text = _told(trial)
    numbers = {"lr": patient.lr, "losses": [v if math.isfinite(v) else None for v in trial.losses]}
    if _learns(patient, trial):
        died = _died(patient, trial)
        if died is None and _moves(patient, trial):
            return Symptom(name, "ok", text, numbers=numbers)
        if died is None:
            text += ", and all images get nearly the same scores"
            return Symptom(name, "bad", text, _why_stuck(patient), numbers=numbers)
        text += f", and then {died}"
    lower = (patient.lr * part for part in LOWER)
    works = next((lr for lr in lower if _well(patient, _with_rate(patient, lr))), None)
    help = "no lower one was found to work: look at the other lines first"
    if works is not None:
        help = f"it is too high: {works:g} works here"
    return Symptom(name, "bad", text, help, numbers=numbers)


def _why_stuck(patient: Patient) -> str:
    """Find out why the steps do not train the net: each cause is removed in turn."""
    if patient.l2 and _works(patient, l2=0.0):
        return f"l2 = {patient.l2:g} is too large: it works without"
    enlarged = _enlarged(patient)
    if enlarged is not None:
        model, small = enlarged
        if _works(patient, model=model):
            return f"the initial weights are too small: {small}"
    trials = {times: _with_rate(patient, patient.lr * times) for times in HIGHER}
    good = {n: t for n, t in trials.items() if _well(patient, t) and _moves(patient, t)}
    if good:
        best = min(good, key=lambda times: _last_mean(good[times]))
        return f"it is too low: {patient.lr * best:g} works here"
    return "no higher one was found to work: look at the other lines first"


def _works(patient: Patient, **changes: Any) -> bool:
    trial = _with_rate(patient, patient.lr, **changes)
    return _well(patient, trial) and _moves(patient, trial)


def _enlarged(patient: Patient) -> tuple[Model, str] | None:
    """Return the net with its small weights enlarged to the usual size, and the smallest in words."""
    model = patient.model()
    least, found = SMALL_WEIGHTS, None
    for p in patient.graph.trainable():
        usual = patient.usual_spread(p)
        spread = float(np.std(model.parameters[p.name]))
        if usual is None or not 0 < spread < SMALL_WEIGHTS * usual:
            continue
        model.parameters[p.name] *= usual / spread
        if spread / usual < least:
            least, found = spread / usual, spread_in_words(p, spread, usual)
    return None if found is None else (model, found)


def _moves(patient: Patient, trial: Trial) -> bool:
    """Return True if the images reduce the loss by more than before, or if everything is learnt."""
    if _last_mean(trial) <= LEARNT * patient.expected:
        return True
    x, y = patient.part(slice(min(RATE_IMAGES, patient.batch)))
    before, after = (
        told_by_images(model, x, y, patient.loss, patient.seed)
        for model in (patient.model(), trial.model)
    )
    return after - before > MOVED * patient.expected


def _with_rate(
    patient: Patient, lr: float, *, l2: float | None = None, model: Model | None = None
) -> Trial:
    # A training with warm-up reaches its highest rate late: here after a third of the steps.
    rising = RATE_STEPS // 3 if patient.warms_up else 1
    x, y = patient.part(slice(min(RATE_IMAGES, patient.batch)))
    return train_briefly(
        model or patient.model(), x, y, patient.loss,
        optimizer=patient.optimizer, options=patient.options,
        rate=lambda step: lr * min(1.0, (step + 1) / rising),
        steps=RATE_STEPS, l2=patient.l2 if l2 is None else l2, clip_norm=patient.clip_norm,
    )  # fmt: skip


def _last_mean(trial: Trial) -> float:
    return float(np.mean(trial.losses[-RATE_LAST:]))


def _well(patient: Patient, trial: Trial) -> bool:
    return _learns(patient, trial) and _died(patient, trial) is None


def _learns(patient: Patient, trial: Trial) -> bool:
    if not trial.finite:
        return False
    # A net that starts with a high loss only has to end not much higher.
    start = max(trial.losses[0], patient.expected)
    end = _last_mean(trial)
    leapt = max(trial.losses) > LEAPT * start and end > 0.5 * start
    return end <= RISEN * start and not leapt


def _died(patient: Patient, trial: Trial) -> str | None:
    """Describe the layer whose units died in these steps, if any."""
    before = dead_units(patient.model(), patient.x)
    after = dead_units(trial.model, patient.x)
    killed = [name for name, share in after.items() if share > DEAD >= before[name]]
    return f"{after[killed[0]]:.0%} of {killed[0]} are dead" if killed else None


def _told(trial: Trial) -> str:
    first, steps = trial.losses[0], len(trial.losses)
    if not trial.finite:
        return (
            f"{trial.lr:g}: the loss went from {first:.3g} to {trial.losses[-1]} in {steps} steps"
        )
    last, peak = _last_mean(trial), max(trial.losses)
    over = f" over {peak:.3g}" if peak > LEAPT * first else ""
    return (
        f"{trial.lr:g}: the loss of a batch went from {first:.3g}{over} to {last:.3g}"
        f" in {steps} steps"
    )


def small_batch(patient: Patient, pictured: Pictured) -> Symptom:
    """Check that the net can learn a few images by heart."""
    name = "small batch"
    # A text has a label for each token: as many labels are as hard to learn as those of images.
    x, y = patient.part(slice(max(2, SMALL // patient.places)))
    wanted = LEARNT * patient.expected
    best: Trial | None = None
    for lr in SMALL_RATES:
        trial = train_briefly(
            patient.model(), x, y, patient.loss, optimizer="adam", options={},
            rate=_constant(lr), steps=SMALL_STEPS, until=wanted,
        )  # fmt: skip
        if best is None or _end(trial) < _end(best):
            best = trial
        if _end(trial) <= wanted:
            break
    assert best is not None
    steps = len(best.losses)
    pictured.trials[f"{len(y)} images, adam {best.lr:g}"] = best.losses
    numbers = {"images": len(y), "steps": steps, "lr": best.lr, "loss": _finite(_end(best))}
    if _end(best) <= wanted:
        text = f"{len(y)} images learnt in {steps} steps (adam, {best.lr:g})"
        return Symptom(name, "ok", text, numbers=numbers)
    text = f"{len(y)} images not learnt in {steps} steps: the loss is still {_end(best):.3g}"
    help = "a net that cannot overfit a few images learns nothing: does a layer block it?"
    return Symptom(name, "bad", text, help, numbers=numbers)


def _constant(lr: float) -> Callable[[int], float]:
    return lambda _: lr


def _end(trial: Trial) -> float:
    return trial.losses[-1] if trial.finite else math.inf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def gradient_check(patient: Patient) -> Symptom:
    """Check that the compiled program's gradients are the slopes of its loss in random directions."""
    name = "gradient check"
    x, y = patient.part(slice(GRADIENT_BATCH))
    report = gradcheck(
        patient, {name: array.astype(np.float64) for name, array in x.items()}, y,
        directions=DIRECTIONS,
        whole=True, backend="numpy", loss=patient.loss, mode="train", seed=patient.seed,
        params="*.*",
    )  # fmt: skip
    rows = [row for section in report.sections for row in section.rows]
    checks = [check for section in report.sections for check in section.checks]
    worst = max((s.error for row in rows for s in row.scores.values()), default=0.0)
    text = f"{DIRECTIONS} directions, off by {worst:.0e} of the largest at most"
    numbers = {"error": _finite(worst), "tolerance": report.tolerance}
    failed = [row.name for row in rows if row.verdict == "failed"]
    failed += [check.name for check in checks if check.verdict == "failed"]
    if failed:
        help = "`netspec gradcheck` finds the layer"
        return Symptom(name, "bad", text, help, numbers=numbers)
    if any(row.verdict == "inconclusive" for row in rows):
        text = "all steps cross kinks"
        help = "`netspec gradcheck` checks each layer"
        return Symptom(name, "unsure", text, help, numbers=numbers)
    return Symptom(name, "ok", text, numbers=numbers)


def default_rate(optimizer: str) -> float:
    """The default learning rate of an optimizer."""
    return OPTIMIZERS[optimizer].default_lr
