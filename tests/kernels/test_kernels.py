"""The kernels, compared with slow and obvious loops."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.kernels import batch_norm as norm
from netspec.kernels import conv, copies, dropout, linear, parallel, pool
from netspec.kernels.convolution import conv_plan, winograd
from netspec.kernels.convolution.mending import mend
from netspec.kernels.windows import Window

DTYPES = pytest.mark.parametrize("dtype", [np.float64, np.float32])
quick = settings(max_examples=100, derandomize=True, database=None)
NAN = float("nan")


def agree(got, expected, dtype=np.float64):
    assert got.dtype == dtype
    scale = max(1.0, np.abs(expected).max(initial=0))
    tolerance = {np.float64: 1e-10, np.float32: 2e-4}[dtype]
    assert np.abs(got - expected).max(initial=0) <= tolerance * scale


def sample(shape, dtype=np.float64, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def unwritten(shape, dtype=np.float64):
    """Make an array for a result that must be written everywhere, or for scratch that must not be
    trusted.
    """
    return np.full(shape, NAN, dtype)


# ------------------------------------------------------------------------------------ references


def conv_naive(x, weight, bias, stride, pad, dilation, groups):
    (sh, sw), (top, bottom, left, right), (dh, dw) = stride, pad, dilation
    x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
    o, ins, kh, kw = weight.shape
    n, height, width, _ = x.shape
    oh, ow = (height - dh * (kh - 1) - 1) // sh + 1, (width - dw * (kw - 1) - 1) // sw + 1
    y = np.zeros((n, oh, ow, o))
    for p, q, k in np.ndindex(oh, ow, o):
        channels = slice(k // (o // groups) * ins, (k // (o // groups) + 1) * ins)
        rows = slice(p * sh, p * sh + dh * (kh - 1) + 1, dh)
        columns = slice(q * sw, q * sw + dw * (kw - 1) + 1, dw)
        patch = x[:, rows, columns, channels]
        y[:, p, q, k] = (patch * weight[k].transpose(1, 2, 0)).sum(axis=(1, 2, 3))
    return y if bias is None else y + bias


def windows_naive(x, out_shape, kernel, stride, pad, dilation):
    """Return for each output pixel the pixels in its window, in row-major order."""
    _, height, width, _ = x.shape
    for p, q in np.ndindex(*out_shape):
        pixels = [
            (p * stride[0] + i * dilation[0] - pad[0], q * stride[1] + j * dilation[1] - pad[2])
            for i, j in np.ndindex(*kernel)
        ]
        yield p, q, [(h, w) for h, w in pixels if 0 <= h < height and 0 <= w < width]


def max_naive(x, dy, kernel, stride, pad, dilation):
    y, dx = np.full(dy.shape, -np.inf), np.zeros_like(x)
    for p, q, pixels in windows_naive(x, dy.shape[1:3], kernel, stride, pad, dilation):
        for n, c in np.ndindex(len(x), x.shape[3]):
            if pixels:
                best = max(pixels, key=lambda at: x[n, *at, c])
                y[n, p, q, c] = x[n, *best, c]
                dx[n, *best, c] += dy[n, p, q, c]
    return y, dx


def avg_naive(x, dy, kernel, stride, pad, count_include_pad):
    y, dx = np.zeros(dy.shape), np.zeros_like(x)
    top, bottom, left, right = pad
    for p, q, pixels in windows_naive(x, dy.shape[1:3], kernel, stride, pad, (1, 1)):
        size = len(pixels)
        if count_include_pad:
            start_h, start_w = p * stride[0] - top, q * stride[1] - left
            size = (min(start_h + kernel[0], x.shape[1] + bottom) - start_h) * (
                min(start_w + kernel[1], x.shape[2] + right) - start_w
            )
        for h, w in pixels:
            y[:, p, q] += x[:, h, w] / size
            dx[:, h, w] += dy[:, p, q] / size
    return y, dx


# ----------------------------------------------------------------------------------- convolution


def out_size(size, before, after, kernel, stride, dilation):
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def run_conv(x, weight, bias, dy, **geometry):
    """Run all kernels, each with exactly the scratch that it declares, and return y, dx, dweight,
    dbias.
    """
    dtype = x.dtype
    size = conv.scratch_size(len(x), x.shape[1:], dy.shape[1:], kernel=weight.shape[2:], **geometry)
    y, dx, dweight = (unwritten(a.shape, dtype) for a in (dy, x, weight))
    conv.forward(x, weight, bias, y, unwritten(size, dtype), **geometry)
    conv.backward_input(dy, weight, dx, unwritten(size, dtype), **geometry)
    conv.backward_weight(x, dy, dweight, unwritten(size, dtype), **geometry)
    dbias = unwritten(len(weight), dtype)
    conv.backward_bias(dy, dbias)
    return y, dx, dweight, dbias


def check_conv(n, height, width, inputs, outputs, kernel, stride, pad, dilation, groups, dtype):
    x = sample((n, height, width, inputs), dtype, 1)
    weight = sample((outputs, inputs // groups, *kernel), dtype, 2)
    bias = sample(outputs, dtype, 3)
    expected = conv_naive(x, weight, bias, stride, pad, dilation, groups)
    dy = sample(expected.shape, dtype, 4)
    geometry = {"stride": stride, "pad": pad, "dilation": dilation, "groups": groups}
    y, dx, dweight, dbias = run_conv(x, weight, bias, dy, **geometry)
    agree(y, expected, dtype)
    agree(dbias, dy.sum(axis=(0, 1, 2), dtype=np.float64), dtype)
    assert dx.dtype == dweight.dtype == dtype
    # conv is linear in x and in weight: <conv(e), dy> == <e, gradient> for any e.
    tolerance = 1e-10 if dtype == np.float64 else 2e-4
    for seed in range(3):
        other_x, other_weight = sample(x.shape, seed=seed + 5), sample(weight.shape, seed=seed + 8)
        by_x = (conv_naive(other_x, weight, None, stride, pad, dilation, groups) * dy).sum()
        by_weight = (conv_naive(x, other_weight, None, stride, pad, dilation, groups) * dy).sum()
        scale = max(1.0, np.linalg.norm(other_x) * np.linalg.norm(dx.astype(np.float64)))
        assert abs((other_x * dx).sum() - by_x) <= tolerance * scale
        scale = max(1.0, np.linalg.norm(other_weight) * np.linalg.norm(dweight.astype(np.float64)))
        assert abs((other_weight * dweight).sum() - by_weight) <= tolerance * scale


NO_PAD = (0, 0, 0, 0)
CONVS = {
    # name: n, height, width, inputs, outputs, kernel, stride, pad, dilation, groups
    "3x3": (2, 6, 6, 4, 5, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "valid 5x5, one channel": (3, 12, 12, 1, 6, (5, 5), (1, 1), NO_PAD, (1, 1), 1),
    "7x7 on three channels": (2, 8, 8, 3, 8, (7, 7), (1, 1), (3, 3, 3, 3), (1, 1), 1),
    "1x1": (3, 5, 4, 6, 7, (1, 1), (1, 1), NO_PAD, (1, 1), 1),
    "1x1 dilated": (1, 3, 3, 2, 2, (1, 1), (1, 1), NO_PAD, (2, 2), 1),
    "1x1 strided": (2, 5, 7, 3, 4, (1, 1), (2, 2), NO_PAD, (1, 1), 1),
    "1x1 padded": (2, 3, 3, 2, 3, (1, 1), (1, 1), (1, 1, 1, 1), (1, 1), 1),
    "1x1 grouped": (2, 3, 3, 4, 6, (1, 1), (1, 1), NO_PAD, (1, 1), 2),
    "3x3 strided": (2, 8, 8, 3, 4, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 1),
    "stride larger than kernel": (2, 9, 9, 2, 3, (2, 2), (3, 4), NO_PAD, (1, 1), 1),
    "dilated": (2, 9, 8, 3, 2, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 1),
    "dilated and strided": (1, 11, 9, 2, 3, (3, 2), (2, 3), (2, 1, 0, 3), (2, 3), 1),
    "one-sided pad": (1, 4, 5, 2, 2, (2, 3), (1, 1), (1, 0, 2, 0), (1, 1), 1),
    "pad larger than kernel": (1, 3, 2, 2, 3, (2, 2), (1, 1), (4, 3, 5, 2), (1, 1), 1),
    "pad larger than kernel, strided": (1, 3, 2, 2, 3, (1, 2), (2, 3), (4, 3, 5, 2), (1, 1), 1),
    "kernel larger than picture": (2, 2, 3, 2, 2, (5, 5), (1, 1), (2, 2, 2, 2), (1, 1), 1),
    "groups": (2, 5, 5, 6, 9, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 3),
    "groups, strided": (2, 7, 5, 4, 2, (3, 3), (2, 1), (1, 1, 1, 1), (1, 1), 2),
    "depthwise": (2, 5, 6, 4, 4, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 4),
    "depthwise, strided": (2, 7, 6, 3, 3, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), 3),
    "depthwise with a multiplier": (2, 5, 5, 3, 6, (3, 3), (1, 1), NO_PAD, (1, 1), 3),
    "one pixel": (1, 1, 1, 1, 1, (1, 1), (1, 1), NO_PAD, (1, 1), 1),
    "primes": (3, 7, 5, 3, 5, (3, 2), (1, 1), (1, 1, 0, 1), (1, 1), 1),
}


@DTYPES
@pytest.mark.parametrize("case", CONVS.values(), ids=CONVS)
def test_conv_cases(case, dtype):
    check_conv(*case, dtype)


@pytest.mark.parametrize("case", CONVS.values(), ids=CONVS)
def test_conv_in_small_tiles(case, monkeypatch):
    """The results are the same when a tile holds one or two rows of one image."""
    monkeypatch.setattr(conv_plan, "TILE", 64)
    monkeypatch.setattr(conv_plan, "FEWEST_OUTPUTS", 1)
    monkeypatch.setattr(conv.depthwise, "TILE", 64)
    check_conv(*case, np.float64)


@pytest.mark.parametrize("span", [1, 2, 3, 6])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2)])
def test_conv_for_every_span(span, stride, monkeypatch):
    """The results are the same however many outputs one row of the columns is used for."""
    size = 6 if stride == (1, 1) else 11
    monkeypatch.setattr(
        conv_plan, "_choose_span", lambda width, *_: span if width % span == 0 else 1
    )
    check_conv(2, size, size, 2, 3, (3, 3), stride, (1, 1, 1, 1), (1, 1), 1, np.float64)


def small(high, low=1):
    return st.integers(low, high)


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    inputs, outputs = groups * draw(small(3)), groups * draw(small(3))
    kernel, stride = draw(st.tuples(small(4), small(4))), draw(st.tuples(small(3), small(3)))
    dilation = draw(st.tuples(small(3), small(3)))
    pad = draw(st.tuples(*[small(5, 0)] * 4))
    needed = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    height = draw(small(7, max(1, needed[0] - pad[0] - pad[1]))) if needed[0] <= 7 else needed[0]
    width = draw(small(7, max(1, needed[1] - pad[2] - pad[3]))) if needed[1] <= 7 else needed[1]
    return draw(small(3)), height, width, inputs, outputs, kernel, stride, pad, dilation, groups


@quick
@given(convolutions())
def test_conv_property(case):
    check_conv(*case, np.float64)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "stride", "out"),
    [(16, 16, 3, 1, 32), (1024, 1, 1, 2, 16), (3, 64, 7, 2, 16), (64, 64, 1, 1, 32)],
)
@pytest.mark.parametrize("threads", [1, 3])
def test_conv_scratch_is_small(inputs, outputs, kernel, stride, out, threads, monkeypatch):
    """Scratch is the packed weight and a few tiles per thread, whatever the number of images."""
    monkeypatch.setattr(parallel, "_threads", threads)
    pad = (kernel // 2,) * 4
    size = conv.scratch_size(
        10_000, (32, 32, inputs), (out, out, outputs), kernel=(kernel, kernel),
        stride=(stride, stride), pad=pad, dilation=(1, 1), groups=1,
    )  # fmt: skip
    assert size < 6 * conv_plan.TILE * threads


def linspace(start, stop, shape):
    return np.linspace(start, stop, num=int(np.prod(shape))).reshape(shape)


def channels_last(x):
    return np.ascontiguousarray(np.transpose(x, (0, 2, 3, 1)))


def channels_first(x):
    return np.transpose(x, (0, 3, 1, 2))


def relative_error(x, y):
    return np.max(np.abs(x - y) / np.maximum(1e-8, np.abs(x) + np.abs(y)))


def one_to_sixteen():
    return np.arange(1.0, 17).reshape(1, 1, 4, 4)


def test_conv_of_the_cs231n_notebook():
    x = channels_last(linspace(-0.1, 0.5, (2, 3, 4, 4)))
    weight, bias = linspace(-0.2, 0.3, (3, 3, 4, 4)), linspace(-0.1, 0.2, (3,))
    published = [
        [
            [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
            [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
            [[0.50813986, 0.54309974], [0.64082444, 0.67101435]],
        ],
        [
            [[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
            [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
            [[2.36270298, 2.36904306], [2.38090835, 2.38247847]],
        ],
    ]
    geometry = {"stride": (2, 2), "pad": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    y, *_ = run_conv(x, weight, bias, np.zeros((2, 2, 2, 3)), **geometry)
    assert relative_error(channels_first(y), np.array(published)) < 1e-7


def test_two_filters_on_one_to_sixteen():
    x = channels_last(one_to_sixteen())
    weight = np.zeros((2, 1, 3, 3))
    weight[0, 0, :, 1] = 0, 1, -1
    weight[1, 0, 1, :] = 0, -1, 1
    dy = channels_last(np.array([[[[-4.0, -4], [10, 11]], [[1, -7], [1, -11]]]]))
    geometry = {"stride": (1, 1), "pad": NO_PAD, "dilation": (1, 1), "groups": 1}
    y, dx, _, _ = run_conv(x, weight, np.zeros(2), dy, **geometry)
    agree(channels_first(y), np.array([[np.full((2, 2), -4.0), np.full((2, 2), 1.0)]]))
    expected = [[0, 0, 0, 0], [0, -5, 4, -7], [0, 13, 27, -11], [0, -10, -11, 0]]
    agree(channels_first(dx), np.array([[expected]], float))


# --------------------------------------------------------------------------------------- pooling


def run_max(x, dy, **geometry):
    y, dx = unwritten(dy.shape, x.dtype), unwritten(x.shape, x.dtype)
    size = pool.max_scratch_size(len(x), x.shape[1:], y.shape[1:])
    pool.max_forward(x, y, unwritten((size,), x.dtype), **geometry)
    size = pool.scratch_size(len(x), y.shape[1:], kernel=geometry["kernel"])
    pool.max_backward(x, y, dy, dx, np.empty(size, x.dtype), **geometry)
    return y, dx


def run_avg(x, dy, **geometry):
    y, dx = unwritten(dy.shape, x.dtype), unwritten(x.shape, x.dtype)
    pool.avg_forward(x, y, **geometry)
    scratch = unwritten((pool.avg_scratch_size(len(x), dy.shape[1:]),), x.dtype)
    pool.avg_backward(dy, dx, scratch, **geometry)
    return y, dx


@st.composite
def pools(draw):
    """Draw n, channels, and the (out, in) sizes, kernel, stride, pad and dilation of both axes."""
    axes = []
    for _ in range(2):
        kernel, stride, dilation = draw(small(4)), draw(small(4)), draw(small(2))
        before, after = draw(small(kernel // 2, 0)), draw(small(kernel // 2, 0))
        reach = dilation * (kernel - 1) + 1
        size = draw(small(9, max(1, reach - before - after)))
        room = size + before + after - reach
        out = room // stride + 1
        # As in PyTorch's ceil_mode: one more window, if it starts inside the padded picture.
        if draw(st.booleans()) and room % stride and out * stride < size + before:
            out += 1
        axes.append((out, size, kernel, stride, before, after, dilation))
    return draw(small(3)), draw(small(4)), axes


def pool_case(case, dtype):
    n, channels, ((oh, h, kh, sh, top, bottom, dh), (ow, w, kw, sw, left, right, dw)) = case
    # There are only a few distinct values, so that ties occur.
    x = np.round(sample((n, h, w, channels), dtype, 1))
    dy = sample((n, oh, ow, channels), dtype, 2)
    return x, dy, ((kh, kw), (sh, sw), (top, bottom, left, right), (dh, dw))


@DTYPES
@quick
@given(case=pools())
def test_max_pool_property(dtype, case):
    x, dy, (kernel, stride, pad, dilation) = pool_case(case, dtype)
    geometry = {"kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    for got, expected in zip(run_max(x, dy, **geometry), max_naive(x, dy, **geometry), strict=True):
        finite = np.isfinite(expected)
        assert np.array_equal(got[~finite], expected[~finite])
        agree(got[finite], expected[finite], dtype)


@DTYPES
@quick
@given(case=pools(), count_include_pad=st.booleans())
def test_avg_pool_property(dtype, case, count_include_pad):
    n, channels, axes = case
    axes = [(out, *axis, 1) for out, *axis, dilation in axes if dilation == 1]
    if len(axes) < 2:
        return
    x, dy, (kernel, stride, pad, _) = pool_case((n, channels, axes), dtype)
    geometry = {"kernel": kernel, "stride": stride, "pad": pad}
    geometry["count_include_pad"] = count_include_pad
    for got, expected in zip(run_avg(x, dy, **geometry), avg_naive(x, dy, **geometry), strict=True):
        agree(got, expected, dtype)


def test_pools_in_several_tiles(monkeypatch):
    monkeypatch.setattr(pool, "TILE", 20)
    x, dy = sample((5, 5, 4, 3)), sample((5, 3, 2, 3))
    geometry = {"kernel": (2, 2), "stride": (2, 2), "pad": NO_PAD}
    dilated = {**geometry, "dilation": (1, 1)}
    for got, expected in zip(run_max(x, dy, **dilated), max_naive(x, dy, **dilated), strict=True):
        agree(got, expected)
    geometry["count_include_pad"] = True
    for got, expected in zip(run_avg(x, dy, **geometry), avg_naive(x, dy, **geometry), strict=True):
        agree(got, expected)


def test_max_pool_of_the_cs231n_notebook():
    x = channels_last(linspace(-0.3, 0.4, (2, 3, 4, 4)))
    published = [
        [
            [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]],
            [[-0.14526316, -0.13052632], [-0.08631579, -0.07157895]],
            [[-0.02736842, -0.01263158], [0.03157895, 0.04631579]],
        ],
        [
            [[0.09052632, 0.10526316], [0.14947368, 0.16421053]],
            [[0.20842105, 0.22315789], [0.26736842, 0.28210526]],
            [[0.32631579, 0.34105263], [0.38526316, 0.4]],
        ],
    ]
    y = unwritten((2, 2, 2, 3))
    scratch = np.empty(pool.max_scratch_size(2, x.shape[1:], y.shape[1:]))
    pool.max_forward(x, y, scratch, kernel=(2, 2), stride=(2, 2), pad=NO_PAD, dilation=(1, 1))
    assert relative_error(channels_first(y), np.array(published)) < 1e-7


def test_pools_on_one_to_sixteen():
    x = channels_last(one_to_sixteen())
    dy = channels_last(np.array([[[[1.0, 2], [3, 4]]]]))
    y, dx = run_max(x, dy, kernel=(2, 2), stride=(2, 2), pad=NO_PAD, dilation=(1, 1))
    agree(channels_first(y), np.array([[[[6.0, 8], [14, 16]]]]))
    expected = [[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 0], [0, 3, 0, 4]]
    agree(channels_first(dx), np.array([[expected]], float))
    y, dx = run_avg(x, dy, kernel=(2, 2), stride=(2, 2), pad=NO_PAD, count_include_pad=True)
    agree(channels_first(y), np.array([[[[3.5, 5.5], [11.5, 13.5]]]]))
    agree(channels_first(dx), np.kron(channels_first(dy), np.full((2, 2), 0.25)))


def test_max_pool_propagates_nan():
    x = np.zeros((1, 4, 4, 1))
    x[0, 1, 2, 0] = NAN
    y = np.zeros((1, 2, 2, 1))
    scratch = np.empty(pool.max_scratch_size(1, x.shape[1:], y.shape[1:]))
    pool.max_forward(x, y, scratch, kernel=(2, 2), stride=(2, 2), pad=NO_PAD, dilation=(1, 1))
    assert np.isnan(y[0, :, :, 0]).tolist() == [[False, True], [False, False]]


@DTYPES
def test_global_average(dtype):
    x, dy = sample((3, 5, 4, 7), dtype), sample((3, 7), dtype)
    y, dx = unwritten((3, 7), dtype), unwritten(x.shape, dtype)
    scratch = unwritten((pool.global_scratch_size(3, (5, 4, 7)),), dtype)
    pool.global_avg_forward(x, y, scratch)
    pool.global_avg_backward(dy, dx)
    agree(y, x.mean(axis=(1, 2), dtype=np.float64), dtype)
    agree(dx, np.broadcast_to(dy[:, None, None] / 20, x.shape), dtype)


# ---------------------------------------------------------------------------------------- linear


@DTYPES
@pytest.mark.parametrize(("rows", "outs", "ins"), [(5, 96, 1100), (64, 33, 1024), (200, 20, 30)])
def test_linear_in_blocks(rows, outs, ins, dtype):
    """Few rows and many rows are computed in different ways."""
    x, dy = sample((rows, ins), dtype, 1), sample((rows, outs), dtype, 4)
    weight, bias = sample((outs, ins), dtype, 2), sample(outs, dtype, 3)
    y, dweight = unwritten(dy.shape, dtype), unwritten(weight.shape, dtype)
    scratch = np.empty(linear.scratch_size(rows, (outs,)), dtype)
    linear.forward(x, weight, bias, y, scratch)
    linear.backward_weight(x, dy, dweight)
    agree(y, x @ weight.T + bias, dtype)
    agree(dweight, dy.T @ x, dtype)


@DTYPES
@pytest.mark.parametrize("leading", [(1,), (5,), (3, 4)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(leading, with_bias, dtype):
    x, weight, bias = sample((*leading, 6), dtype, 1), sample((7, 6), dtype, 2), sample(7, dtype, 3)
    dy = sample((*leading, 7), dtype, 4)
    y, dx = unwritten(dy.shape, dtype), unwritten(x.shape, dtype)
    dweight, dbias = unwritten(weight.shape, dtype), unwritten(7, dtype)
    scratch = np.empty(linear.scratch_size(len(x), y.shape[1:]), dtype)
    linear.forward(x, weight, bias if with_bias else None, y, scratch)
    linear.backward_input(dy, weight, dx)
    linear.backward_weight(x, dy, dweight)
    linear.backward_bias(dy, dbias)
    agree(y, np.einsum("...i,oi->...o", x, weight) + with_bias * bias, dtype)
    agree(dx, np.einsum("...o,oi->...i", dy, weight), dtype)
    agree(dweight, dy.reshape(-1, 7).T @ x.reshape(-1, 6), dtype)
    agree(dbias, dy.sum(axis=tuple(range(len(leading)))), dtype)


# ---------------------------------------------------------------------------- batch normalisation

NORM_SHAPES = pytest.mark.parametrize(
    "shape", [(2, 1), (5, 3), (2, 3, 4, 3), (7, 11, 5), (3, 1500), (40_000, 3)], ids=str
)


def vectors(count, channels, dtype):
    return [unwritten(channels, dtype) for _ in range(count)]


def normalise(x, weight, bias, eps):
    """Compute batch norm in training by its definition."""
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) / np.sqrt(x.var(axes) + eps) * weight + bias


@DTYPES
@NORM_SHAPES
@pytest.mark.parametrize("affine", [True, False])
def test_batch_statistics(shape, affine, dtype):
    channels, rows = shape[-1], int(np.prod(shape[:-1]))
    # With a mean far from zero, a one-pass variance would lose its digits.
    x = sample(shape, dtype) + 30
    weight, bias = sample(channels, dtype, 1), sample(channels, dtype, 2)
    mean_before, var_before = sample(channels, dtype, 3), sample(channels, dtype, 4) ** 2
    running_mean, running_var = mean_before.copy(), var_before.copy()
    mean, inverse_std, scale, shift = vectors(4, channels, dtype)
    counter = np.array(7)
    scratch = unwritten(norm.scratch_size(rows, (channels,)), dtype)
    norm.batch_statistics(
        x, scratch, weight if affine else None, bias if affine else None,
        running_mean, running_var, counter, mean, inverse_std, scale, shift,
        eps=1e-5, momentum=0.1,
    )  # fmt: skip
    assert counter == 8
    exact = x.reshape(-1, channels).astype(np.float64)
    agree(mean, exact.mean(0), dtype)
    agree(inverse_std, 1 / np.sqrt(exact.var(0) + 1e-5), dtype)
    agree(running_mean, 0.9 * mean_before + 0.1 * exact.mean(0), dtype)
    agree(running_var, 0.9 * var_before + 0.1 * exact.var(0, ddof=1), dtype)
    unit = (weight, bias) if affine else (1, 0)
    agree(x * scale + shift, normalise(exact, *unit, 1e-5).reshape(shape), dtype)


def test_batch_statistics_without_running_estimates():
    x, vectors_ = sample((4, 3)), vectors(4, 3, np.float64)
    scratch = unwritten(norm.scratch_size(4, (3,)))
    norm.batch_statistics(
        x, scratch, None, None, None, None, None, *vectors_, eps=1e-5, momentum=0.1
    )
    agree(vectors_[0], x.mean(0))


@DTYPES
@NORM_SHAPES
@pytest.mark.parametrize("affine", [True, False])
def test_batch_backward(shape, affine, dtype):
    channels, rows = shape[-1], int(np.prod(shape[:-1]))
    x, dy = sample(shape, dtype, 1) + 2, sample(shape, dtype, 2)
    weight = sample(channels, dtype, 3) if affine else None
    scratch = unwritten(norm.scratch_size(rows, (channels,)), dtype)
    mean, inverse_std, scale, shift = vectors(4, channels, dtype)
    norm.batch_statistics(
        x, scratch, weight, None, None, None, None, mean, inverse_std, scale, shift,
        eps=1e-5, momentum=0.1,
    )  # fmt: skip
    dweight, dbias, dy_scale, x_scale, dx_shift = vectors(5, channels, dtype)
    outputs = (dweight, dbias) if affine else (None, None)
    norm.batch_backward(
        x, dy, scratch, weight, mean, inverse_std, *outputs, dy_scale, x_scale, dx_shift
    )
    dx = dy * dy_scale + (x - mean) * x_scale + dx_shift

    exact_x, exact_dy = x.astype(np.float64), dy.astype(np.float64)
    unit = weight if affine else np.ones(channels)
    if affine:
        axes = tuple(range(x.ndim - 1))
        agree(dbias, exact_dy.sum(axes), dtype)
        agree(dweight, (exact_dy * normalise(exact_x, 1, 0, 1e-5)).sum(axes), dtype)
    # The derivative along a direction, by central differences.
    direction, step = sample(shape, seed=4), 1e-5
    up, down = (normalise(exact_x + s * direction, unit, 0, 1e-5) for s in (step, -step))
    slope = (exact_dy * (up - down)).sum() / (2 * step)
    assert abs((dx * direction).sum() - slope) <= (1e-6 if dtype == np.float64 else 1e-3) * np.sqrt(
        x.size
    )


@DTYPES
@NORM_SHAPES
@pytest.mark.parametrize("affine", [True, False])
def test_norm_in_evaluation(shape, affine, dtype):
    channels, rows = shape[-1], int(np.prod(shape[:-1]))
    x, dy = sample(shape, dtype, 1), sample(shape, dtype, 2)
    weight, bias = sample(channels, dtype, 3), sample(channels, dtype, 4)
    mean, var = sample(channels, dtype, 5), sample(channels, dtype, 6) ** 2 + dtype(0.1)
    scale, shift, dweight, dbias = vectors(4, channels, dtype)
    norm.running_scale_shift(
        weight if affine else None, bias if affine else None, mean, var, scale, shift, eps=1e-3
    )
    xhat = (x.astype(np.float64) - mean) / np.sqrt(var + 1e-3)
    agree(x * scale + shift, xhat * weight + bias if affine else xhat, dtype)
    scratch = unwritten(norm.scratch_size(rows, (channels,)), dtype)
    norm.running_backward(x, dy, scratch, mean, var, dweight, dbias, eps=1e-3)
    axes = tuple(range(x.ndim - 1))
    agree(dbias, dy.sum(axes, dtype=np.float64), dtype)
    agree(dweight, (dy * xhat).sum(axes), dtype)


# ---------------------------------------------------------------------------- dropout and layout


@DTYPES
@pytest.mark.parametrize("p", [0, 0.1, 0.5, 0.9, 1])
def test_dropout_mask(p, dtype):
    mask = unwritten((3, 70, 317), dtype)
    dropout.sample_mask(np.random.default_rng(7), mask, p=p)
    kept = 0 if p == 1 else 1 / (1 - p)
    assert set(np.unique(mask)) <= {dtype(0), dtype(kept)}
    assert abs(np.mean(mask == 0) - p) < 0.01
    again = unwritten(mask.shape, dtype)
    dropout.sample_mask(np.random.default_rng(7), again, p=p)
    assert np.array_equal(mask, again)


def test_dropout_is_the_same_in_both_dtypes():
    single, double = unwritten((50_000,), np.float32), unwritten((50_000,), np.float64)
    for mask in (single, double):
        dropout.sample_mask(np.random.default_rng(1), mask, p=0.3)
    assert np.array_equal(single == 0, double == 0)


@DTYPES
@pytest.mark.parametrize(
    "shape",
    # The last ones have channels a power of two apart.
    [*itertools.product([1, 3], [1, 5], [2, 1], [4]), (2, 17, 32, 32), (1, 16, 64, 48)],
)
def test_layout(shape, dtype):
    n, c, h, w = shape
    x = sample(shape, dtype)
    there, back = unwritten((n, h, w, c), dtype), unwritten(shape, dtype)
    copies.to_channels_last(x, there)
    copies.to_channels_first(there, back)
    assert np.array_equal(there, channels_last(x))
    assert np.array_equal(back, x)


@DTYPES
@pytest.mark.parametrize("shape", [(2, 16, 1024), (1, 18, 4, 16, 64), (1, 16, 0, 4)])
def test_layout_of_signals_and_volumes(shape, dtype, monkeypatch):
    x = sample(shape, dtype)
    expected = np.moveaxis(x, 1, -1)
    for turned in (copies.TURNED, 100):
        monkeypatch.setattr(copies, "TURNED", turned)
        there = unwritten(expected.shape, dtype)
        copies.to_channels_last(x, there)
        assert np.array_equal(there, expected)


def test_tiles_of_other_processors_compute_the_same(monkeypatch):
    x, w = sample((3, 24, 24, 16), np.float32), sample((32, 16, 3, 3), np.float32)
    options = {"stride": (1, 1), "pad": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    found = []
    for wide in (False, True):
        monkeypatch.setattr(winograd, "has_avx512", lambda wide=wide: wide)
        size = conv.scratch_size(3, (24, 24, 16), (24, 24, 32), kernel=(3, 3), **options)
        out = unwritten((3, 24, 24, 32), np.float32)
        conv.forward(x, w, None, out, np.empty(size, np.float32), **options)
        found.append(out)
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-4)


def test_numbers_that_overflow_when_they_are_looked_at_warn_of_nothing() -> None:
    x = np.full((1, 4, 4, 1), 3e30, np.float32)
    kernel, out = np.ones((1, 1, 1, 1), np.float32), np.empty((1, 4, 4, 1), np.float32)
    out[...] = x
    window = Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mend(x, kernel, None, out, window)
    np.testing.assert_array_equal(out, x)
