"""Ops at sizes at which their kernels work in several tiles and threads, against the reference.

The generic tests run small examples. These shapes exceed the limits inside the kernels.
"""

from __future__ import annotations

import numpy as np
import pytest

from netspec.kernels import attention, broadcast_sums, edges, local_response, parallel, upsample
from netspec.kernels import per_image_norm as normalize
from netspec.testing.op_examples import (
    assert_equal_runs,
    graph_of,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
    run_reference,
)

CASES = [
    ("concat", ((40, 24, 24), (9, 24, 24))),
    ("slice(1, 3, step = 2)", ((40, 24, 24),)),
    ("permute([3, 1, 2])", ((40, 24, 24),)),
    ("reshape([24, 960])", ((40, 24, 24),)),
    ("pad([3, 2], value = 0.5)", ((40, 24, 24),)),
    ("pad([[3, 1], [2, 5]], mode = reflect)", ((40, 24, 24),)),
    ("pad([[3, 1], [2, 5]], mode = replicate)", ((40, 24, 24),)),
    ("channel_shuffle(8)", ((40, 24, 24),)),
    ("adaptive_avg_pool([6, 7])", ((40, 25, 25),)),
    ("adaptive_avg_pool(12)", ((40, 24, 24),)),
    ("adaptive_max_pool([6, 7])", ((40, 25, 25),)),
    ("layer_norm", ((300, 96),)),
    ("layer_norm", ((40, 24, 24),)),
    ("layer_norm(axes = 2)", ((40, 24, 24),)),
    ("layer_norm", ((3000,),)),
    ("group_norm(8)", ((40, 24, 24),)),
    ("group_norm(2)", ((160, 24, 24),)),
    ("instance_norm(affine = true)", ((40, 24, 24),)),
    ("local_response_norm(5, alpha = 0.5)", ((40, 24, 24),)),
    ("upsample(3)", ((40, 10, 9),)),
    ("upsample([2, 3], mode = bilinear)", ((40, 12, 11),)),
    ("conv_transpose(12, 3, stride = 2, pad = 1, output_pad = 1)", ((16, 9, 10),)),
    ("matmul", ((4, 60, 70), (4, 70, 50))),
    ("attention", ((6, 150, 32), (6, 140, 32), (6, 140, 24))),
    ("attention(causal = true)", ((300, 32), (300, 32), (300, 32))),
    ("scale", ((40, 24, 24),)),
    ("scale", ((300, 96),)),
]


@pytest.mark.parametrize(("call", "shapes"), CASES, ids=[f"{c} of {list(s)}" for c, s in CASES])
@pytest.mark.parametrize("threads", [1, 3])
def test_tiles_and_threads_change_nothing(call, shapes, threads, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", threads)
    monkeypatch.setattr(parallel, "WORTH_A_THREAD", 1 << 10)
    graph = graph_of(call, shapes)
    parameters, inputs = random_parameters(graph), random_inputs(graph, 5)
    dy = random_output_gradients(graph, 5)
    ours = run_program(graph, parameters, inputs, dy, training=True)
    theirs = run_reference(graph, parameters, inputs, dy, training=True)
    assert_equal_runs(ours, theirs, 1e-11)


def test_normalising_survives_a_large_mean():
    """A variance from sum(x**2)/R - mean**2 would have no digit right in float32."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((2, 50, 64)) + 1e4).astype(np.float32)
    out, mean, inverse_std = np.empty_like(x), *(np.empty((2, 50, 1), x.dtype) for _ in range(2))
    scratch = np.empty(normalize.scratch_size(2, (50, 64)), x.dtype)
    normalize.forward(
        x, scratch, None, None, out, mean, inverse_std,
        split=(50, 64), over=(2,), order=(0,), affine=(1, 64), eps=1e-5,
    )  # fmt: skip
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    assert np.abs(out - exact).max() < 2e-2
    assert abs(float(out.std()) - 1) < 1e-3


def test_shares_of_huge_scores_are_finite():
    q = np.full((1, 3, 4), 100.0)
    k = np.stack([np.full(4, 100.0), np.full(4, -100.0)])[None]
    v = np.array([[[1.0], [2.0]]])
    out = np.empty((1, 3, 1))
    scratch = np.empty(attention.scratch_size(1, (3, 4), (2, 4)))
    attention.forward(q, k, v, None, None, None, out, scratch, causal=False)
    assert np.array_equal(out, np.ones((1, 3, 1)))


@pytest.mark.parametrize("align_corners", [True, False])
def test_rows_of_the_interpolation_share_out_one(align_corners):
    taps = upsample.taps_of(5, 15, mode="bilinear", align_corners=align_corners)
    assert np.allclose(taps.weights.sum(axis=1), 1)
    assert taps.at.shape == (15, 2)
    if align_corners:
        assert (taps.at[-1, 0], taps.weights[0, 0], taps.weights[-1, 0]) == (4, 1, 1)


def test_a_mirror_image_of_the_smallest_picture_that_has_one():
    x = np.arange(4.0).reshape(1, 2, 2, 1)
    out = np.empty((1, 4, 4, 1))
    edges.forward(x, out, pad=(1, 1, 1, 1), mode="reflect")
    expected = [[3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0]]
    assert out[0, :, :, 0].tolist() == expected


@pytest.mark.parametrize("threads", [1, 4])
def test_scratch_does_not_grow_with_the_batch(threads, monkeypatch):
    monkeypatch.setattr(parallel, "_threads", threads)
    for size in (
        lambda n: normalize.scratch_size(n, (16, 16, 64)),
        lambda n: local_response.scratch_size(n, (16, 16, 64)),
        lambda n: upsample.scratch_size(n, (8, 8, 64), (16, 16, 64)),
        lambda n: attention.scratch_size(n, (8, 64, 32), (8, 64, 32)),
        lambda n: broadcast_sums.scratch_size(n, 64),
    ):
        assert size(1000) == size(100)
