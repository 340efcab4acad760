"""A NaN reaches what is computed from it, and nothing else."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import netspec
from netspec.compiler.ops import registry
from netspec.runtime.engine.reference import Reference
from netspec.testing.op_examples import random_parameters, run_program, run_reference

UPSAMPLINGS = registry()["upsample"].examples
BAD = (np.nan, np.inf)


def net_of(call: str, shape: tuple[int, ...]) -> netspec.Net:
    return netspec.loads(f"net A {{ input x: {list(shape)}\n output x -> {call} }}")


def with_one(bad: float, shape: tuple[int, ...], at: tuple[int, ...]) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((2, *shape))
    x[(1, 0, *at)] = bad
    return x


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("example", UPSAMPLINGS, ids=lambda example: example.call)
def test_an_upsampled_nan_stays_where_it_is_read(example, bad):
    """PyTorch also multiplies one neighbour by 0 where a pixel lies exactly on another."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    from netspec.runtime.models.torch_build import build_module

    (shape,) = example.inputs
    net = net_of(example.call, shape)
    model, module = net.compile(dtype="float64"), build_module(net, dtype="float64")
    corner = (0,) * (len(shape) - 1)
    enlarges = all(n >= m for n, m in zip(net.graph.nodes[-1].shape, shape, strict=True))
    sound = model.forward(with_one(1.0, shape, corner))  # the next runs are recordings of this one
    assert np.isfinite(sound).all()
    for at in (corner, tuple(n - 1 for n in shape[1:]), tuple(n // 2 for n in shape[1:])):
        x = with_one(bad, shape, at)
        theirs = module(torch.from_numpy(x)).numpy()
        with np.errstate(invalid="ignore"):
            ours = model.forward(x)
            reference = Reference(net.graph, {}, training=False).forward({"x": x})["output"]
        assert np.array_equal(np.isfinite(ours), np.isfinite(reference))
        assert not (enlarges and np.isfinite(ours).all())
        assert not (np.isfinite(theirs) & ~np.isfinite(ours)).any()
        both = np.isfinite(theirs)
        assert np.allclose(ours[both], theirs[both], 1e-12, 1e-12)
        again = model.forward(with_one(1.0, shape, corner))
        assert np.array_equal(again, sound)


@pytest.mark.parametrize("align", [False, True])
def test_a_nan_in_the_gradient_of_an_upsampled_picture_reaches_two_pixels(align):
    call = f"upsample(2, mode = bilinear, align_corners = {str(align).lower()})"
    net = net_of(f"{call} -> conv(1, 1)", (1, 5, 4))
    graph = net.graph
    parameters = {name: np.ones(p.shape) for name, p in graph.parameters.items()}
    reference = Reference(graph, parameters, training=True)
    reference.forward({"x": np.ones((1, 1, 5, 4))})
    dy = np.ones((1, 1, 10, 8))
    dy[0, 0, 3, 3] = np.nan
    reference.backward({"output": dy})
    wrong = np.isnan(reference.value_gradients["x"])
    assert 1 <= wrong.sum() <= 4
    assert wrong[0, 0].any(axis=1).nonzero()[0].tolist() in ([1], [1, 2], [2])

    from netspec.kernels import upsample

    dx, scratch = np.empty((1, 5, 4, 1)), np.empty(upsample.scratch_size(1, (5, 4, 1), (10, 8, 1)))
    with np.errstate(invalid="ignore"):
        upsample.backward(
            dy.transpose(0, 2, 3, 1).copy(), dx, scratch,
            mode="bilinear", align_corners=align, scale=None,
        )  # fmt: skip
    assert np.array_equal(np.isnan(dx[0, :, :, 0]), wrong[0, 0])


# ------------------------------------------------------------------------------------ convolutions

CONVOLUTIONS = (  # narrow ones, of which several outputs are made at once, and Winograd's
    "conv(4, 3)", "conv(4, 3, pad = 1)", "conv(2, 2, stride = 2)", "conv(3, [1, 4])",
    "conv(8, 5, pad = 2)", "conv(8, [7, 2], pad = 3)", "conv(1, 3, stride = [2, 1], pad = [1, 0])",
    "conv(4, 3, dilation = 2, pad = 2)", "conv(6, 3, pad = 1, groups = 2)", "conv(6, 1)",
    "conv(4, 3, pad = 1, groups = 4)", "conv(3, 3, stride = 3)", "conv(4, 3, bias = false)",
    "conv_transpose(4, 3)", "conv_transpose(2, 2, stride = 2)",
    "conv_transpose(6, 4, stride = 2, pad = 1)", "conv_transpose(4, 3, groups = 2, pad = 1)",
    "conv_transpose(3, 3, stride = [1, 3], output_pad = [0, 1])",
    "conv_transpose(4, 3, dilation = 2, pad = 1)",
    "avg_pool(3, stride = 2, pad = 1)", "avg_pool(2)", "adaptive_avg_pool(3)",
    "upsample(2)", "pad(1, mode = reflect)", "conv(4, 3, pad = 1) -> relu -> max_pool(2)",
    "conv(4, 3, pad = 1) -> conv(4, 3, stride = 2)",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("call", CONVOLUTIONS)
def test_a_nan_in_a_picture_reaches_the_outputs_whose_windows_hold_it(call, dtype):
    """This holds for any image of the batch, forward and backward.

    No bit of the other images changes.
    """
    rng = np.random.default_rng(zlib.crc32(call.encode()))
    for turn in range(4):
        shape = (4, *(int(size) for size in rng.integers(6, 14, 2)))
        graph = net_of(call, shape).graph
        parameters = random_parameters(graph)
        batch = int(rng.integers(1, 5))
        x = {"x": rng.standard_normal((batch, *shape))}
        dy = {"output": rng.standard_normal((batch, *graph.shape_of(graph.outputs["output"])))}
        sound = run_program(graph, parameters, x, dy, training=True, dtype=dtype)
        for wrong in (x["x"], dy["output"]):
            place = tuple(int(rng.integers(0, size)) for size in wrong.shape)
            before, wrong[place] = wrong[place], BAD[turn % 2]
            with np.errstate(all="ignore"):
                ours = run_program(graph, parameters, x, dy, training=True, dtype=dtype)
                theirs = run_reference(graph, parameters, x, dy, training=True)
            wrong[place] = before
            others = np.arange(batch) != place[0]
            for found, expected, before_it in (
                (ours.outputs["output"], theirs.outputs["output"], sound.outputs["output"]),
                (
                    ours.input_gradients["x"],
                    theirs.input_gradients["x"],
                    sound.input_gradients["x"],
                ),
            ):
                finite = np.isfinite(expected)
                assert np.array_equal(np.isfinite(found), finite), (shape, place)
                tol = 1e-4 if dtype == "float32" else 1e-11
                assert np.allclose(found[finite], expected[finite], tol, tol), (shape, place)
                assert np.array_equal(found[others], before_it[others]), (shape, place)
