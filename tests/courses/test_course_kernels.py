"""The course's layers as kernels: naive loops, fast forms, sandwiches, and their comparison."""

from __future__ import annotations

import json

import numpy as np
import pytest

from netspec.kernels.course import fast, naive, sandwich
from netspec.testing.op_examples import agreement
from tests.conftest import Run
from tests.helpers import course_layers

CONV = {"stride": 1, "pad": 1}
POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape)


def bn_param(channels: int, mode: str = "train") -> dict:
    return {
        "mode": mode,
        "eps": 1e-5,
        "momentum": 0.9,
        "running_mean": normal(channels) / 2,
        "running_var": 1 + normal(channels) ** 2,
    }


# name, arrays, settings: made for each call, because training updates running statistics
SANDWICHES = {
    "affine_relu": (lambda: (normal(4, 2, 3), normal(6, 5), normal(5)), lambda: ()),
    "affine_bn_relu": (
        lambda: (normal(4, 2, 3), normal(6, 5), normal(5), 1 + normal(5) / 4, normal(5)),
        lambda: (bn_param(5),),
    ),
    "conv_relu": (lambda: (normal(2, 3, 6, 8), normal(4, 3, 3, 3), normal(4)), lambda: (CONV,)),
    "conv_bn_relu": (
        lambda: (
            normal(2, 3, 6, 8), normal(4, 3, 3, 3), normal(4), 1 + normal(4) / 4, 3 * normal(4),
        ),
        lambda: (CONV, bn_param(4)),
    ),
    "conv_relu_pool": (
        lambda: (normal(2, 3, 6, 8), normal(4, 3, 3, 3), normal(4)),
        lambda: (CONV, POOL),
    ),
}  # fmt: skip


def pair(module, name):
    return getattr(module, f"{name}_forward"), getattr(module, f"{name}_backward")


def separately(name: str, arrays, settings, dout):
    """Compute the sandwich as a chain of the course's own layers."""
    stages = {
        "affine": ("affine", 2), "conv": ("conv", 2), "relu": ("relu", 0),
        "pool": ("max_pool", 0), "bn": ("batchnorm", 2),
    }  # fmt: skip
    x, *rest = arrays
    settings, caches = list(settings), []
    first = name.split("_", maxsplit=1)[0]
    for stage in name.split("_"):
        layer, count = stages[stage]
        if stage == "bn" and first == "conv":
            layer = "spatial_batchnorm"
        taken, rest = rest[:count], rest[count:]
        setting = [settings.pop(0)] if layer not in ("affine", "relu") else []
        x, cache = getattr(course_layers, f"{layer}_forward")(x, *taken, *setting)
        caches.append((layer, cache))
    gradients = []
    for layer, cache in reversed(caches):
        result = getattr(course_layers, f"{layer}_backward")(dout, cache)
        dout, *more = result if isinstance(result, tuple) else (result,)
        gradients = [*more, *gradients]
    return x, [dout, *gradients]


@pytest.mark.parametrize("name", SANDWICHES)
def test_a_sandwich_is_its_layers(name):
    arrays, settings = (make() for make in SANDWICHES[name])
    forward, backward = pair(sandwich, name)
    out, cache = forward(*arrays, *settings)
    dout = normal(*out.shape)
    ours = backward(dout, cache)
    theirs_settings = SANDWICHES[name][1]()
    expected, gradients = separately(name, arrays, theirs_settings, dout)
    assert agreement(expected, out) < 1e-12
    for a, b in zip(gradients, ours, strict=True):
        assert agreement(a, b) < 1e-12
    for mine, theirs in zip(settings, theirs_settings, strict=True):
        for key in ("running_mean", "running_var"):
            if key in theirs:
                assert agreement(theirs[key], mine[key]) < 1e-12


