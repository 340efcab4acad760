"""How `fit` normalises where the model has weights that say it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from tests.helpers.errors import fails

NORMALISED = """
net A {
    input x: [4]
    buffer mean: [4] = constant(50.0)
    output (x - mean) / 20.0 -> linear(2)
}
"""


def _far_from_0() -> netspec.Dataset:
    rng = np.random.default_rng(0)
    x = (50 + 20 * rng.standard_normal((40, 4))).astype(np.float32)
    y = (x[:, 0] > 50).astype(np.int64)
    return netspec.Dataset("far", x, y, x, y, 2)


@pytest.mark.parametrize("target", ["numpy", "torch"])
def test_weights_for_inputs_as_they_are_are_trained_on_so(tmp_path: Path, target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch")
    data = _far_from_0()
    model = netspec.loads(NORMALISED).compile(target)
    history = netspec.fit(model, data, epochs=1, normalize="none", progress=False)
    netspec.save_weights(tmp_path / "w.safetensors", model.state_dict(), model.trained_on)
    again = netspec.loads(NORMALISED).compile(target)
    again.load_state_dict(netspec.load_weights(tmp_path / "w.safetensors"))
    first = again.evaluate(data).loss
    continued = netspec.fit(again, data, epochs=1, lr=1e-9, progress=False)
    assert history.normalization.kind == continued.normalization.kind == "none"
    assert again.evaluate(data).loss == pytest.approx(first, rel=1e-4)


def test_weights_are_trained_on_with_their_own_normalization(tmp_path: Path) -> None:
    data = _far_from_0()
    model = netspec.loads(NORMALISED).compile()
    history = netspec.fit(model, data, epochs=1, normalize="channel", progress=False)
    netspec.save_weights(tmp_path / "w.safetensors", model.state_dict(), model.trained_on)
    moved = netspec.Dataset("moved", data.x_train + 7, data.y_train, data.x_test, data.y_test, 2)
    again = netspec.loads(NORMALISED).compile()
    with fails("train/bad-option", "the model's weights do not say how images were normalised"):
        netspec.fit(again, moved, epochs=1, normalize="weights", progress=False)
    again.load_state_dict(netspec.load_weights(tmp_path / "w.safetensors"))
    own = netspec.fit(again, moved, epochs=1, normalize="weights", progress=False)
    assert own.normalization.is_like(history.normalization)
    fitted = netspec.fit(again, moved, epochs=1, progress=False)
    assert not fitted.normalization.is_like(history.normalization)
