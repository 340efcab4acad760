"""`--normalize`: a model that takes pixels as they are, and what others say of their inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.compiler.onnx_backend import OnnxOptions
from netspec.imports.onnx.convert import import_onnx
from netspec.runtime.data.input_normalization import Normalization, Normalizations
from tests.helpers.onnx_support import check_model, onnx, run_session, session

NET = """
net A {
    input image: [3, 4, 5]
    output image -> conv(4, 3, pad = same) -> relu -> flatten -> linear(2)
}
"""
TWO = """
net Two {
    input left: [3, 4]
    input right: [3]
    output concat([left -> flatten, right]) -> linear(2)
}
"""
BY_CHANNEL = Normalization(
    "channel", np.array([110, 120, 130], "f").reshape(3, 1, 1),
    np.array([55.5, 60, 1], "f").reshape(3, 1, 1),
)  # fmt: skip
MEAN_IMAGE = Normalization(
    "mean-image", np.arange(60, dtype="f").reshape(3, 4, 5), np.ones((1, 1, 1), "f")
)
UNIT = Normalization("unit", np.zeros((1, 1, 1), "f"), np.full((1, 1, 1), 255, "f"))


def trained(text: str, by: Any, path: Path) -> netspec.Model:
    """Return a model that knows a normalization, whose weights lie at the path."""
    model = netspec.loads(text).compile(seed=1)
    about = {"image_type": "uint8", "class_names": '["cat", "dog"]'}
    netspec.save_weights(path, model.state_dict(), by, about)
    model.load_state_dict(netspec.load_weights(path))
    return model


def metadata(path: Path) -> dict[str, str]:
    return {each.key: each.value for each in onnx.load(path).metadata_props}


@pytest.mark.parametrize("by", [BY_CHANNEL, MEAN_IMAGE, UNIT], ids=lambda by: by.kind)
@pytest.mark.parametrize("opset", [17, 20])
def test_a_model_normalises_pixels(by: Any, opset: int, tmp_path: Path) -> None:
    model = trained(NET, by, tmp_path / "w.safetensors")
    path = tmp_path / "a.onnx"
    options = OnnxOptions(opset, normalize=True, half=True, functions=True)
    model.to_onnx(path, options)
    check_model(onnx.load(path))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5)).astype("f")
    expected = model(by.apply(pixels, "float32"))
    found = run_session(session(str(path)), {"image": pixels})["output"]
    assert np.allclose(found, expected, rtol=1e-2, atol=1e-2)  # weights in half precision
    said = metadata(path)
    assert said["netspec.normalizes"] == "true"
    assert said["netspec.inputs"].startswith(
        "image: pixels from 0 to 255, as they are: this file makes "
    )


def test_several_inputs_are_normalised_each(tmp_path: Path) -> None:
    left = Normalization("channel", np.full((3, 1), 7, "f"), np.full((3, 1), 2, "f"))
    right = Normalization("channel", np.array([1, 2, 3], "f"), np.array([4, 5, 6], "f"))
    both = Normalizations({"left": left, "right": right})
    model = trained(TWO, both, tmp_path / "w.safetensors")
    model.to_onnx(tmp_path / "a.onnx", OnnxOptions(normalize=True))
    rng = np.random.default_rng(0)
    given = {"left": rng.normal(size=(2, 3, 4)), "right": rng.normal(size=(2, 3))}
    expected = model({n: both.inputs[n].apply(x, "float32") for n, x in given.items()})
    found = run_session(session(str(tmp_path / "a.onnx")), given)["output"]
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("by", [BY_CHANNEL, UNIT], ids=lambda by: by.kind)
def test_the_import_takes_the_normalisation_off_again(by: Any, tmp_path: Path) -> None:
    trained(NET, by, tmp_path / "w").to_onnx(tmp_path / "a.onnx", OnnxOptions(normalize=True))
    found = import_onnx(tmp_path / "a.onnx")
    assert found.normalization is not None
    assert found.normalization.is_like(by)
    assert "div" not in found.text
    assert " / " not in found.text


def test_what_the_import_leaves_in_the_net_is_not_in_the_weights_too(tmp_path: Path) -> None:
    model = trained(NET, MEAN_IMAGE, tmp_path / "w")
    model.to_onnx(tmp_path / "a.onnx", OnnxOptions(normalize=True))
    assert import_onnx(tmp_path / "a.onnx").normalization is None


def test_a_model_that_knows_nothing_cannot_normalise(tmp_path: Path) -> None:
    model = netspec.loads(NET).compile()
    with pytest.raises(netspec.NetspecError) as error:
        model.to_onnx(tmp_path / "a.onnx", OnnxOptions(normalize=True))
    assert error.value.diagnostics[0].code == "weights/no-normalization"
    assert not (tmp_path / "a.onnx").exists()


def test_a_mean_image_is_for_one_size(tmp_path: Path) -> None:
    text = NET.replace("[3, 4, 5]", "[3, H, W]").replace("flatten", "global_avg_pool")
    by = Normalization("mean-image", np.ones((3, 4, 5), "f"), np.ones((1, 1, 1), "f"))
    model = trained(text, by, tmp_path / "w")
    with pytest.raises(netspec.NetspecError) as error:
        model.to_onnx(tmp_path / "a.onnx", OnnxOptions(normalize=True))
    assert error.value.diagnostics[0].code == "compile/no-onnx"


def test_the_command_says_what_is_to_be_done_or_does_it(
    tmp_path: Path, run: Any, write: Any
) -> None:
    trained(NET, BY_CHANNEL, tmp_path / "w.safetensors")
    out = tmp_path / "a.onnx"
    command = ("compile", write(NET), "--target", "onnx", "-o", out)
    plain = run(*command, "--weights", tmp_path / "w.safetensors")
    assert plain.code == 0
    line = (
        "image: (pixel - [110, 120, 130]) / [55.5, 60, 1] of pixels from 0 to 255, as in training"
    )
    assert f"note: it takes {line}; --normalize puts that into the file" in plain.err
    assert metadata(out)["netspec.inputs"] == line
    assert metadata(out)["netspec.normalizes"] == "false"
    done = run(*command, "--weights", tmp_path / "w.safetensors", "--normalize")
    assert (done.code, done.err) == (0, "")
    assert metadata(out)["netspec.normalizes"] == "true"
    assert "--normalize needs weights" in run(*command, "--normalize").err
    bare = tmp_path / "bare.safetensors"
    netspec.save_weights(bare, netspec.loads(NET).compile().state_dict())
    assert "weights/no-normalization" in run(*command, "--normalize", "--weights", bare).err
