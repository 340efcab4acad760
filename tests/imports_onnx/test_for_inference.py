"""Notes for who trains a file further that was written for inference."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from netspec.imports.onnx.convert import import_onnx
from tests.imports_onnx.test_patterns import VECTOR, imported, node, weights

FOLDED = (
    "the file is one for inference: batch norms are folded into the layers before them, and dropout is"
    " gone; write in what training needs"
)


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("has_norm", [True, False])
def test_norms_that_an_exporter_has_folded_are_told(
    has_norm: bool, dynamo: bool, tmp_path: Path
) -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    norm = [nn.BatchNorm2d(4)] if has_norm else []
    net = nn.Sequential(nn.Conv2d(3, 4, 3), *norm, nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.randn(1, 3, 9, 9),), path, dynamo=dynamo, verbose=False)
    assert (FOLDED in import_onnx(path).notes) == has_norm


@pytest.mark.parametrize("is_last", [True, False])
def test_a_sigmoid_at_the_end_is_told(is_last: bool, tmp_path: Path) -> None:
    nodes = [node("Gemm", "x w", "a"), node("Sigmoid", "a", "y" if is_last else "s")]
    nodes += [] if is_last else [node("Mul", "s a", "y")]
    found = imported(tmp_path, nodes, {"w": weights(6, 3)}, *VECTOR)
    told = [note for note in found.notes if note.startswith("the net ends in `sigmoid`")]
    assert len(told) == is_last
