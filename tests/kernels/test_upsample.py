"""Interpolation along short and long axes, by matrices and by pixels that are taken."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

import netspec
from netspec.kernels import upsample

MODES = ("nearest", "nearest-exact", "bilinear", "bicubic")


def matrix(taps: upsample.Taps, size: int) -> NDArray[np.float64]:
    found = np.zeros((len(taps.at), size))
    for row, (columns, weights) in enumerate(zip(taps.at, taps.weights, strict=True)):
        np.add.at(found[row], columns, weights)
    return found


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("corners", [False, True])
def test_taps_are_packed_and_turn_into_those_of_the_transposed_matrix(
    mode: str, corners: bool
) -> None:
    for size, outputs in itertools.product((1, 2, 5, 33), (1, 3, 5, 64)):
        taps = upsample.taps_of(size, outputs, mode=mode, align_corners=corners)
        whole = matrix(taps, size)
        np.testing.assert_allclose(whole.sum(1), 1)
        assert taps.at.shape[1] == (whole != 0).sum(1).max()
        back = upsample.turned(taps, size)
        assert np.array_equal(matrix(back, outputs), whole.T)
        for columns, weights in zip(back.at, back.weights, strict=True):
            used = columns[weights != 0]
            assert np.array_equal(used, np.unique(used))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("small", "large"),
    [((5, 7), (9, 21)), ((90, 3), (200, 4)), ((70, 80), (141, 33)), ((300, 2), (7, 90))],
)
def test_long_axes_and_short_ones_are_products_of_matrices(
    mode: str, small: tuple[int, int], large: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, *small, 3)), rng.standard_normal((2, *large, 3))
    a, b = (
        matrix(upsample.taps_of(n, m, mode=mode, align_corners=False), n)
        for n, m in zip(small, large, strict=True)
    )
    scratch = np.empty(upsample.scratch_size(2, (*small, 3), (*large, 3)))
    out, dx = np.empty_like(dy), np.empty_like(x)
    upsample.forward(x, out, scratch, mode=mode, align_corners=False, scale=None)
    upsample.backward(dy, dx, scratch, mode=mode, align_corners=False, scale=None)
    np.testing.assert_allclose(
        out, np.einsum("ih,jw,nhwc->nijc", a, b, x, optimize=True), atol=1e-12
    )
    np.testing.assert_allclose(
        dx, np.einsum("ih,jw,nijc->nhwc", a, b, dy, optimize=True), atol=1e-12
    )


@pytest.mark.parametrize("size", [8, 200])
def test_what_is_no_number_reaches_the_pixels_that_it_has_a_share_of(size: int) -> None:
    x = np.ones((1, size, 1, 1))
    x[0, 3] = np.inf
    out = np.empty((1, 2 * size, 1, 1))
    scratch = np.empty(upsample.scratch_size(1, (size, 1, 1), (2 * size, 1, 1)))
    with np.errstate(invalid="ignore"):
        upsample.forward(x, out, scratch, mode="bilinear", align_corners=False, scale=None)
    assert np.flatnonzero(np.isinf(out)).tolist() == [5, 6, 7, 8]
    assert np.isfinite(out).sum() == 2 * size - 4


def test_a_long_signal_takes_memory_in_proportion() -> None:
    net = netspec.loads("net A {\n input x: [2, 20000]\n output x -> upsample(2, mode = linear)\n}")
    model = net.compile()
    x = np.random.default_rng(0).standard_normal((1, 2, 20_000)).astype(np.float32)
    tracemalloc.start()
    try:
        out = model.forward(x)
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(
        out[0, :, 1:-1:2], 0.75 * x[0, :, :-1] + 0.25 * x[0, :, 1:], atol=1e-5
    )
    assert len(net.source("c", training=False)) < 6e6
    assert netspec.verify(net, batch=1, torch=False).ok
