"""Losses, optimizers and derivations, in the form in which courses write them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from netspec.compiler.ops import registry
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.optimizers import make_optimizer
from tests.helpers import course_layers

STEPS, LR = 12, 1e-2

# The course's update rules, as (w, dw, state, t) -> w with an empty state at the start. Its
# momentum has lr inside the velocity. At a constant rate this gives the same path as PyTorch's,
# which has lr outside.


def sgd(w, dw, state, t):
    return w - LR * dw


def sgd_momentum(w, dw, state, t):
    state["v"] = 0.9 * state.get("v", 0) - LR * dw
    return w + state["v"]


def nesterov(w, dw, state, t):
    before = state.get("v", 0)
    state["v"] = 0.9 * before - LR * dw
    return w - 0.9 * before + (1 + 0.9) * state["v"]


def rmsprop(w, dw, state, t):
    state["cache"] = 0.99 * state.get("cache", 0) + 0.01 * dw**2
    return w - LR * dw / (np.sqrt(state["cache"]) + 1e-8)


def adam(w, dw, state, t):
    state["m"] = 0.9 * state.get("m", 0) + 0.1 * dw
    state["v"] = 0.999 * state.get("v", 0) + 0.001 * dw**2
    m, v = state["m"] / (1 - 0.9**t), state["v"] / (1 - 0.999**t)
    return w - LR * m / (np.sqrt(v) + 1e-8)


RULES = {
    "sgd": sgd, "momentum": sgd_momentum, "nesterov": nesterov, "rmsprop": rmsprop, "adam": adam,
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_an_optimizer_takes_the_course_s_steps(name):
    rng = np.random.default_rng(0)
    w = np.linspace(-0.4, 0.6, 20)
    parameters, gradients = w.copy(), np.zeros(20)
    optimizer = make_optimizer(name, parameters, gradients)
    state = {}
    for t in range(1, STEPS + 1):
        gradients[...] = rng.standard_normal(20)
        w = RULES[name](w, gradients.copy(), state, t)
        optimizer.step(LR)
    np.testing.assert_allclose(parameters, w, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("name", "function"), [("softmax", course_layers.softmax_loss), ("svm", course_layers.svm_loss)]
)
def test_a_loss_is_the_course_s(name, function):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((50, 10)), rng.integers(0, 10, 50)
    dx = np.empty_like(x)
    loss = make_loss(name).value_and_gradient(x, y, dx)
    expected, gradient = function(x, y)
    assert loss == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(dx, gradient, atol=1e-15)


@pytest.mark.parametrize(("name", "expected"), [("svm", 9.0), ("softmax", 2.3026)])
def test_the_loss_of_small_random_scores(name, expected):
    """The notebook's check: about 9 for svm, about 2.3 for softmax."""
    rng = np.random.default_rng(231)
    x, y = 0.001 * rng.standard_normal((50, 10)), rng.integers(0, 10, 50)
    assert make_loss(name).value(x, y) == pytest.approx(expected, abs=5e-3)


# ------------------------------------------------------------------------------------ the derivations

VALUE = re.compile(r"\by(_\w+)?(\[[^\]]*\])? = ")
GRADIENT = re.compile(r"\b(dL/d\w+(\[[^\]]*\])?|dy/d\w+( = dy/d\w+)*) = ")


@pytest.mark.parametrize("op", registry().values(), ids=lambda op: op.name)
def test_the_docstring_of_an_op_is_its_derivation(op):
    """The docstring has the formula of the value, and then that of the gradient."""
    text = op.__doc__
    value, gradient = VALUE.search(text), GRADIENT.search(text)
    assert value, text
    assert gradient, text
    assert value.start() < gradient.start()


@pytest.mark.parametrize("op", registry().values(), ids=lambda op: op.name)
def test_the_docstring_of_an_op_has_a_gradient_for_each_parameter(op):
    for name in op.parameter_names:
        short = {"weight": ("weight", "w", "W"), "bias": ("bias", "b")}.get(name, (name, "w"))
        assert any(re.search(rf"dL/d{n}\b", op.__doc__) for n in short), (name, op.__doc__)
