"""Every optimizer, schedule and loss is what a plain PyTorch loop does, over fifty steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data.batches import epoch_order
from netspec.runtime.data.dataset import Dataset
from netspec.runtime.optim.losses import LOSSES_OF_CLASSES
from netspec.runtime.optim.lr_schedules import SCHEDULES
from netspec.runtime.optim.optimizers import OPTIMIZERS

torch = pytest.importorskip("torch")
optim, schedules, functional = torch.optim, torch.optim.lr_scheduler, torch.nn.functional

NET = "net A { input x: [6]\n output x -> linear(8) -> tanh -> linear(3) }"
EPOCHS, STEPS = 5, 50
LR = 0.02

# By netspec's options, the optimizer of torch.optim. What has no such rule there is held against its
# paper, or PyTorch's rule of matrices, in test_optimizers.py.
RULES: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
    "sgd": ("sgd", {}, lambda p: optim.SGD(p, LR)),
    "momentum": ("momentum", {}, lambda p: optim.SGD(p, LR, momentum=0.9)),
    "dampening": (
        "momentum", {"momentum": 0.8, "dampening": 0.3},
        lambda p: optim.SGD(p, LR, momentum=0.8, dampening=0.3),
    ),
    "nesterov": ("nesterov", {}, lambda p: optim.SGD(p, LR, momentum=0.9, nesterov=True)),
    "rmsprop": ("rmsprop", {}, lambda p: optim.RMSprop(p, LR)),
    "centered": (
        "rmsprop", {"centered": True, "alpha": 0.9},
        lambda p: optim.RMSprop(p, LR, 0.9, centered=True),
    ),
    "rmsprop with momentum": (
        "rmsprop", {"momentum": 0.7}, lambda p: optim.RMSprop(p, LR, momentum=0.7),
    ),
    "adam": ("adam", {"beta1": 0.8, "eps": 1e-6}, lambda p: optim.Adam(p, LR, (0.8, 0.999), 1e-6)),
    "amsgrad": ("adam", {"amsgrad": True}, lambda p: optim.Adam(p, LR, amsgrad=True)),
    "adamw": ("adamw", {"weight_decay": 0.0}, lambda p: optim.AdamW(p, LR, weight_decay=0.0)),
    "adamw, amsgrad": (
        "adamw", {"weight_decay": 0.0, "amsgrad": True},
        lambda p: optim.AdamW(p, LR, weight_decay=0.0, amsgrad=True),
    ),
}  # fmt: skip
ELSEWHERE = {"lion", "lamb", "muon"}

# A schedule with its options, and what PyTorch has for it, advanced at every step.
RATES: dict[str, tuple[str, dict[str, Any], Callable[[Any], Any]]] = {
    "constant": ("constant", {}, lambda o: schedules.ConstantLR(o, 1.0)),
    "cosine": ("cosine", {"minimum": 0.001}, lambda o: schedules.CosineAnnealingLR(o, STEPS, 0.001)),
    "cosine-restarts": (
        "cosine-restarts", {"cycle": 1, "multiply": 2, "minimum": 0.001},
        lambda o: schedules.CosineAnnealingWarmRestarts(o, 10, 2, 0.001),
    ),
    "linear": (
        "linear", {"minimum": 0.002}, lambda o: schedules.LinearLR(o, 1.0, 0.002 / LR, STEPS),
    ),
    "polynomial": ("polynomial", {"power": 1.5}, lambda o: schedules.PolynomialLR(o, STEPS, 1.5)),
    "one-cycle": (
        "one-cycle", {"rise": 0.4, "start_divisor": 10.0},
        lambda o: schedules.OneCycleLR(
            o, LR, STEPS, pct_start=0.4, div_factor=10.0, cycle_momentum=False
        ),
    ),
    "cyclic": (
        "cyclic", {"cycle": 2, "minimum": 0.001},
        lambda o: schedules.CyclicLR(o, 0.001, LR, 10, cycle_momentum=False),
    ),
    "step": ("step", {"every": 2, "gamma": 0.3}, lambda o: schedules.StepLR(o, 20, 0.3)),
    "multi-step": (
        "multi-step", {"milestones": [1, 3]}, lambda o: schedules.MultiStepLR(o, [10, 30], 0.1),
    ),
    "exponential": (
        "exponential", {"gamma": 0.7}, lambda o: schedules.LambdaLR(o, lambda s: 0.7 ** (s // 10)),
    ),
}  # fmt: skip


def _hinge(scores: Any, labels: Any) -> Any:
    return functional.multi_margin_loss(scores, labels) * scores.shape[1]


def _one_hot(loss: Callable[..., Any], **options: Any) -> Callable[[Any, Any], Any]:
    return lambda scores, labels: loss(
        scores, functional.one_hot(labels, scores.shape[1]).double(), **options
    )


def _focal(scores: Any, labels: Any) -> Any:
    p = scores.softmax(1)[range(len(labels)), labels]
    return (-((1 - p) ** 2) * p.log()).mean()


FORMULAS: dict[str, tuple[str, dict[str, Any], Callable[[Any, Any], Any]]] = {
    "softmax": ("softmax", {}, functional.cross_entropy),
    "smoothing and weights": (
        "softmax", {"label_smoothing": 0.1, "class_weights": [1.0, 2.0, 0.5]},
        torch.nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 0.5]).double(), label_smoothing=0.1),
    ),
    "focal": ("focal", {}, _focal),
    "svm": ("svm", {}, _hinge),
    "mse": ("mse", {}, _one_hot(functional.mse_loss)),
    "smooth-l1": ("smooth-l1", {"beta": 0.4}, _one_hot(functional.smooth_l1_loss, beta=0.4)),
}  # fmt: skip


def data() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((220, 6))
    y = (x[:, 0] + x[:, 1] > 0).astype(int) + (x[:, 2] > 1)
    return Dataset("made", x[:200], y[:200], x[200:], y[200:], 3)


def plain_loop(
    start: dict[str, Any],
    make_optimizer: Callable[[Any], Any],
    make_schedule: Callable[[Any], Any] | None,
    loss_of: Callable[[Any, Any], Any],
) -> list[float]:
    """Return the losses of fifty steps, written as PyTorch's tutorials write them."""
    made = data()
    x, y = torch.tensor(made.x_train), torch.tensor(made.y_train)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)
    ).double()
    for parameter, array in zip(net.parameters(), start.values(), strict=True):
        parameter.data = torch.tensor(np.array(array))
    optimizer = make_optimizer(net.parameters())
    schedule = None if make_schedule is None else make_schedule(optimizer)
    losses = []
    for epoch in range(1, EPOCHS + 1):
        order = torch.tensor(epoch_order(200, 0, epoch))
        for batch in order.split(20):
            optimizer.zero_grad()
            loss = loss_of(net(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            if schedule is not None:
                schedule.step()
            losses.append(loss.item())
    return losses


def held_against(
    backend: str, make_optimizer: Any, make_schedule: Any, loss_of: Any, **options: Any
) -> None:
    model = netspec.loads(NET).compile(backend, dtype="float64", seed=1)
    start = {name: np.array(array) for name, array in model.state_dict().items()}
    chosen = {"epochs": EPOCHS, "batch": 20, "normalize": "none", "lr": LR, "schedule": "constant"}
    history = netspec.fit(model, data(), **{**chosen, **options}, progress=False)
    assert len(history.loss_history) == STEPS
    theirs = plain_loop(start, make_optimizer, make_schedule, loss_of)
    assert np.abs(np.subtract(history.loss_history, theirs)).max() < 1e-6
    assert len({*theirs}) == STEPS


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("case", RULES)
def test_optimizers(backend: str, case: str) -> None:
    name, own, theirs = RULES[case]
    held_against(
        backend, theirs, None, functional.cross_entropy, optimizer=name, optimizer_options=own
    )


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("case", RATES)
def test_schedules(backend: str, case: str) -> None:
    name, own, theirs = RATES[case]
    held_against(
        backend, lambda p: optim.SGD(p, LR, momentum=0.9), theirs, functional.cross_entropy,
        optimizer="momentum", schedule=name, schedule_options=own,
    )  # fmt: skip


# What follows a rise over one epoch of ten steps; see `rates_of_run`.
BEHIND_A_RISE = {
    "cosine": (
        {"minimum": 0.001}, lambda o: schedules.CosineAnnealingLR(o, STEPS - 10, 0.001),
    ),
    "linear": ({}, lambda o: schedules.LinearLR(o, 1.0, 0.0, STEPS - 10)),
    "step": ({"every": 2, "gamma": 0.3}, lambda o: schedules.StepLR(o, 20, 0.3)),
    "constant": ({}, lambda o: schedules.ConstantLR(o, 1.0)),
}  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("name", BEHIND_A_RISE)
def test_a_warm_up_in_front_of_a_schedule(backend: str, name: str) -> None:
    own, behind = BEHIND_A_RISE[name]

    def theirs(optimizer: Any) -> Any:
        rise = schedules.LinearLR(optimizer, 1 / 10, 1.0, total_iters=9)
        return schedules.SequentialLR(optimizer, [rise, behind(optimizer)], [10])

    held_against(
        backend, lambda p: optim.SGD(p, LR, momentum=0.9), theirs, functional.cross_entropy,
        optimizer="momentum", schedule=name, schedule_options=own, warmup=1,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("case", FORMULAS)
def test_losses(backend: str, case: str) -> None:
    name, own, theirs = FORMULAS[case]
    held_against(
        backend, lambda p: optim.Adam(p, LR), None, theirs, optimizer="adam", loss=name,
        loss_options=own,
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_plateau(backend: str) -> None:
    """ReduceLROnPlateau looks at the mean loss of each epoch; a high rate makes it fall."""
    made = data()
    model = netspec.loads(NET).compile(backend, dtype="float64", seed=1)
    start = {name: np.array(array) for name, array in model.state_dict().items()}
    history = netspec.fit(
        model, made, epochs=EPOCHS, batch=20, normalize="none", lr=3.0, optimizer="momentum",
        schedule="plateau", schedule_options={"patience": 0, "gamma": 0.2}, progress=False,
        eval_every=0,
    )  # fmt: skip
    holder: list[Any] = []
    seen: list[float] = []

    def rule(parameters: Any) -> Any:
        holder.append(optim.SGD(parameters, 3.0, momentum=0.9))
        holder.append(schedules.ReduceLROnPlateau(holder[0], factor=0.2, patience=0, threshold=0.0))
        return holder[0]

    class EachEpoch:
        def step(self) -> None:
            if len(seen) % 10 == 0:
                holder[1].step(float(np.mean(seen[-10:])))

    def loss_of(scores: Any, labels: Any) -> Any:
        loss = functional.cross_entropy(scores, labels)
        seen.append(loss.item())
        return loss

    theirs = plain_loop(start, rule, lambda _: EachEpoch(), loss_of)
    assert np.abs(np.subtract(history.loss_history, theirs)).max() < 1e-6
    assert len({*history.learning_rates}) > 1


def test_all_there_are_have_a_case() -> None:
    assert {name for name, _, _ in RULES.values()} | ELSEWHERE == OPTIMIZERS.keys()
    assert {name for name, _, _ in RATES.values()} | {"plateau"} == SCHEDULES.keys()
    assert {name for name, _, _ in FORMULAS.values()} == LOSSES_OF_CLASSES.keys()
