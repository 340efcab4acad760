"""Why an argument differs: tries the common mistakes.

Every guess computes the numbers that a mistake would give, with netspec's own program if possible
(`setting.changed(...)`), and is reported only if these are the numbers that were found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import numpy as np

from netspec.testing.conv_mistakes import convolving
from netspec.testing.layer import Setting
from netspec.testing.norm_mistakes import normalizing, running
from netspec.testing.scene import CLOSE, Array, Scene, distance

MOST_HINTS = 2
# How to cut off the padding for every pad, including 0.
CUT = "dx[:, :, pad:pad + H, pad:pad + W]"


def explain(scene: Scene) -> list[str]:
    """Return the first few mistakes that give the numbers found."""
    if not np.isfinite(scene.yours).all():
        return [f"{int((~np.isfinite(scene.yours)).sum())} entries are not finite (nan or inf)"]
    if scene.yours.size and not scene.yours.any():
        return ["it is all zeros: it was never written, or a copy was"]
    found: list[str] = []
    for guesses in GUESSES:
        for hint, guess in guesses(scene):
            if scene.is_yours(guess) and hint not in found:
                found.append(hint)
                if len(found) == MOST_HINTS:
                    return found
    return found


Guesses = Iterator[tuple[str, Array]]


def extras(scene: Scene) -> Guesses:
    """Mistakes that are specific to the function."""
    yield from scene.extra


def factor(scene: Scene) -> Guesses:
    """A wrong sign or constant factor: for example 1/N left out, or applied twice."""
    if scene.ours.shape != scene.yours.shape:
        return
    ours, yours = scene.ours, scene.yours
    energy = float((ours * ours).sum())
    ratio = float((ours * yours).sum()) / energy if energy else 0.0
    if not ratio:
        return
    hint = f"it is netspec's times {ratio:.6g} everywhere"
    if abs(ratio + 1) < CLOSE:
        hint = "the sign is wrong"
    size = f"{ratio:.3g} times too large" if ratio > 1 else f"{1 / ratio:.3g} times too small"
    for what, number in scene.factors.items():
        if number != 1 and abs(ratio / number - 1) < CLOSE:
            hint = f"it is {size}: divide by {what}"
        elif number != 1 and abs(ratio * number - 1) < CLOSE:
            hint = f"it is {size}: divided by {what} one time too many"
    if scene.ours.size > 1 or not hint.endswith("everywhere"):  # of one number it says nothing
        yield hint, ratio * ours


def other_layout(scene: Scene) -> Guesses:
    """The right numbers, but transposed or in another shape."""
    ours = scene.ours
    for order in permutations(range(ours.ndim)):
        if order != tuple(range(ours.ndim)):
            turned = "transposed" if ours.ndim == 2 else f"with its axes in the order {list(order)}"
            yield f"it is netspec's, {turned}", ours.transpose(order)
    if ours.size == scene.yours.size:
        hint = f"the numbers are right, the shape is not: reshape to {list(ours.shape)}"
        yield hint, ours.reshape(scene.yours.shape)


def not_summed(scene: Scene) -> Guesses:
    """A gradient with axes over which it should have been summed."""
    yours, ours = scene.yours, scene.ours
    if not scene.is_gradient or yours.ndim <= ours.ndim or yours.size == ours.size:
        return
    for count in range(1, yours.ndim):
        for axes in permutations(range(yours.ndim), count):
            if list(axes) == sorted(axes):
                summed = yours.sum(axis=axes)
                if summed.shape == ours.shape and distance(summed, ours) < CLOSE:
                    yield f"sum it over the axes {list(axes)}", yours


def padding_left(scene: Scene) -> Guesses:
    """The gradient of the padded picture."""
    yours, ours = scene.yours, scene.ours
    if yours.ndim != 4 or ours.ndim != 4 or yours.shape[:2] != ours.shape[:2]:
        return
    if yours.size == 0 < ours.size:
        yield f"pad:-pad is empty for pad = 0, as 0:-0 is: write {CUT}", yours
        return
    (more_h, odd_h), (more_w, odd_w) = (
        divmod(a - b, 2) for a, b in zip(yours.shape[2:], ours.shape[2:], strict=True)
    )
    if odd_h or odd_w or min(more_h, more_w) < 0 or max(more_h, more_w) == 0:
        return
    height, width = ours.shape[2:]
    inside = yours[:, :, more_h : more_h + height, more_w : more_w + width]
    if distance(inside, ours) < CLOSE:
        yield f"the padding is still there: cut it off, {CUT}", yours


def shifted(scene: Scene) -> Guesses:
    """A picture shifted by a pixel."""
    yours, ours = scene.yours, scene.ours
    if yours.shape != ours.shape or ours.ndim != 4 or min(ours.shape[2:]) < 3:
        return
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            if (down, right) == (0, 0):
                continue
            theirs, own = _overlap(down, right)
            if distance(yours[own], ours[theirs]) < CLOSE:
                hint = f"it is shifted by {[down, right]} pixels: an index or the padding is off"
                yield hint, yours


def _overlap(down: int, right: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Return where a picture and the shifted picture overlap: the region in each of them."""

    def cut(by: int) -> slice:
        return slice(max(by, 0), min(by, 0) or None)

    whole = slice(None)
    return (whole, whole, cut(-down), cut(-right)), (whole, whole, cut(down), cut(right))


