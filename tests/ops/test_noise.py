"""Noise: drawn anew at each step of training, and absent in evaluation."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.testing.op_examples import graph_of, random_output_gradients, run_program

VAE = """
block Sample() mean, log_var { return mean + exp(0.5 * log_var) * noise(mean) }
net Vae {
    input image: [1, 2, 4]
    mean, log_var = image -> flatten -> linear(6) -> split(2)
    output Sample(mean, log_var) -> linear(3)
    output mean = mean
}
"""


def losses(seed: int, steps: int = 2) -> list[float]:
    """The losses of an unchanged model at some steps on one batch."""
    net = netspec.loads("net Noisy {\n input x: [6]\n output x + noise(x) -> linear(3)\n}")
    model = net.compile("numpy", seed=seed)
    x, y = np.ones((4, 6), "f4"), np.array([0, 1, 2, 0])
    return [float(model.loss_and_grads(x, y)[0]) for _ in range(steps)]


def test_each_step_draws_other_numbers_and_a_seed_the_same():
    first, second = losses(3)
    assert first != second
    assert losses(3) == [first, second]


def test_its_numbers_are_standard_normal_and_the_same_in_both_precisions():
    graph = graph_of("noise", ((300, 20, 4),))
    x = {name: np.zeros((2, *shape)) for name, shape in graph.inputs.items()}
    dy = random_output_gradients(graph, 2)
    drawn = [
        run_program(graph, {}, x, dy, training=True, dtype=dtype).outputs["output"]
        for dtype in (np.float32, np.float64)
    ]
    np.testing.assert_array_equal(*drawn)
    assert abs(drawn[0].mean()) < 0.02
    assert abs(drawn[0].std() - 1) < 0.02


def test_in_evaluation_a_sample_is_its_mean():
    model = netspec.loads(VAE).compile("numpy")
    x = np.random.default_rng(0).standard_normal((3, 1, 2, 4)).astype("f4")
    out = model.forward(x)
    p = model.parameters
    np.testing.assert_allclose(
        out["output"], out["mean"] @ p["linear2.weight"].T + p["linear2.bias"], rtol=1e-5
    )


def test_both_backends_and_the_reference_agree_in_training_and_in_evaluation():
    pytest.importorskip("torch")
    from tests.helpers.torch_support import check_equal

    check_equal(netspec.loads(VAE))
