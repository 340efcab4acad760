"""What changes the steps of a run: averages of the weights, steps in parts, an early end, schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.data.batches import divided, epoch_order
from netspec.runtime.optim.averaging import decay_at
from netspec.runtime.optim.optimizers import OPTIMIZERS
from tests.conftest import ROOT, Run
from tests.helpers.errors import fails

NET = """
net N {
    input x: [6]
    h = x -> a: linear(5) -> tanh
    output h -> b: linear(3)
    output aux = h -> c: linear(3)
}
"""


def data(count: int = 50) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((count, 6))
    y = (x[:, 0] + x[:, 1] > 0).astype(int) + (x[:, 2] > 1)
    return Dataset("made", x[:-10], y[:-10], x[-10:], y[-10:], 3)


def trained(backend: str, net: str = NET, **options: Any) -> tuple[Any, Any]:
    if backend == "torch":
        pytest.importorskip("torch")
    model = netspec.loads(net).compile(backend, dtype="float64", seed=1)
    chosen: dict[str, Any] = {"epochs": 4, "batch": 8, "normalize": "none", "lr": 0.05}
    return model, netspec.fit(model, data(), **{**chosen, "progress": False, **options})


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_both_backends_average_and_divide_alike(optimizer: str) -> None:
    options = {
        "ema": 0.9,
        "accumulate": 3,
        "optimizer": optimizer,
        "also": ["aux=mse*0.3"],
        "val": 8,
    }
    (ours, mine), (theirs, other) = (trained(b, **options) for b in ("numpy", "torch"))
    np.testing.assert_allclose(mine.loss_history, other.loss_history, rtol=1e-8)
    for name, array in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name], array, rtol=1e-6, atol=1e-9)
    assert mine.val_acc_history == other.val_acc_history


@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("parts", [2, 3, 100])
def test_parts_change_nothing_without_batch_statistics(backend: str, parts: int) -> None:
    whole, history = trained(backend, also=["aux=0.5"], l2=0.1, clip_norm=1.0)
    divided, other = trained(backend, also=["aux=0.5"], l2=0.1, clip_norm=1.0, accumulate=parts)
    np.testing.assert_allclose(history.loss_history, other.loss_history, rtol=1e-9)
    for name, array in whole.state_dict().items():
        np.testing.assert_allclose(divided.state_dict()[name], array, rtol=1e-8, atol=1e-12)


def test_parts_count_the_targets_that_count() -> None:
    text = "net N {\ninput x: [4, 6]\noutput x -> linear(3)\n}"
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4, 6)), rng.integers(0, 3, (20, 4))
    y[rng.random((20, 4)) < 0.6] = -100
    losses = []
    for parts in (1, 3):
        model = netspec.loads(text).compile(dtype="float64")
        history = netspec.fit(
            model, Dataset("d", x, y, x, y, 3), batch=10, accumulate=parts, progress=False
        )
        losses.append(history.loss_history)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)


def test_batches_are_divided_evenly_and_into_no_single_image() -> None:
    for count in range(1, 30):
        for parts in range(1, 9):
            found = divided(count, parts)
            sizes = [part.stop - part.start for part in found]
            assert sum(sizes) == count
            assert [part.start for part in found[1:]] == [part.stop for part in found[:-1]]
            assert len(found) <= parts
            assert max(sizes) - min(sizes) <= 1
            assert count == 1 or min(sizes) >= 2


def test_the_average_is_that_of_a_plain_loop() -> None:
    torch = pytest.importorskip("torch")
    _, history = trained("numpy", optimizer="sgd", schedule="constant", ema=0.8)
    weights = netspec.loads(NET).compile(dtype="float64", seed=1).state_dict()
    module = torch.nn.ModuleDict(
        {"a": torch.nn.Linear(6, 5), "b": torch.nn.Linear(5, 3), "c": torch.nn.Linear(5, 3)}
    ).double()
    module.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    rule = torch.optim.SGD(module.parameters(), lr=0.05)
    mean = {name: p.detach().clone() for name, p in module.named_parameters()}
    made, step = data(), 0
    for epoch in range(1, 5):
        order = epoch_order(40, 0, epoch)
        for start in range(0, 40, 8):
            part = order[start : start + 8]
            scores = module["b"](torch.tanh(module["a"](torch.tensor(made.x_train[part]))))
            rule.zero_grad()
            loss = torch.nn.functional.cross_entropy(scores, torch.tensor(made.y_train[part]))
            loss.backward()
            assert history.loss_history[step] == pytest.approx(loss.item(), rel=1e-9)
            rule.step()
            step += 1
            d = min(0.8, (1 + step) / (10 + step))
            assert decay_at(0.8, step) == d
            for name, p in module.named_parameters():
                mean[name] = d * mean[name] + (1 - d) * p.detach()
    model, _ = trained("numpy", optimizer="sgd", schedule="constant", ema=0.8)
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(array, mean[name].numpy(), rtol=1e-9)


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_an_averaged_run_is_resumed_bit_for_bit(tmp_path: Any, run: Run, target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch")
    options = ["--no-recipe", "--ema", "0.95", "--accumulate", "2", "--schedule", "constant",
               "--train-limit", "200", "--batch", "50", "--threads", "1"]  # fmt: skip
    command = ["train", target, ROOT / "networks/threelayer.net", "--set", "size=8", *options]
    for name, epochs in (("whole", 3), ("half", 1)):
        done = run(*command, "--epochs", epochs, "--out", tmp_path / name)
        assert done.code == 0, done.err
    assert run("train", "--resume", tmp_path / "half", "--epochs", "3").code == 0
    one, two = (tmp_path / name / "weights.safetensors" for name in ("whole", "half"))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_kept_is_what_was_measured() -> None:
    for keep in ("last", "best"):
        model, history = trained("numpy", ema=0.9, val=8, keep=keep, epochs=5)
        made = data().split(8)
        right = float((model.predict(made[1], normalize="none") == made[2]).mean())
        assert history.accuracy("val", history.kept_epoch) == right


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_an_early_end(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, history = trained(
        backend, epochs=60, val=10, early_stopping=2, keep="best", lr=0.2, progress=True
    )
    scores = history.val_acc_history
    assert len(scores) < 60
    assert scores.index(max(scores)) == len(scores) - 3
    assert history.kept_epoch == len(scores) - 2
    assert not history.stopped
    assert "nothing better in the last 2 measurements" in capsys.readouterr().err


def test_an_early_end_by_the_loss() -> None:
    _, history = trained(
        "numpy", epochs=40, early_stopping=1, lr=3.0, optimizer="sgd", schedule="constant"
    )
    scores = history.scores()
    assert len(scores) < 40
    assert max(scores[:-1]) == scores[-2] > scores[-1]


def test_the_plateau_lowers_the_rate() -> None:
    _, history = trained(
        "numpy", epochs=12, val=10, schedule="plateau",
        schedule_options={"patience": 0, "gamma": 0.5}, warmup=1,
    )  # fmt: skip
    steps, falls, best = history.steps_in_epoch, 0, -1.0
    for epoch, score in enumerate(history.val_acc_history[:-1], 1):
        falls += score <= best
        best = max(best, score)
        assert history.learning_rates[epoch * steps] == 0.05 * 0.5**falls
    assert falls


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ema": 1.0}, "between 0 and 1"),
        ({"ema": 0}, "between 0 and 1"),
        ({"accumulate": 0}, "from 1 on"),
        ({"accumulate": 1.5}, "from 1 on"),
        ({"early_stopping": 0}, "from 1 on"),
        ({"max_seconds": 0}, "more than 0"),
        ({"schedule": "plateau", "schedule_options": {"patience": -1}}, "patience"),
        ({"schedule": "one-cycle", "schedule_options": {"rise": 1.0}}, "between 0 and 1"),
        ({"schedule": "one-cycle", "schedule_options": {"final_divisor": 0}}, "at least 1"),
        ({"schedule": "cyclic", "schedule_options": {"cycle": 0}}, "from 1 on"),
        ({"schedule": "cyclic", "schedule_options": {"minimum": 1.0}}, "between 0 and the rate"),
        ({"schedule": "cosine-restarts", "schedule_options": {"multiply": 0}}, "multiply"),
        ({"schedule": "polynomial", "schedule_options": {"power": 0}}, "more than 0"),
        ({"optimizer": "momentum", "optimizer_options": {"dampening": 1.0}}, "less than 1"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], said: str) -> None:
    with fails("train/bad-option", said):
        trained("numpy", **options)
