"""The usual mistakes of normalising layers: what a forgotten term of the gradient gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from netspec.testing.scene import Scene

Array = NDArray[Any]


def normalizing(scene: Scene) -> Iterator[tuple[str, Array]]:
    """Terms of the gradient left out, and other meanings of the variance."""
    setting = scene.setting
    if setting is None or len(setting.layer.parts) > 1 or not setting.training:
        return
    (placed,) = setting.layer.parts
    if placed.part.sets is None or scene.name not in ("out", "dx"):
        return
    x = setting.arrays["x"]
    eps: float = getattr(placed.node.op, "eps", 0.0)
    split, axes = placed.part.sets(placed.node.op, x.shape)
    gamma, beta = (_like(setting.arrays.get(name), x) for name in ("gamma", "beta"))

    def mean(array: Array) -> Array:
        average: Array = array.mean(axis=axes, keepdims=True)
        return average

    xs = x.reshape(split)
    var = xs.var(axis=axes, keepdims=True)
    centred = xs - mean(xs)
    if scene.name == "out":
        kinds = (
            ("the variance is divided by n - 1: normalise with the biased one, divided by n",
             np.sqrt(xs.var(axis=axes, keepdims=True, ddof=1) + eps)),
            ("eps is left out", np.sqrt(var)),
            ("eps is added to the standard deviation: add it to the variance",
             np.sqrt(var) + eps),
            ("it is divided by the variance: divide by its square root", var + eps),
        )  # fmt: skip
        for hint, divisor in kinds:
            yield hint, (centred / divisor).reshape(x.shape) * gamma + beta
        yield (
            "the mean is not subtracted",
            (xs / np.sqrt(var + eps)).reshape(x.shape) * gamma + beta,
        )
        return
    s = 1 / np.sqrt(var + eps)
    xhat, h = centred * s, (setting.dout * gamma).reshape(split)
    level, along = mean(h), xhat * mean(h * xhat)
    terms = (
        ("the gradients through mean and variance are left out: both depend on x", s * h),
        ("the gradient through the mean is left out", s * (h - along)),
        ("the gradient through the variance is left out", s * (h - level)),
    )
    for hint, guess in terms:
        yield hint, guess.reshape(x.shape)
        twice = f"`gamma` is in it twice: dL/dx_hat already holds it; and {hint}"
        yield twice, guess.reshape(x.shape) * gamma
    if gamma.size > 1:
        right = (s * (h - level - along)).reshape(x.shape)
        yield "`gamma` is in it twice: dL/dx_hat already holds it", right * gamma


def running(scene: Scene) -> Iterator[tuple[str, Array]]:
    """Other conventions of the running statistics."""
    setting = scene.setting
    if setting is None or scene.name not in setting.running:
        return
    for placed in setting.layer.parts:
        if scene.name not in placed.part.running:
            continue
        before = setting.running[scene.name]
        op: Any = placed.node.op
        batch = (scene.ours - setting.layer.kept(placed, before)) / op.momentum
        yield f"it is unchanged: store it again, bn_param['{scene.name}'] = {scene.name}", before
        yield (
            (
                "momentum is the share of the old statistics that is kept, not that of the batch:"
                " running = momentum * running + (1 - momentum) * batch"
            ),
            op.momentum * before + (1 - op.momentum) * batch,
        )
        if scene.name.endswith("var"):
            rows = setting.layer.rows(placed, setting)
            yield (
                (
                    "this is the unbiased variance (divided by n - 1), which PyTorch keeps; the course"
                    " keeps the biased one"
                ),
                setting.layer.kept(placed, before) + op.momentum * batch * rows / max(rows - 1, 1),
            )
            yield (
                ("this is the running standard deviation; keep the variance"),
                setting.layer.kept(placed, before) + op.momentum * np.sqrt(batch),
            )


def _like(array: Array | None, x: Array) -> Array:
    """A parameter in a shape that broadcasts over x; nothing does nothing."""
    if array is None:
        return np.zeros(())
    return array.reshape(-1, 1, 1) if array.ndim == 1 and x.ndim == 4 else array
