"""`compile --target torch` of weights that know a normalisation, and `--normalize`."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.data.input_normalization import Normalization, Normalizations
from tests.onnx_backend.test_normalized import BY_CHANNEL, MEAN_IMAGE, NET, UNIT

torch = pytest.importorskip("torch")

TWO = """
net Two {
    input mean: [3, 4]
    input right: [3]
    y = concat([mean -> flatten, right]) -> linear(2)
    output y
    output more = relu(y)
}
"""


def weights_of(text: str, by: Any, path: Path) -> netspec.Model:
    model = netspec.loads(text).compile(seed=1)
    about = {"image_type": "uint8", "class_names": '["cat", "dog \\"x\\""]'}
    netspec.save_weights(path, model.state_dict(), by, about)
    return model


def executed(path: Path) -> ModuleType:
    module = ModuleType("generated")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("by", [BY_CHANNEL, UNIT], ids=lambda by: by.kind)
def test_the_class_takes_pixels(by: Any, tmp_path: Path, run: Any, write: Any) -> None:
    model = weights_of(NET, by, tmp_path / "w.safetensors")
    out = tmp_path / "a.py"
    command = ("compile", write(NET), "--target", "torch", "-o", out)
    done = run(*command, "--weights", tmp_path / "w.safetensors", "--normalize")
    assert (done.code, done.err) == (0, "")
    classes = executed(out)
    assert "the class NormalizedA takes them as they are" in " ".join(classes.__doc__.split())
    assert "Classes: cat, dog 'x'." in classes.__doc__
    net = classes.NormalizedA()
    net.load_state_dict({n: torch.from_numpy(a) for n, a in model.state_dict().items()})
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5), np.uint8)
    expected = model(by.apply(pixels, "float32"))
    with torch.no_grad():
        for given in (torch.from_numpy(pixels), torch.from_numpy(pixels).float()):
            assert np.allclose(net(given).numpy(), expected, atol=1e-4)
    again = run(*command, "--weights", tmp_path / "w.safetensors", "--normalize", "--check")
    assert again.code == 0


def test_without_the_option_it_is_said(tmp_path: Path, run: Any, write: Any) -> None:
    weights_of(NET, BY_CHANNEL, tmp_path / "w.safetensors")
    command = ("compile", write(NET), "--target", "torch", "--weights", tmp_path / "w.safetensors")
    done = run(*command)
    line = (
        "image: (pixel - [110, 120, 130]) / [55.5, 60, 1] of pixels from 0 to 255, as in training"
    )
    assert f"note: it takes {line}; --normalize puts that into the file" in done.err
    assert line in " ".join(done.out.split())
    assert "Normalized" not in done.out
    plain = run("compile", write(NET), "--target", "torch")
    assert plain.err == ""
    assert "as in training" not in plain.out


def test_inputs_called_as_the_numbers_are_and_several_outputs(
    tmp_path: Path, run: Any, write: Any
) -> None:
    left = Normalization("channel", np.array([[1], [2], [3]], "f"), np.full((3, 1), 2, "f"))
    right = Normalization("channel", np.array([1, 2, 3], "f"), np.array([4, 5, 6], "f"))
    both = Normalizations({"mean": left, "right": right})
    model = weights_of(TWO, both, tmp_path / "w.safetensors")
    out = tmp_path / "two.py"
    command = ("compile", write(TWO), "--target", "torch", "-o", out, "--normalize", "--weights")
    assert run(*command, tmp_path / "w.safetensors").code == 0
    net = executed(out).NormalizedTwo()
    net.load_state_dict({n: torch.from_numpy(a) for n, a in model.state_dict().items()})
    rng = np.random.default_rng(0)
    given = {"mean": rng.normal(size=(2, 3, 4)), "right": rng.normal(size=(2, 3))}
    expected = [*model({n: both.inputs[n].apply(x, "float32") for n, x in given.items()}).values()]
    with torch.no_grad():
        found = net(**{n: torch.from_numpy(x).float() for n, x in given.items()})
    assert np.allclose(found[0].numpy(), expected[0], atol=1e-5)
    assert np.allclose(found[1].numpy(), expected[1], atol=1e-5)


def test_a_mean_image_is_not_written_into_a_module(tmp_path: Path, run: Any, write: Any) -> None:
    big = NET.replace("[3, 4, 5]", "[3, 4, 50]")
    by = Normalization("mean-image", np.zeros((3, 4, 50), "f") + range(50), np.ones((1, 1, 1), "f"))
    weights_of(big, by, tmp_path / "w.safetensors")
    command = ("compile", write(big), "--target", "torch", "--weights", tmp_path / "w.safetensors")
    assert "600 numbers" in run(*command, "--normalize").err
    assert "the mean of its place" in run(*command).err
    assert MEAN_IMAGE.kind in netspec.load_weights(tmp_path / "w.safetensors").normalization.kind