@pytest.mark.parametrize("name", SANDWICHES)
def test_the_gradient_of_a_sandwich_is_the_slope(name):
    """Every element of every argument, by central differences."""
    make_arrays, make_settings = SANDWICHES[name]
    arrays = make_arrays()
    forward, backward = pair(sandwich, name)
    out, cache = forward(*arrays, *make_settings())
    dout = normal(*out.shape)
    gradients = backward(dout, cache)
    step = 1e-5
    for array, gradient in zip(arrays, gradients, strict=True):
        slopes = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            kept, ends = array[index], []
            for moved in (kept + step, kept - step):
                array[index] = moved
                ends.append(float((forward(*arrays, *make_settings())[0] * dout).sum()))
            array[index] = kept
            slopes[index] = (ends[0] - ends[1]) / (2 * step)
        assert agreement(slopes, gradient, 1 / step) < 1e-7


@pytest.mark.parametrize("name", ["affine_bn_relu", "conv_bn_relu"])
def test_a_sandwich_in_evaluation(name):
    arrays, settings = (make() for make in SANDWICHES[name])
    settings[-1]["mode"] = "test"
    before = settings[-1]["running_var"].copy()
    out, _ = pair(sandwich, name)[0](*arrays, *settings)
    assert (settings[-1]["running_var"] == before).all()
    other = SANDWICHES[name][1]()
    other[-1]["mode"] = "test"
    x, *rest = arrays
    if name.startswith("affine"):
        between = course_layers.affine_forward(x, *rest[:2])[0]
        expected = course_layers.batchnorm_forward(between, *rest[2:], *other)[0]
    else:
        between = course_layers.conv_forward(x, *rest[:2], CONV)[0]
        expected = course_layers.spatial_batchnorm_forward(between, *rest[2:], other[-1])[0]
    assert agreement(np.maximum(expected, 0), out) < 1e-12


def test_running_statistics_start_at_zero_as_in_the_course():
    arrays = SANDWICHES["affine_bn_relu"][0]()
    param = {"mode": "train"}
    sandwich.affine_bn_relu_forward(*arrays, param)
    between = course_layers.affine_forward(*arrays[:3])[0]
    assert agreement(0.1 * between.mean(axis=0), param["running_mean"]) < 1e-12
    assert agreement(0.1 * between.var(axis=0), param["running_var"]) < 1e-12


def test_sandwiches_keep_the_type():
    x, w, b = (a.astype(np.float32) for a in SANDWICHES["conv_relu_pool"][0]())
    out, cache = sandwich.conv_relu_pool_forward(x, w, b, CONV, POOL)
    gradients = sandwich.conv_relu_pool_backward(out, cache)
    assert {array.dtype for array in (out, *gradients)} == {np.dtype(np.float32)}


# ------------------------------------------------------------------------------- naive and fast forms


@pytest.mark.parametrize("param", [CONV, {"stride": 2, "pad": 1}, {"stride": 3, "pad": 0}])
def test_naive_and_fast_convolution(param):
    x, w, b = normal(3, 3, 7, 9), normal(4, 3, 3, 2), normal(4)
    slow, slow_cache = naive.conv_forward(x, w, b, param)
    out, cache = fast.conv_forward(x, w, b, param)
    assert agreement(slow, out) < 1e-13
    dout = normal(*out.shape)
    slow_gradients = naive.conv_backward(dout, slow_cache)
    for a, b in zip(slow_gradients, fast.conv_backward(dout, cache), strict=True):
        assert agreement(a, b) < 1e-13


@pytest.mark.parametrize("kind", ["max_pool", "avg_pool"])
@pytest.mark.parametrize(
    "param", [POOL, {"pool_height": 3, "pool_width": 2, "stride": 1}], ids=["tight", "overlapping"]
)
def test_naive_and_fast_pools(kind, param):
    x = normal(3, 2, 6, 8)
    slow, slow_cache = pair(naive, kind)[0](x, param)
    out, cache = pair(fast, kind)[0](x, param)
    assert agreement(slow, out) < 1e-13
    dout = normal(*out.shape)
    assert (
        agreement(pair(naive, kind)[1](dout, slow_cache), pair(fast, kind)[1](dout, cache)) < 1e-13
    )


def test_bench_prints_the_comparison(run: Run):
    finished = run("bench", "--layers", "--images", 2)
    assert finished.code == 0
    first, second = finished.out.split("max_pool: ")
    assert first.startswith("conv: 2 x 3 x 31 x 31, 25 filters 3x3, stride 2, pad 1\n")
    for text, names in ((first, ("dx", "dw", "db")), (second, ("dx",))):
        header, rule, forward, backward = text.strip().splitlines()[1:]
        assert set(rule) == {"-"}
        assert header.split() == ["naive", "fast", "speed-up", "difference"]
        assert forward.split()[0] == "forward"
        assert all(name in backward for name in names)


