"""The learning-rate finder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data import Dataset
from netspec.runtime.training.rate_finder import RateSearch, smoothed
from tests.conftest import Run, Write
from tests.helpers.errors import fails

NET = "net N {\ninput x: [6]\noutput x -> a: linear(5) -> batch_norm -> tanh -> linear(3)\n}"


def made() -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 6))
    y = (x[:, 0] > 0.3).astype(int) + (x[:, 2] > 1)
    return Dataset("made", x[:-10], y[:-10], x[-10:], y[-10:], 3)


def compiled(backend: str) -> Any:
    if backend == "torch":
        pytest.importorskip("torch")
    return netspec.loads(NET).compile(backend, dtype="float64", seed=1)


OPTIONS: dict[str, Any] = {"batch": 8, "optimizer": "sgd", "normalize": "none"}


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_steps_are_those_of_a_training_with_rising_rates(backend: str) -> None:
    model, data = compiled(backend), made()
    before = {name: array.copy() for name, array in model.state_dict().items()}
    found = netspec.find_rate(model, data, lowest=1e-4, highest=1.0, steps=41, **OPTIONS)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert model.history is None
    assert model.trained_on is None
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1.0, 41), rtol=1e-9)
    history = netspec.fit(
        model,
        data,
        epochs=9,
        progress=False,
        schedule=lambda step: 1e-4 * 10 ** (step / 10),
        **OPTIONS,
    )
    np.testing.assert_allclose(found.losses, history.loss_history[:41], rtol=1e-9)
    assert found.suggestion in found.rates
    assert 1e-3 < found.suggestion < 1.0


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_it_ends_where_the_loss_diverges(backend: str) -> None:
    model = compiled(backend)
    weights = model.state_dict()
    options = {**OPTIONS, "loss": "mse", "clip_norm": None}
    found = netspec.find_rate(model, made(), lowest=1e-3, highest=1e300, steps=80, **options)
    assert len(found.losses) < 80
    assert all(map(math.isfinite, found.losses))
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, weights[name])


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-5, 1.0, 101)
    # A fall around 1e-3, and a rise towards the end.
    losses = 2 - np.tanh(np.log10(rates) + 3) + np.where(rates > 0.1, 50 * (rates - 0.1), 0)
    found = RateSearch.of(rates.tolist(), [*losses.tolist()])
    # The average is late by ten steps, half a decade.
    assert 1e-3 <= found.suggestion <= 1e-2
    assert str(found) == f"{found.suggestion:.2g}"
    assert RateSearch.of([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).suggestion is None
    assert RateSearch.of([1.0, 2.0], [math.nan, 1.0]).losses == []
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_train_looks_for_a_rate(run: Run, write: Write, target: str) -> None:
    pytest.importorskip("matplotlib")
    if target == "torch":
        pytest.importorskip("torch")
    net = write("net N {\ninput x: [1, 8, 8]\noutput x -> flatten -> linear(10)\n}", "n.net")
    picture = net.parent / "rates.png"
    done = run("train", target, net, "--optimizer", "sgd", "--find-lr", picture)
    assert done.code == 0, done.err
    assert 1e-5 < float(done.out) < 10
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "drawn in" in done.err
    assert not (net.parent / "runs").exists()
    assert run("train", net, "--find-lr", "rates.txt").code
    refused = run("train", "--resume", net.parent, "--find-lr", picture)
    assert "of a new run" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lowest": 0.0}, "must rise"),
        ({"lowest": 1.0, "highest": 0.1}, "must rise"),
        ({"steps": 1}, "from 2 on"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], said: str) -> None:
    with fails("train/bad-option", said):
        netspec.find_rate(compiled("numpy"), made(), **options)


def test_schedules_are_names_or_functions() -> None:
    model, data = compiled("numpy"), made()
    options = {**OPTIONS, "epochs": 2, "progress": False}
    history = netspec.fit(model, data, schedule=lambda step: 0.1 / (1 + step), **options)
    assert history.learning_rates == [0.1 / (1 + step) for step in range(10)]
    with fails("train/bad-option", "a schedule is a name or a function, not 3"):
        netspec.fit(model, data, schedule=3, **options)  # type: ignore[arg-type]
    with fails("train/bad-option", "no options"):
        netspec.fit(model, data, schedule=abs, schedule_options={"gamma": 1}, **options)
