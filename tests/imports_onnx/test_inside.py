"""Normalisation that a file does by layers of its own: `(x - mean) / deviation` behind an input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.imports.onnx.convert import import_onnx
from netspec.runtime.data.input_normalization import Normalization
from tests.conftest import Run
from tests.helpers.onnx_support import onnx
from tests.imports_onnx.test_patterns import Graph, imported, node, real, weights

MEAN, STD = np.array([1050.5, 0.1], np.float32), np.array([120, 0.25], np.float32)
HEAD = node("Gemm", "n w", "y")
# The operators, their numbers, what the net declares, and what the note says.
INSIDE: dict[str, tuple[Graph, dict[str, np.ndarray], tuple[str, ...], str]] = {
    "difference and quotient": (
        [node("Sub", "x x_mean", "a"), node("Div", "a x_std", "n")], {"x_mean": MEAN, "x_std": STD},
        ("buffer x_mean: [2] = [1050.5, 0.1]", "buffer x_std: [2] = [120, 0.25]"),
        "subtracts [1050.5, 0.1], then divides by [120, 0.25]",
    ),
    "difference and product": (
        [node("Sub", "x x_mean", "a"), node("Mul", "inverse a", "n")],
        {"x_mean": MEAN, "inverse": 1 / STD},
        ("buffer x_mean: [2] = [1050.5, 0.1]", "buffer inverse: [2] = [0.008333334, 4]"),
        "subtracts [1050.5, 0.1], then multiplies by [0.00833333, 4]",
    ),
    "equal numbers": (
        [node("Div", "x x_std", "n")], {"x_std": np.full(2, 2.5, np.float32)},
        ("buffer x_std: [2] = constant(2.5)",), "divides by 2.5",
    ),
    "single numbers": (
        [node("Mul", "x share", "a"), node("Add", "a low", "n")],
        {"share": real(0.5), "low": real(-1)}, ("x * 0.5",), "multiplies by 0.5, then adds -1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", INSIDE)
def test_statistics_of_data_are_buffers_and_inputs_are_fed_as_they_are(
    what: str, tmp_path: Path
) -> None:
    nodes, stored, declared, said = INSIDE[what]
    found = imported(tmp_path, [*nodes, HEAD], {**stored, "w": weights(2, 3)}, 2)
    assert all(text in found.text for text in declared)
    assert "parameter" not in found.text
    assert "scale" not in found.text
    note = "the net itself normalises `x`, which it takes as the data has it"
    assert found.notes == (f"{note}: it {said}",)
    assert isinstance(found.normalization, Normalization)
    assert found.normalization.kind == "none"


@pytest.mark.parametrize(
    ("operator", "stored"),
    [("Add", weights(5, 6)), ("Mul", weights(6))],
    ids=["positions", "a learned scale"],
)
def test_what_may_be_learned_is_a_parameter(
    operator: str, stored: np.ndarray, tmp_path: Path
) -> None:
    nodes = [node(operator, "x p", "a"), node("Relu", "a", "y")]
    found = imported(tmp_path, nodes, {"p": stored}, 5, 6)
    assert found.normalization is None
    assert "buffer" not in found.text
    assert not any("normalises" in note for note in found.notes)


def test_a_divisor_that_may_be_learned_does_not_begin_at_0(tmp_path: Path) -> None:
    nodes = [node("Relu", "x", "a"), node("Div", "a p", "y")]
    found = imported(tmp_path, nodes, {"p": weights(6)}, 6)
    assert "parameter p: [6] = ones" in found.text


def exported(module: Any, sizes: tuple[int, ...], path: Path) -> str:
    """Import what PyTorch's newer exporter writes of a module; return the text."""
    torch = pytest.importorskip("torch")
    try:
        torch.onnx.export(module.eval(), (torch.randn(2, *sizes),), path, dynamo=True, verbose=False,
                          dynamic_shapes=({0: torch.export.Dim("batch")},))  # fmt: skip
    except Exception as error:
        if "does not support functions" in str(error.__cause__ or error):
            pytest.skip("PyTorch 2.6 writes what onnxscript 0.3 does not convert")
        raise
    return import_onnx(path).text


def test_the_file_says_what_is_a_buffer_and_what_a_parameter(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(4, 3)
            self.register_buffer("gain_scale", torch.rand(3) + 0.5)
            self.register_buffer("shift", torch.rand(3))
            self.centre = torch.nn.Parameter(torch.rand(4))

        def forward(self, x: Any) -> Any:
            return self.first(x - self.centre) * self.gain_scale + self.shift

    text = exported(Net(), (4,), tmp_path / "net.onnx")
    assert "parameter centre: [4] = zeros" in text
    assert "buffer gain_scale: [3] = [" in text
    assert "buffer shift: [3] = [" in text


def test_training_from_such_weights_does_not_normalise_again(tmp_path: Path, run: Run) -> None:
    nodes = [node("Sub", "x x_mean", "a"), node("Div", "a x_std", "n"), HEAD]
    found = imported(tmp_path, nodes, {"x_mean": MEAN, "x_std": STD, "w": weights(2, 3)}, 2)
    (tmp_path / "g.net").write_text(found.text)
    (tmp_path / "g.safetensors").write_bytes(found.weights_file())
    rng = np.random.default_rng(0)
    x = (MEAN + STD * rng.normal(size=(12, 2))).astype(np.float32)
    np.savez(
        tmp_path / "d.npz", x_train=x, y_train=np.arange(12) % 3, x_test=x, y_test=np.arange(12) % 3
    )
    usual = (
        "train", "numpy", tmp_path / "g.net", "--data", tmp_path / "d.npz", "--weights",
        tmp_path / "g.safetensors", "--epochs", 1, "--batch", 4, "--lr", 0.1,
    )  # fmt: skip
    done = run(*usual, "--out", tmp_path / "a")
    assert "inputs are left as they are" in done.err + done.out
    given = netspec.load_weights(tmp_path / "a").normalization
    assert given is not None
    assert given.kind == "none"
    done = run(*usual, "--normalize", "channel", "--out", tmp_path / "b")
    assert "inputs are left as they are" not in done.err + done.out
    given = netspec.load_weights(tmp_path / "b").normalization
    assert given is not None
    assert given.kind == "channel"


def test_the_command_says_which_inputs_nobody_normalises(tmp_path: Path, run: Run) -> None:
    nodes = [node("Sub", "x m", "a"), node("Concat", "a z", "n", axis=1), HEAD]
    make = onnx.helper.make_tensor_value_info
    stored = {"m": MEAN, "w": weights(5, 3)}
    graph = onnx.helper.make_graph(
        nodes, "g", [make("x", 1, ["N", 2]), make("z", 1, ["N", 3])], [make("y", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in stored.items()],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=opset), tmp_path / "n.onnx")
    done = run(
        "import", "onnx", tmp_path / "n.onnx", "-o", tmp_path / "n.net",
        "--weights-out", tmp_path / "n.safetensors",
    )  # fmt: skip
    assert "the model does not say how `z` was normalised" in done.err
    assert netspec.load_weights(tmp_path / "n.safetensors").normalization is None