def test_bench_for_programs(run: Run):
    rows = json.loads(run("bench", "--layers", "--images", 1, "--format", "json").out)
    assert [(row["layer"], row["direction"]) for row in rows] == [
        ("conv", "forward"), ("conv", "backward"),
        ("max_pool", "forward"), ("max_pool", "backward"),
    ]  # fmt: skip
    for row in rows:
        assert row["speed_up"] == row["naive_seconds"] / row["fast_seconds"]
        assert max(row["differences"].values()) < 1e-12


def test_bench_must_be_told_what(run: Run):
    finished = run("bench")
    assert finished.code == 2
    assert "error[usage/bench]" in finished.err


# ------------------------------------------------------------------------------------ types of arrays

PAIRS = {
    **{("naive", n): naive for n in ("conv", "max_pool", "avg_pool")},
    **{("fast", n): fast for n in ("conv", "max_pool", "avg_pool")},
    **{("sandwich", n): sandwich for n in SANDWICHES},
}
POOLED = {"pool_height": 2, "pool_width": 2, "stride": 1}


def whole(arrays):
    """Make the arrays small whole numbers, which every type but bool can hold."""
    return [np.abs(np.round(3 * array)) % 5 for array in arrays]


def arguments_of(name):
    if name in SANDWICHES:
        arrays, settings = SANDWICHES[name]
        return whole(arrays()), settings
    if name == "conv":
        return whole([normal(2, 3, 6, 5), normal(4, 3, 3, 3), normal(4)]), lambda: (CONV,)
    return whole([normal(2, 3, 6, 5)]), lambda: (POOLED,)


@pytest.mark.parametrize(("home", "name"), PAIRS)
def test_course_kernels_take_arrays_of_all_types(home, name):
    """Whole numbers, and types mixed between the arrays and between forward and backward."""
    forward, backward = pair(PAIRS[home, name], name)
    arrays, settings = arguments_of(name)

    def run(types, of_dout):
        given = [array.astype(dtype) for array, dtype in zip(arrays, types, strict=True)]
        out, cache = forward(*given, *settings())
        dout = 1 + np.arange(out.size).reshape(out.shape) % 3
        gradients = backward(dout.astype(of_dout), cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        assert all(g.dtype.kind == "f" for g in (out, *gradients))
        return out, *gradients

    count = len(arrays)
    expected = run([np.float64] * count, np.float64)
    for kind in (np.int64, np.uint8, np.float32):
        mixes = [
            [kind] * count,
            [kind, *[np.float64] * (count - 1)],
            [np.float32, *[kind] * (count - 1)],
        ]
        for types in mixes:
            for of_dout in (kind, np.float64, np.float32):
                single = set(types) | {of_dout} & {np.float32}
                limit = 1e-3 if np.float32 in single else 1e-9
                for a, b in zip(expected, run(types, of_dout), strict=True):
                    among = 1e9 if np.float32 in single else 1.0  # the rounding of float32
                    assert agreement(a, b, among) < limit, (types, of_dout)


@pytest.mark.parametrize("bad", [np.complex128, object, "U3"])
@pytest.mark.parametrize(("home", "name"), PAIRS)
def test_course_kernels_refuse_what_is_no_real_number(home, name, bad):
    forward, backward = pair(PAIRS[home, name], name)
    arrays, settings = arguments_of(name)
    with pytest.raises(TypeError, match="`x` must hold real numbers, not"):
        forward(arrays[0].astype(bad), *arrays[1:], *settings())
    out, cache = forward(*arrays, *settings())
    with pytest.raises(TypeError, match="`dout` must hold real numbers, not"):
        backward(out.astype(bad), cache)


def test_the_naive_max_pool_does_not_cut_gradients_of_whole_numbers_off():
    x = np.arange(16).reshape(1, 1, 4, 4)
    dx = naive.max_pool_backward(np.full((1, 1, 2, 2), 0.5), (x, POOL))
    assert dx.sum() == 2.0
