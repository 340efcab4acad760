"""Models of other tools where a net is meant, and imports that are written again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import netspec
from tests.conftest import Run
from tests.helpers.onnx_support import onnx

SMALL = """
net Small {
    input x: [6]
    output x -> first: linear(4) -> softmax
}
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write an ONNX file."""
    onnx.checker  # noqa: B018 - skips where there is no onnx
    path = tmp_path / "m.onnx"
    netspec.loads(SMALL).compile("numpy").to_onnx(path)
    return path


@pytest.mark.parametrize(
    "verb", ["check", "summarize", "draw", "weights", "import", "import torch", "diff", "compile"]
)
def test_an_onnx_file_in_place_of_a_net_is_told_its_verb(verb: str, model: Path, run: Run) -> None:
    more = (model,) if verb == "diff" else ("--target", "numpy") if verb == "compile" else ()
    finished = run(*verb.split(), model, *more)
    assert finished.code != 0
    assert f"an ONNX model: `netspec import onnx {model} -o m.net" in finished.err + finished.out


def test_weights_in_place_of_a_net_are_told_the_option(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"\x80\x02}q\x00.")
    finished = run("check", path)
    assert f"--weights {path}" in finished.err + finished.out


def test_an_onnx_file_in_place_of_weights_is_told_its_verb(
    model: Path, run: Run, tmp_path: Path
) -> None:
    net = tmp_path / "small.net"
    net.write_text(SMALL)
    finished = run("compile", net, "--target", "c", "--weights", model, "-o", tmp_path / "m.c")
    assert f"`netspec import onnx {model} -o m.net --weights-out m.safetensors`" in finished.err


def test_the_same_import_is_written_again(model: Path, run: Run, tmp_path: Path) -> None:
    net, weights = tmp_path / "m.net", tmp_path / "m.safetensors"
    assert run("import", "onnx", model, "-o", net).code == 0
    again = run("import", "onnx", model, "-o", net, "--weights-out", weights)
    assert again.code == 0, again.err
    assert netspec.load_weights(weights).tensors["first.weight"].shape == (4, 6)
    net.write_text(net.read_text() + "# mine\n")
    refused = run("import", "onnx", model, "-o", net)
    assert refused.code != 0
    assert "already exists, and is not what this import writes" in refused.err
    assert net.read_text().endswith("# mine\n")
    assert run("import", "onnx", model, "-o", net, "--force").code == 0


def test_names_that_say_another_format(model: Path, run: Run, tmp_path: Path) -> None:
    net = tmp_path / "m.net"
    refused = run("import", "onnx", model, "-o", net, "--weights-out", tmp_path / "a.pth")
    assert refused.code != 0
    assert "name it a.safetensors" in refused.err
    assert not net.exists()
    told = run("import", "onnx", model, "-o", tmp_path / "b.txt")
    assert told.code == 0
    assert "editors know these by their ending: .net" in told.err


def test_from_python(model: Path, tmp_path: Path) -> None:
    net = netspec.from_onnx(model, weights_out=tmp_path / "m.safetensors")
    assert isinstance(net, netspec.Net)
    found = net.compile("numpy")
    found.load_state_dict(netspec.load_weights(tmp_path / "m.safetensors"))
    x = np.ones((2, 6), np.float32)
    expected = netspec.loads(SMALL).compile("numpy").forward(x)
    np.testing.assert_allclose(found.forward(x), expected, atol=1e-6)


def test_eval_warns_of_a_softmax_before_the_loss(run: Run, tmp_path: Path) -> None:
    net, weights, data = tmp_path / "s.net", tmp_path / "s.safetensors", tmp_path / "d.npz"
    net.write_text(SMALL)
    netspec.save_weights(weights, netspec.loads(SMALL).compile("numpy").state_dict())
    x, y = np.ones((8, 6), np.float32), np.arange(8) % 4
    np.savez(data, x_train=x, y_train=y, x_test=x, y_test=y)
    finished = run("eval", net, "--weights", weights, "--data", data, "--normalize", "none")
    assert finished.code == 0, finished.err
    assert "warning: the scores come from `softmax1` (softmax) as probabilities" in finished.err
