"""Common mistakes in the backward pass of a convolution: what is assigned, and should be added up."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from netspec.compiler.ir.attributes import sides, spread
from netspec.testing.layer import Setting
from netspec.testing.scene import Array, Scene

Guesses = Iterator[tuple[str, Array]]

_OVERLAP = (
    "where windows overlap, their gradients add up (`+=`), the last does not replace them (`=`)"
)
_REPLACED = "each window's gradient replaces those before (`=`): add them up (`+=`)"


def convolving(scene: Scene) -> Guesses:
    """Gradients of a convolution that are assigned in the loops, where they should be added up."""
    setting = scene.setting
    if setting is None or not scene.is_gradient or len(setting.layer.parts) > 1:
        return
    (placed,) = setting.layer.parts
    op: Any = placed.node.op
    if not placed.part.correlates or op.groups != 1 or setting.dout.ndim != 4:
        return
    if scene.name == "dx":
        yield from ((_OVERLAP, guess) for guess in _inputs(setting, op))
    elif scene.name == "dw":
        yield from ((_REPLACED, guess) for guess in _filters(setting, op))
    elif scene.name == "db":
        dout = setting.dout
        over = "over images, rows and columns, dout.sum(axis=(0, 2, 3))"
        yield f"it is the mean of dout: take the sum {over}", dout.mean(axis=(0, 2, 3))
        yield f"it is a mean: take the sum {over}", dout.mean(axis=(2, 3)).sum(axis=0)
        yield f"it is the last number of dout alone: take the sum {over}", dout[-1, :, -1, -1]
        yield f"it is dout at the last place: take the sum {over}", dout[:, :, -1, -1].sum(axis=0)


def _windows(setting: Setting, op: Any) -> tuple[Array, list[Any]]:
    """Return the padded picture, and for each output its place and what it reads, row by row."""
    x = setting.arrays["x"]
    padded = np.pad(x, ((0, 0), (0, 0), *sides(op.padding(2), 2)))
    (down, right), apart = spread(op.stride, 2), spread(op.dilation, 2)
    reach = [d * (k - 1) + 1 for d, k in zip(apart, spread(op.kernel, 2), strict=True)]
    every = slice(None), slice(None)
    windows = []
    for i, j in product(*map(range, setting.dout.shape[2:])):
        rows = slice(i * down, i * down + reach[0], apart[0])
        columns = slice(j * right, j * right + reach[1], apart[1])
        windows.append(((*every, i, j), (*every, rows, columns)))
    return padded, windows


def _inputs(setting: Setting, op: Any) -> Iterator[Array]:
    """Yield dx where each window of the picture is assigned: for all filters together, or for each."""
    w, dout = setting.arrays["w"], setting.dout
    padded, windows = _windows(setting, op)
    together, each = np.zeros_like(padded), np.zeros_like(padded)
    for at, read in windows:
        together[read] = np.einsum("nf,fckl->nckl", dout[at], w)
        each[read] = dout[at][:, -1, None, None, None] * w[-1]
    (top, _), (left, _) = sides(op.padding(2), 2)
    height, width = setting.arrays["x"].shape[2:]
    for found in (together, each):
        yield found[:, :, top : top + height, left : left + width]


def _filters(setting: Setting, op: Any) -> Iterator[Array]:
    """Yield dw of the last window alone: of all images, or of the last one."""
    padded, windows = _windows(setting, op)
    at, read = windows[-1]
    dout, seen = setting.dout[at], padded[read]
    yield np.einsum("nf,nckl->fckl", dout, seen)
    yield np.einsum("f,ckl->fckl", dout[-1], seen[-1])
