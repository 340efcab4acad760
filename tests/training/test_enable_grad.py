"""What needs gradients has them, whatever the caller's mode is, or an interrupt left behind."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from netspec.runtime.data import Dataset  # noqa: E402

NET = "net A { input x: [3]\n output x -> linear(4) -> relu -> linear(2) }"


def trained() -> list[float]:
    model = netspec.loads(NET).compile("torch")
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    y = np.arange(8) % 2
    data = Dataset("numbers", x, y, x, y, 2)
    return netspec.fit(model, data, epochs=2, batch=4).loss_history


@pytest.mark.parametrize(
    "call",
    [
        trained,
        lambda: netspec.verify(netspec.loads(NET), dtypes=("float64",), steps=1).ok,
        lambda: netspec.gradcheck(netspec.loads(NET), backend="torch").ok,
    ],
    ids=["fit", "verify", "gradcheck"],
)  # fmt: skip
def test_gradients_without_grad_mode(call):
    expected = call()
    with torch.no_grad():
        assert call() == expected
    assert expected
    assert torch.is_grad_enabled()
