"""Nets that read tokens: whole numbers are held to their range, and never normalised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import netspec
from netspec import codes
from netspec.diagnostics import NetspecError

NET = netspec.loads(
    "net Counts {\n"
    "    input tokens: [5]\n"
    "    x = tokens -> embedding(4, 8)\n"
    "    output x -> lstm(8) -> slice(1, -1) -> flatten -> linear(2)\n"
    "}\n"
)

OPTIONS: dict[str, Any] = {"optimizer": "adam", "lr": 1e-2, "batch": 20, "progress": False}


def _data(dtype: type = np.int64) -> netspec.Dataset:
    """Sequences of four tokens, and whether 0 comes more often than 1."""
    x = np.random.default_rng(0).integers(0, 4, (260, 5))
    y = ((x == 0).sum(1) > (x == 1).sum(1)).astype(np.int64)
    x = x.astype(dtype)
    return netspec.Dataset("letters", x[:200], y[:200], x[200:], y[200:], 2)


def test_tokens_are_learned_and_not_normalised() -> None:
    history = netspec.fit(NET.compile(), _data(), **OPTIONS, epochs=8)
    assert history.normalization.kind == "none"
    assert history.test_acc_history[-1] > 0.8


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_tokens_of_any_type_train_alike(dtype: type) -> None:
    a, b = (netspec.fit(NET.compile(), _data(d), **OPTIONS, epochs=1) for d in (dtype, np.int64))
    assert a.loss_history == b.loss_history


def test_both_backends_train_alike() -> None:
    pytest.importorskip("torch")
    ours = netspec.fit(NET.compile(), _data(), **OPTIONS, epochs=1)
    theirs = netspec.fit(NET.compile("torch"), _data(), **OPTIONS, epochs=1)
    assert np.allclose(ours.loss_history, theirs.loss_history, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [4, -1, 0.5, np.nan])
def test_what_is_no_token_is_located(wrong: float) -> None:
    x = np.zeros((3, 5))
    x[1, 2] = wrong
    for call in (NET.compile().forward, NET.compile().predictor()):
        with pytest.raises(NetspecError) as error:
            call(x)
        (found,) = error.value.diagnostics
        assert found.code is codes.MODEL_PLACES
        assert f"holds {wrong:g} at [1, 2]" in found.message
        assert found.span is not None
        assert "embedding(4, 8)" in found.span.text


def test_wrong_tokens_are_found_before_training_begins() -> None:
    data = _data()
    data.x_test[7, 0] = 9
    with pytest.raises(NetspecError, match="holds 9 at"):
        netspec.fit(NET.compile(), data, epochs=1, progress=False)


def test_another_normalisation_is_refused() -> None:
    with pytest.raises(NetspecError, match="whole numbers, such as tokens"):
        netspec.fit(NET.compile(), _data(), epochs=1, normalize="unit", progress=False)