def other_order(scene: Scene) -> Guesses:
    """Another gradient of the same layer: they were returned in another order."""
    setting = scene.setting
    if setting is None or not scene.is_gradient:
        return
    names = [f"d{name}" for name in setting.layer.names()]
    results = setting.results()
    for name in names:
        if name != scene.name:
            yield f"it is {name}: return {', '.join(names)}, in this order", results[name]


def part_of_the_batch(scene: Scene) -> Guesses:
    """Overwritten by each image, where it should be summed."""
    setting = scene.setting
    if setting is None or not scene.is_gradient or scene.batch == 1:
        return
    is_input = scene.name[1:] in setting.layer.inputs
    for which, at in (("last", -1), ("first", 0)):
        dout = np.zeros_like(setting.dout)
        dout[at] = setting.dout[at]
        ours = setting.changed(dout=dout).results()[scene.name]
        if is_input:
            yield f"only the {which} image has a gradient: go through all of them", ours
        else:
            hint = f"it is the gradient of the {which} image alone: add up over the batch (`+=`)"
            yield hint, ours


def dout_left_out(scene: Scene) -> Guesses:
    """The chain rule was forgotten: dout is missing."""
    setting = scene.setting
    if setting is None or not scene.is_gradient:
        return
    ones = np.ones_like(setting.dout)
    yield "it is not multiplied by dout", setting.changed(dout=ones).results()[scene.name]
    if setting.dout.shape == scene.yours.shape:
        yield "it is dout, passed on unchanged", setting.dout
    if len(setting.layer.parts) == 1 and setting.layer.parts[0].part.gates:
        (x,) = (setting.arrays[name] for name in setting.layer.graph.inputs)
        hint = "it lets dout through where its input is 0, where the gradient is 0"
        yield hint, np.where(x >= 0, setting.dout, 0)
    negative = np.where(setting.dout > 0, setting.dout, 0)
    for i, placed in enumerate(setting.layer.parts):
        if not placed.part.gates:
            continue
        hint = (
            f"{placed.name} lets dout through where dout > 0; it must do so where its input is > 0"
        )
        if len(setting.layer.parts) == 1:
            yield hint, negative
            continue
        layer = setting.layer.without(i)
        alone = Setting(layer, setting.training, setting.arrays, setting.dout, setting.running)
        yield f"{placed.name}'s gradient is left out", layer.run(alone)[scene.name]
        yield hint, layer.run(alone.changed(dout=negative))[scene.name]


