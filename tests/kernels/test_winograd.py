"""Winograd's algorithm along the height: the transforms are exact, and the kernels agree with the
sum.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.kernels import conv
from netspec.kernels.convolution import winograd
from netspec.kernels.windows import Window


@pytest.mark.parametrize(("m", "r"), [(4, 3), (2, 5), (2, 7), (2, 3)])
def test_the_transforms_are_a_correlation(m, r):
    """A.T [(G w) * (B.T x)] is the correlation of x and w, exactly in whole numbers."""
    back, kernel, forth = (
        matrix.astype(np.float64) for matrix in winograd.transforms(m, r, np.dtype("f4"))
    )
    rng = np.random.default_rng(0)
    x, w = rng.integers(-9, 9, m + r - 1), rng.integers(-9, 9, r)
    expected = [
        float(sum(Fraction(int(a * b)) for a, b in zip(x[i:], w, strict=False))) for i in range(m)
    ]
    # Only G is rounded; the other matrices hold small whole numbers.
    np.testing.assert_allclose(back @ ((kernel @ w) * (forth @ x)), expected, atol=1e-12)


def direct(x, weight, pad):
    """Compute the sum over taps in float64, for x (N, H, W, C) and weight (O, C, kh, kw)."""
    kh, kw = weight.shape[2:]
    x = np.pad(x.astype(np.float64), ((0, 0), (pad[0], pad[1]), (pad[2], pad[3]), (0, 0)))
    height, width = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    return sum(
        x[:, i : i + height, j : j + width] @ weight[:, :, i, j].T.astype(np.float64)
        for i in range(kh)
        for j in range(kw)
    )


@settings(max_examples=60)
@given(
    n=st.integers(1, 9),
    channels=st.integers(1, 9),
    outputs=st.integers(1, 9),
    size=st.tuples(st.integers(7, 20), st.integers(7, 20)),
    kernel=st.tuples(st.sampled_from([3, 5, 7]), st.sampled_from([1, 2, 3, 5])),
    pad=st.tuples(*[st.integers(0, 3)] * 4),
)
def test_the_kernels_agree_with_the_sum(n, channels, outputs, size, kernel, pad):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((n, *size, channels)).astype(np.float32)
    weight = rng.standard_normal((outputs, channels, *kernel)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    expected = direct(x, weight, pad)
    out = np.full(expected.shape, np.nan, np.float32)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    dx, dweight = np.full_like(x, np.nan), np.full_like(weight, np.nan)
    options = {"stride": (1, 1), "pad": pad, "dilation": (1, 1), "groups": 1}
    elements = conv.scratch_size(n, x.shape[1:], out.shape[1:], kernel=kernel, **options)
    scratch = np.full(elements, np.nan, np.float32)
    conv.forward(x, weight, bias, out, scratch, **options)
    conv.backward_weight(x, dy, dweight, scratch, **options)
    conv.backward_input(dy, weight, dx, scratch, **options)
    near = {"rtol": 0, "atol": 3e-5}
    scale = abs(expected).max() + abs(bias).max()
    np.testing.assert_allclose(out / scale, (expected + bias) / scale, **near)
    # The gradients of sum(dy * out), by the same sum in reverse.
    kh, kw = kernel
    turned = weight.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    around = (kh - 1 - pad[0], kh - 1 - pad[1], kw - 1 - pad[2], kw - 1 - pad[3])
    if min(around) >= 0:
        back = direct(dy, turned, around)
        np.testing.assert_allclose(dx / abs(back).max(), back / abs(back).max(), **near)
    padded = np.pad(x.astype(np.float64), ((0, 0), pad[:2], pad[2:], (0, 0)))
    height, width = dy.shape[1:3]
    for i in range(kh):
        for j in range(kw):
            seen = padded[:, i : i + height, j : j + width]
            total = np.einsum("nhwo,nhwc->oc", dy.astype(np.float64), seen)
            size_of = max(1.0, abs(total).max()) * 10
            np.testing.assert_allclose(dweight[:, :, i, j] / size_of, total / size_of, **near)


def test_it_is_used_for_single_precision_alone():
    window = Window((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    assert winograd.applies((2, 8, 8, 16), (2, 8, 8, 16), 1, window)
    assert not winograd.applies((2, 8, 8, 16), (2, 8, 8, 16), 2, window)
    strided = window._replace(stride=(2, 2))
    assert not winograd.applies((2, 8, 8, 16), (2, 4, 4, 16), 1, strided)
