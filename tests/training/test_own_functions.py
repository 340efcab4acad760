"""Losses and optimizers of one's own, as plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.batches import epoch_order
from netspec.runtime.optim.losses import chosen_loss
from tests.helpers.errors import fails

NET = "net N {\ninput x: [6]\nh = x -> a: linear(5) -> tanh\noutput h -> b: linear(3)\n}"
SHARPNESS = 0.3


def made() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6))
    y = (x[:, 0] > 0.3).astype(int) + (x[:, 2] > 1)
    return Dataset("made", x[:-10], y[:-10], x[-10:], y[-10:], 3)


def fitted(backend: str, **options: Any) -> tuple[Any, Any]:
    if backend == "torch":
        pytest.importorskip("torch")
    model = netspec.loads(NET).compile(backend, dtype="float64", seed=1)
    chosen: dict[str, Any] = {
        "epochs": 10, "batch": 8, "normalize": "none", "schedule": "constant", "lr": 0.05,
        "progress": False,
    }  # fmt: skip
    return model, netspec.fit(model, made(), **{**chosen, **options})


def momentum(
    parameters: Mapping[str, Any], gradients: Any, state: dict[str, Any], lr: float
) -> None:
    """The same lines are for arrays and for tensors."""
    for name, p in parameters.items():
        state[name] = 0.8 * state.get(name, 0.0) + gradients[name]
        p -= lr * state[name]


def poly(scores: Any, labels: Any) -> Any:
    """Cross-entropy plus (1 - p): the loss PolyLoss of Leng et al. (2022), for either backend."""
    if isinstance(scores, np.ndarray):
        rows = np.arange(len(labels))
        p = np.exp(scores - scores.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        right = p[rows, labels][:, None]
        value = (-np.log(right) + SHARPNESS * (1 - right)).mean()
        slope = p * (1 + SHARPNESS * right)
        slope[rows, labels] -= 1 + SHARPNESS * right[:, 0]
        return value, slope / len(labels)
    import torch

    right = scores.softmax(1)[torch.arange(len(labels)), labels]
    return (-right.log() + SHARPNESS * (1 - right)).mean()


class HalfOfSquares:
    """A loss that has its value with its gradient alone."""

    def value_and_gradient(self, scores: Any, targets: Any, slope: Any) -> float:
        wanted = np.eye(scores.shape[1], dtype=scores.dtype)[targets]
        value = float(((scores - wanted) ** 2).sum() / (2 * len(scores)))
        np.divide(scores - wanted, len(scores), out=slope)
        return value


def test_a_loss_without_a_value_of_its_own_is_measured_too() -> None:
    model, history = fitted("numpy", loss=HalfOfSquares(), val=10)
    assert history.loss_history[-1] < history.loss_history[0]
    data = made()
    scores = model.scores(data.x_test)
    slope = np.empty_like(scores)
    wanted = HalfOfSquares().value_and_gradient(scores, data.y_test, slope)
    assert model.loss(data.x_test, data.y_test, loss=HalfOfSquares()) == pytest.approx(wanted)

    again = copy(chosen_loss(HalfOfSquares()))
    assert again.value(scores, data.y_test) == pytest.approx(wanted)


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_functions_of_ones_own_are_a_plain_loop(backend: str, accumulate: int) -> None:
    torch = pytest.importorskip("torch")
    state = netspec.loads(NET).compile(dtype="float64", seed=1).state_dict()
    module = torch.nn.ModuleDict({"a": torch.nn.Linear(6, 5), "b": torch.nn.Linear(5, 3)}).double()
    module.load_state_dict({name: torch.tensor(array) for name, array in state.items()})
    groups = [
        {"params": [p], "lr": 0.05 * (3 if name.startswith("b.") else 1)}
        for name, p in module.named_parameters()
    ]
    rule, losses, data = torch.optim.SGD(groups, momentum=0.8), [], made()
    for epoch in range(1, 11):
        order = epoch_order(40, 0, epoch)
        for start in range(0, 40, 8):
            part = order[start : start + 8]
            scores = module["b"](torch.tanh(module["a"](torch.tensor(data.x_train[part]))))
            loss = poly(scores, torch.tensor(data.y_train[part]))
            for name in ("a", "b"):
                loss = loss + 0.5 * 0.01 * module[name].weight.square().sum()
            rule.zero_grad()
            loss.backward()
            rule.step()
            losses.append(loss.item())
    assert len(losses) == 50
    model, history = fitted(
        backend, loss=poly, optimizer=momentum, rates={"b.*": 3}, l2=0.01, accumulate=accumulate
    )
    np.testing.assert_allclose(history.loss_history, losses, atol=1e-6)
    for name, p in module.named_parameters():
        np.testing.assert_allclose(model.state_dict()[name], p.detach().numpy(), atol=1e-6)


def test_a_function_is_a_loss_wherever_there_is_one() -> None:
    model = netspec.loads(NET).compile(dtype="float64", seed=1)
    data = made()
    value, _ = model.loss_and_grads(data.x_test, data.y_test, loss=poly)
    assert value == model.loss(data.x_test, data.y_test, loss=poly)
    assert model.evaluate(data, loss=poly, normalize="none").loss == pytest.approx(value)
    assert netspec.gradcheck(netspec.loads(NET), loss=poly).ok


def without_slope(scores: Any, labels: Any) -> Any:
    return 1.0


def wrong_slope(scores: Any, labels: Any) -> Any:
    return 1.0, scores[:1]


def many_losses(scores: Any, labels: Any) -> Any:
    return scores.mean(1), scores


@pytest.mark.parametrize(
    ("backend", "options", "said"),
    [
        ("numpy", {"loss": without_slope}, "must return a pair for NumPy's arrays"),
        ("numpy", {"loss": wrong_slope}, r"an array of floats \[8, 3\] like the scores"),
        ("numpy", {"loss": many_losses}, "must be one number"),
        ("torch", {"loss": without_slope}, "a tensor with one number"),
        ("numpy", {"loss": 3}, "a loss is a name, a function or a Loss, not 3"),
        ("numpy", {"loss": poly, "loss_options": {"delta": 1}}, "takes no options"),
        ("numpy", {"optimizer": 3}, "an optimizer is a name or a function, not 3"),
        ("numpy", {"optimizer": momentum, "lr": None}, "no default rate"),
        ("numpy", {"optimizer": momentum, "optimizer_options": {"momentum": 1}}, "no options"),
    ],
)
def test_mistakes_of_functions(backend: str, options: dict[str, Any], said: str) -> None:
    with fails("train/bad-option", said):
        fitted(backend, **options)


def test_an_error_of_the_function_is_its_own() -> None:
    def broken(scores: Any, labels: Any) -> Any:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        fitted("numpy", loss=broken)