def parameters(scene: Scene) -> Guesses:
    """A parameter left out, squared, flipped or transposed."""
    setting = scene.setting
    if setting is None:
        return

    def results(name: str, array: Array) -> Array:
        return setting.changed(**{name: array}).results()[scene.name]

    for placed, argument in setting.layer.arguments():
        name, array = argument.name, setting.arrays[argument.name]
        scales = placed.part.sets is not None and argument.parameter == "weight"
        if scales and scene.is_gradient:
            yield (
                f"`{name}` is multiplied in twice: dL/dx_hat already contains it",
                results(name, array**2),
            )
        if scales:
            yield f"`{name}` is left out", results(name, np.ones_like(array))
        elif argument.parameter == "bias":
            yield f"`{name}` is not added", results(name, np.zeros_like(array))
        if array.ndim == 4 and array.size > max(array.shape):
            hint = "the filters are flipped: a layer of a network correlates, it does not convolve"
            yield hint, results(name, array[:, :, ::-1, ::-1])
            if f"d{name}" == scene.name:
                yield "it is flipped in both directions", scene.ours[:, :, ::-1, ::-1]
            if array.shape[2] == array.shape[3]:
                yield (
                    "height and width of the filters are mixed up",
                    results(name, array.swapaxes(2, 3)),
                )


def pooling(scene: Scene) -> Guesses:
    """Windows that overlap, are overwritten as a whole, or select the wrong number."""
    setting = scene.setting
    if setting is None or len(setting.layer.parts) > 1:
        return
    (placed,) = setting.layer.parts
    if not (placed.part.pools or placed.part.averages) or scene.yours.shape != scene.ours.shape:
        return
    op: Any = placed.node.op
    windows = list(op.windows(setting.arrays["x"].shape[1:]))
    if scene.name == "out":
        yield from _pooled(scene, setting, windows, largest=placed.part.pools)
    elif scene.name == "dx" and placed.part.pools:
        yield from _maxima(scene, setting, windows)
    elif scene.name == "dx":
        assigned = np.zeros_like(setting.arrays["x"])
        for at, read in windows:
            share = setting.dout[at][:, :, None, None]
            window = assigned[read]
            window[...] = share / (window.shape[2] * window.shape[3])
        yield f"each window is assigned whole (`=`): {ADD}", assigned


# What should be done instead.
ADD = "where windows overlap, their gradients add up (`+=`)"
Window = tuple[tuple[Any, ...], tuple[Any, ...]]


def _pooled(scene: Scene, setting: Setting, windows: list[Window], *, largest: bool) -> Guesses:
    x = setting.arrays["x"]
    spread, mean, maximum = (np.zeros_like(scene.ours) for _ in range(3))
    for at, read in windows:
        window = x[read]
        mean[at] = window.mean(axis=(2, 3))
        maximum[at] = window.max(axis=(2, 3))
        spread[read] = (maximum if largest else mean)[at][:, :, None, None]
    yield (
        "a number is written to a whole window of `out`: it belongs in out[:, :, i, j] only",
        spread,
    )
    if largest:
        yield "it is the mean of each window: take the maximum", mean
    else:
        yield "it is the maximum of each window: take the mean", maximum


def _maxima(scene: Scene, setting: Setting, windows: list[Window]) -> Guesses:
    x = setting.arrays["x"]
    assigned, whole, chosen = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for at, read in windows:
        window = x[read]
        flat = window.reshape(*window.shape[:2], -1)
        first = (np.arange(flat.shape[2]) == flat.argmax(axis=2)[..., None]).reshape(window.shape)
        share = setting.dout[at][:, :, None, None]
        assigned[read] = np.where(first, share, assigned[read])
        whole[read] = np.where(first, share, 0)
        chosen[read] += first
    hint = (
        "where windows overlap, a pixel is the maximum of several: their gradients add up (`+=`),"
        " the last one does not replace the others (`=`)"
    )
    yield hint, assigned
    yield f"each window is assigned whole (`=`), its zeros too: {ADD}", whole
    wrong = np.abs(scene.yours - scene.ours) > CLOSE
    if not wrong[chosen <= 1].any():
        yield (
            (
                "only pixels that are the maximum of several windows are wrong: one mask"
                " of all maxima cannot count them, so add each window's gradient (`+=`)"
            ),
            scene.yours,
        )


# In this order; the first few that match are reported.
GUESSES: tuple[Callable[[Scene], Guesses], ...] = (
    extras,
    other_order,
    part_of_the_batch,
    parameters,
    normalizing,
    running,
    pooling,
    convolving,
    dout_left_out,
    factor,
    other_layout,
    not_summed,
    padding_left,
    shifted,
)
