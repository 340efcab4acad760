"""The base class of layer, group and instance norm: each normalises every image by itself."""

from __future__ import annotations

import math
from typing import Any

from netspec.compiler.ir.contract import *
from netspec.compiler.ir.layout import Layout
from netspec.records import record


@record
class Sets:
    """Which numbers of an image are normalised together.

    Attributes:
        split: the shape to which an image is reshaped.
        over: the axes of `split` that are normalised together, counted with the batch in front.
        affine: the shape in which a parameter broadcasts against `split`, with 1 where one number
            applies to many elements.
        parts: for each axis of the image, the axes of `split` that it becomes, counted from 0.
        served: for each axis of a parameter, the last axis of `split` that it goes along.
    """

    split: Shape
    over: tuple[int, ...]
    affine: Shape
    parts: tuple[tuple[int, ...], ...]
    served: tuple[int, ...]

    def stored(self, layout: Layout) -> StoredSets:
        """Return the sets of an image that is stored by a layout."""
        order = [axis for parts in layout.stored(self.parts) for axis in parts]
        split = tuple(self.split[axis] for axis in order)
        affine = tuple(self.affine[axis] for axis in order)
        over = tuple(1 + at for at, axis in enumerate(order) if axis + 1 in self.over)
        served = tuple(self.served.index(axis) for axis in order if axis in self.served)
        return _flat(StoredSets(split, over, affine, served))


@record
class StoredSets:
    """The sets of an image as stored: the options of the kernels.

    Attributes:
        split, over, affine: as those of `Sets`.
        order: the axes of a parameter in their order of storage.
    """

    split: Shape
    over: tuple[int, ...]
    affine: Shape
    order: tuple[int, ...]


def _flat(sets: StoredSets) -> StoredSets:
    """Join the first axes of channels that are stored last and are sets of their own: sums go over
    one long axis.
    """
    if len(sets.split) < 2:
        return sets
    *pixels, channels, each = sets.split
    if (
        each != 1
        or len(pixels) + 1 in sets.over
        or sets.over[:-1] != tuple(range(1, len(pixels) + 1))
    ):
        return sets
    return StoredSets((math.prod(pixels), channels), (1,), (1, channels), sets.order)


