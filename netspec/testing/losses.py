"""Compares a course's loss, `loss, dx = f(x, y)` of scores and labels, with netspec's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.runtime.optim.losses import make_loss
from netspec.testing import student
from netspec.testing.mistakes import explain
from netspec.testing.report import LayerCase, compare
from netspec.testing.scene import Scene
from netspec.testing.student import FaultError

Array = NDArray[Any]

SHAPE = (5, 7)


def check_loss(
    function: Callable[..., Any],
    like: str,
    kind: str,
    given: Mapping[str, Array],
    shape: tuple[int, ...] | None,
    seed: int,
    tol: float,
    options: Mapping[str, Any],
) -> LayerCase:
    """Check one case: the loss, and its gradient with respect to the scores."""
    rng = np.random.default_rng(seed)
    x = given.get("x", 3 * rng.standard_normal(shape or SHAPE)).astype(np.float64)
    y = given.get("y", rng.integers(0, x.shape[1], len(x)))
    case = LayerCase(f"{like} on x {list(x.shape)}, y {list(y.shape)}")
    dx = np.empty_like(x)
    loss = make_loss(kind, **options).value_and_gradient(x, y, dx)
    try:
        passed = {"x": x.copy(), "y": y.copy()}
        result = student.call(function, *passed.values())
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise FaultError(f"{student.name_of(function)} must return (loss, dx)")
    except FaultError as fault:
        case.fail(str(fault))
        return case
    case.faults += student.changes(function, {"x": x, "y": y}, passed)
    for name, value, expected in zip(("loss", "dx"), result, (np.asarray(loss), dx), strict=True):
        comparison = compare(name, value, expected, tol)
        if not comparison.ok:
            scene = Scene(
                name, np.asarray(value, np.float64), expected, len(x),
                {"the number of images": float(len(x)), "the number of classes": float(x.shape[1])},
                extra=_mistakes(name, x, y, expected),
            )  # fmt: skip
            comparison.hints = explain(scene)
        case.comparisons.append(comparison)
    return case


def _mistakes(name: str, x: Array, y: Array, expected: Array) -> tuple[tuple[str, Array], ...]:
    """Return what the common mistakes of a loss would give."""
    if name == "loss":
        hint = "the right class counts as well: leave its margin, which is always 1, out"
        return ((hint, expected + 1),)
    rows = np.arange(len(x))
    others = expected.copy()
    others[rows, y] = 0
    softened = expected.copy()
    softened[rows, y] += 1 / len(x)
    return (
        ("the scores of the right classes get no gradient", others),
        ("1 is not subtracted at the right classes", softened),
    )
