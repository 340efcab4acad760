"""Common mistakes in normalization layers, such as a forgotten term of the gradient."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from netspec.testing.layer import Placed, Setting
    from netspec.testing.scene import Scene

Array = NDArray[Any]


Guesses = Iterator[tuple[str, Array]]


def normalizing(scene: Scene) -> Guesses:
    """Statistics over the wrong numbers, other definitions of the variance, forgotten gradient terms."""
    setting = scene.setting
    if setting is None or len(setting.layer.parts) > 1:
        return
    (placed,) = setting.layer.parts
    if placed.part.sets is None:
        return
    if placed.part.running and not setting.training and scene.name == "out":
        hint = "the batch's statistics are used at test time: take running_mean and running_var"
        yield hint, replace(setting, training=True).results()["out"]
    yield from _channels_not_moved(scene, setting, placed)
    norm = _Norm.of(setting, placed)
    if scene.name == "out":
        yield from _values(norm)
    elif scene.name == "dx" and setting.training:
        yield from _gradients(norm, setting)


@dataclass(frozen=True)
class _Norm:
    """A normalization, with its input divided into the sets that are normalized together.

    Attributes:
        x: the input.
        split, axes: the shape of x in which a set lies along these axes.
        eps: the number added to the variance.
        gamma, beta: in shapes that broadcast over x.
        running: mean and variance to use instead of the sets' own.
    """

    x: Array
    split: tuple[int, ...]
    axes: tuple[int, ...]
    eps: float
    gamma: Array
    beta: Array
    running: tuple[Array, Array] | None = None

    @classmethod
    def of(cls, setting: Setting, placed: Placed) -> _Norm:
        """Return the normalization of a part, in the mode of the setting."""
        assert placed.part.sets is not None
        x = setting.arrays["x"]
        split, axes = placed.part.sets(placed.node.op, x.shape)
        gamma, beta = (_like(setting.arrays.get(name), x) for name in ("gamma", "beta"))
        kept = None
        if placed.part.running and not setting.training:
            mean, var = (_like(setting.running[name], x) for name in placed.part.running)
            kept = mean, var
        return cls(x, split, axes, getattr(placed.node.op, "eps", 0.0), gamma, beta, kept)

    def mean(self, array: Array) -> Array:
        """The mean of each set."""
        average: Array = array.mean(axis=self.axes, keepdims=True)
        return average

    @property
    def parts(self) -> tuple[Array, Array]:
        """Return x minus the mean, and the variance."""
        xs = self.x.reshape(self.split)
        if self.running is not None:
            return xs - self.running[0], self.running[1]
        return xs - self.mean(xs), xs.var(axis=self.axes, keepdims=True)

    def out(self, normalized: Array) -> Array:
        """The output, from the normalized input."""
        return normalized.reshape(self.x.shape) * self.gamma + self.beta

    def dx(self, dout: Array, *, level: float = 1.0, along: float = 1.0) -> Array:
        """The gradient of x, with the terms of mean and variance multiplied by these factors."""
        centred, var = self.parts
        s = 1 / np.sqrt(var + self.eps)
        xhat, h = centred * s, (dout * self.gamma).reshape(self.split)
        found: Array = s * (h - level * self.mean(h) - along * xhat * self.mean(h * xhat))
        return found.reshape(self.x.shape)


def _values(norm: _Norm) -> Guesses:
    centred, var = norm.parts
    eps = norm.eps
    std = np.sqrt(var + eps)
    kinds = [
        ("eps is left out", np.sqrt(var)),
        ("eps is subtracted: add it to the variance", np.sqrt(np.maximum(var - eps, 0))),
        ("eps is added to the standard deviation: add it to the variance", np.sqrt(var) + eps),
        ("it is divided by the variance: divide by its square root", var + eps),
        ("the root is taken twice: the standard deviation is one root of the variance",
         np.sqrt(np.sqrt(var) + eps)),
    ]  # fmt: skip
    if norm.running is None:
        unbiased = norm.x.reshape(norm.split).var(axis=norm.axes, keepdims=True, ddof=1)
        said = "the variance is divided by n - 1: normalise with the biased one, divided by n"
        kinds.insert(0, (said, np.sqrt(unbiased + eps)))
    with np.errstate(divide="ignore", invalid="ignore"):
        for hint, divisor in kinds:
            yield hint, norm.out(centred / divisor)
    yield (
        "eps is added to the quotient: add it to the variance",
        norm.out(centred / np.sqrt(var) + eps),
    )
    yield "the mean is not subtracted", norm.out(norm.x.reshape(norm.split) / std)
    if norm.gamma.size > 1:
        yield "`gamma` and `beta` are left out", (centred / std).reshape(norm.x.shape)
    for hint, other in _other_sets(norm):
        centred, var = other.parts
        yield hint, other.out(centred / np.sqrt(var + eps))


def _gradients(norm: _Norm, setting: Setting) -> Guesses:
    dout = setting.dout
    terms = (
        ("the gradients through mean and variance are left out: both depend on x", 0.0, 0.0),
        ("the gradient through the mean is left out", 0.0, 1.0),
        ("the gradient through the variance is left out", 1.0, 0.0),
    )
    for hint, level, along in terms:
        guess = norm.dx(dout, level=level, along=along)
        yield hint, guess
        yield (
            f"`gamma` is multiplied in twice: dL/dx_hat already contains it; and {hint}",
            guess * norm.gamma,
        )
    if norm.gamma.size > 1:
        yield (
            "`gamma` is multiplied in twice: dL/dx_hat already contains it",
            norm.dx(dout) * norm.gamma,
        )
    together = norm.x.size // norm.parts[1].size
    times = together / setting.batch
    if times > 1:
        yield (
            f"its sums are divided by N = {setting.batch}: a mean is over N H W = {together} numbers",
            norm.dx(dout, level=times, along=times),
        )
    for hint, other in _other_sets(norm):
        yield hint, other.dx(dout)


def _other_sets(norm: _Norm) -> Iterator[tuple[str, _Norm]]:
    """Yield the same, normalized over other axes."""
    if norm.running is not None:
        return
    across, within = (0, *range(2, norm.x.ndim)), tuple(range(1, norm.x.ndim))
    if 0 not in norm.axes:
        hint = "its statistics are over the batch, axis 0: they are each image's own here"
        yield hint, replace(norm, split=norm.x.shape, axes=across)
    else:
        hint = "its statistics are each image's own: they are over the batch, axis 0, here"
        yield hint, replace(norm, split=norm.x.shape, axes=within)


def _channels_not_moved(scene: Scene, setting: Setting, placed: Placed) -> Guesses:
    """Pictures reshaped to rows of C numbers, or back, without moving the channels last."""
    x = setting.arrays["x"]
    if x.ndim != 4 or not placed.part.running:
        return
    n, c, h, w = x.shape
    if scene.name in ("out", "dx"):
        yield (
            f"the channels are not moved back: reshape to [{n}, {h}, {w}, {c}], then transpose",
            scene.ours.transpose(0, 2, 3, 1).reshape(x.shape),
        )
    rows = setting.on_rows(x.reshape(-1, c), setting.dout.reshape(-1, c)).results()
    hint = "the channels are not moved to the end before x is reshaped: transpose(0, 2, 3, 1) first"
    yield hint, rows[scene.name].reshape(scene.ours.shape)


def running(scene: Scene) -> Guesses:
    """Other conventions for the running statistics."""
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
    """View a parameter in a shape that broadcasts over x; None gives 0."""
    if array is None:
        return np.zeros(())
    return array.reshape(-1, 1, 1) if array.ndim == 1 and x.ndim == 4 else array