class NormalizingOp(Op):
    """xhat = (x - mean) / sqrt(var + eps), y = weight xhat + bias, for sets of an image's numbers."""

    storage = Storage.KEPT
    parameter_names = ("weight", "bias")

    eps: float

    def sets(self, x: Shape) -> Sets:
        """Return which numbers are normalised together."""
        raise NotImplementedError

    def parameter_shape(self, x: Shape) -> Shape:
        """Return the shape of weight and bias."""
        raise NotImplementedError

    def learns(self) -> tuple[bool, bool]:
        """Return whether there is a weight, and whether there is a bias."""
        raise NotImplementedError

    def parameters(self, *inputs: Shape) -> tuple[ParameterSpec, ...]:
        """Return `weight`, starting as ones, and `bias`, starting as zeros, if they are learnt."""
        shape = self.parameter_shape(inputs[0])
        weight = ParameterSpec("weight", shape, Ones(), "scale")
        bias = ParameterSpec("bias", shape, Zeros(), "shift")
        return tuple(p for p, has in zip((weight, bias), self.learns(), strict=True) if has)

    # -- reference

    def forward(self, run: Evaluation, *x: Array) -> Array:
        """Normalise, then scale and shift."""
        sets = self.sets(x[0].shape[1:])
        split = x[0].reshape(-1, *sets.split)
        mean = split.mean(axis=sets.over, keepdims=True)
        s = 1 / (split.var(axis=sets.over, keepdims=True) + self.eps) ** 0.5
        xhat: Array = (split - mean) * s
        run.saved.update(xhat=xhat, s=s)
        y = xhat
        if "weight" in run.parameters:
            y = y * run.parameters["weight"].reshape(sets.affine)
        if "bias" in run.parameters:
            y = y + run.parameters["bias"].reshape(sets.affine)
        result: Array = y.reshape(x[0].shape)
        return result

    def backward(self, run: Evaluation, dy: Array, *x: Array) -> tuple[Array, ...]:
        """Return the gradient by the formulas in the docstrings of the ops."""
        sets = self.sets(x[0].shape[1:])
        xhat, s = run.saved["xhat"], run.saved["s"]
        g = dy.reshape(xhat.shape)
        served = (0, *(i + 1 for i, size in enumerate(sets.affine) if size == 1))
        h = g
        if "weight" in run.parameters:
            weight = run.parameters["weight"]
            run.gradients["weight"] = (g * xhat).sum(axis=served).reshape(weight.shape)
            h = g * weight.reshape(sets.affine)
        if "bias" in run.parameters:
            bias = run.parameters["bias"]
            run.gradients["bias"] = g.sum(axis=served).reshape(bias.shape)
        level = h.mean(axis=sets.over, keepdims=True)
        along = (h * xhat).mean(axis=sets.over, keepdims=True)
        return ((s * (h - level - xhat * along)).reshape(dy.shape),)

    # -- lowering

    def _options(self, to: Lowering) -> dict[str, Any]:
        sets = self.sets(to.x_shapes[0]).stored(to.layout)
        return {
            "split": sets.split,
            "over": sets.over,
            "order": sets.order,
            "affine": sets.affine,
        }

    def lower(self, to: Lowering) -> None:
        """Append one kernel call, which saves the mean and the inverse standard deviation."""
        options = self._options(to)
        statistics = tuple(
            1 if axis + 1 in options["over"] else size for axis, size in enumerate(options["split"])
        )
        mean, inverse_std = (to.buffer(s, statistics) for s in ("mean", "inverse_std"))
        to.saved.update(mean=mean, inverse_std=inverse_std)
        to.call(
            "per_image_norm.forward",
            to.x[0], to.scratch, to.parameter("weight"), to.parameter("bias"), to.out,
            mean, inverse_std,
            writes=[to.out, mean, inverse_std], scratch=self._scratch(to), **options,
            eps=self.eps,
        )  # fmt: skip

    def lower_backward(self, to: Lowering) -> None:
        """Append one kernel call."""
        weight, bias = self.learns()
        dweight = to.parameter_gradient("weight") if weight else None
        dbias = to.parameter_gradient("bias") if bias else None
        dx = to.gradient_buffer(0) if to.wanted[0] else None
        to.call(
            "per_image_norm.backward",
            to.x[0], to.dy, to.scratch, to.parameter("weight"),
            to.saved["mean"], to.saved["inverse_std"], dweight, dbias, dx,
            writes=[dweight, dbias, dx], scratch=self._scratch(to), **self._options(to),
        )  # fmt: skip
        if dx is not None:
            to.gradient(0, dx)

    def _scratch(self, to: Lowering) -> Scratch:
        return to.needs("per_image_norm.scratch_size", (to.x[0].shape,))


def channel_sets(x: Shape, groups: int) -> Sets:
    """Return `groups` sets of neighbouring channels, each with all its pixels.

    There is one parameter per channel.
    """
    channels, *pixels = x
    each = 1 if groups == channels else channels // groups  # channels may be an open size
    split = (groups, each, *pixels)
    over = tuple(range(2, len(split) + 1))
    affine = (groups, each, *(1 for _ in pixels))
    parts = ((0, 1), *((axis,) for axis in range(2, len(split))))
    return Sets(split, over, affine, parts, (1,))


def last_axes_sets(x: Shape, axes: int) -> Sets:
    """Return one set for each index of the axes before the last `axes`.

    There is one parameter for each place in a set.
    """
    rank = len(x)
    normalized = range(rank - axes, rank)
    over = tuple(axis + 1 for axis in normalized)
    affine = tuple(size if axis in normalized else 1 for axis, size in enumerate(x))
    return Sets(x, over, affine, tuple((axis,) for axis in range(rank)), tuple(normalized))
