"""The server of docs/serving.md, over HTTP, and the functions that it is made of."""

from __future__ import annotations

import importlib.util
import io
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.cli import main
from tests.conftest import ROOT, Run
from tests.helpers.labelled_pictures import CLASSES, NET, make_folder, save

Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with pictures, and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("served")
    make_folder(folder / "pets")
    (folder / "small.net").write_text(NET)
    options = (
        "--data", folder / "pets", "--epochs", 6, "--batch", 12, "--lr", 1e-2, "--resize-shorter", 8,
        "--quiet", "--out", folder / "run",
    )  # fmt: skip
    assert main(["train", "numpy", str(folder / "small.net"), *map(str, options)]) == 0
    wide = np.random.default_rng(3).integers(0, 255, (3, 20, 40)).astype(np.uint8)
    save(folder / "photo.png", wide)
    return folder


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("server", ROOT / "docs/serving/server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.server(str(root / "run"), 0) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def post(address: str, data: bytes, path: str = "/predict") -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"{address}{path}", data, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def told(root: Path, run: Run, *paths: Path) -> list[dict[str, float]]:
    """What `netspec predict` says of pictures."""
    done = run("predict", root / "run", *paths, "--top", 3, "--format", "json")
    assert done.code == 0
    return [
        {each["name"]: each["probability"] for each in one["classes"]}
        for one in json.loads(done.out)
    ]


def test_many_threads_are_answered_as_the_command_says(root: Path, address: str, run: Run) -> None:
    paths = [*sorted((root / "pets/test").glob("*/*.png")), root / "photo.png"]
    expected = told(root, run, *paths)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda path: post(address, path.read_bytes()), paths))
    for (code, said), wanted in zip(found, expected, strict=True):
        assert code == 200
        assert list(said) == list(wanted)
        assert said == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("data", "path", "code"),
    [
        (b"not a picture", "/predict", 400),
        (b"", "/predict", 400),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "/predict", 400),
        (b"x" * 20_000_001, "/predict", 413),
        (b"x", "/other", 404),
    ],
)
def test_what_is_no_picture_is_refused(address: str, data: bytes, path: str, code: int) -> None:
    try:
        found, said = post(address, data, path)
    except (ConnectionError, urllib.error.URLError):
        assert code == 413  # the server has closed before all was sent
    else:
        assert found == code
        assert said["error"]
    with urllib.request.urlopen(f"{address}/health", timeout=60) as answer:
        assert json.load(answer)["classes"] == list(CLASSES)


def test_a_form_is_told_what_to_send(root: Path, address: str) -> None:
    picture = (root / "photo.png").read_bytes()
    head = b'Content-Disposition: form-data; name="file"; filename="photo.png"'
    form = b"--border\r\n" + head + b"\r\n\r\n" + picture + b"\r\n--border--\r\n"
    code, said = post(address, form)
    assert code == 400
    assert "it is a form" in said["error"]
    assert "send the bytes of the picture alone" in said["error"]


def test_a_request_without_a_length_is_refused(address: str) -> None:
    port = int(address.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nHost: here\r\nContent-Length: -1\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 411"


def test_a_run_takes_paths_bytes_and_files(root: Path, run: Run) -> None:
    opened = netspec.load_run(root / "run")
    path = root / "photo.png"
    (expected,) = told(root, run, path)
    with path.open("rb") as file:
        given = (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), file)
        for each in given:
            assert opened.predict(each) == pytest.approx(expected, abs=1e-6)
    done = run("predict", root / "run", path, "--resize", "--top", 3, "--format", "json")
    (stretched,) = json.loads(done.out)
    found = opened.predict(path, resize=True)
    wanted = {each["name"]: each["probability"] for each in stretched["classes"]}
    assert found == pytest.approx(wanted, abs=1e-6)
    assert found != pytest.approx(expected, abs=1e-6)
    with pytest.raises(netspec.NetspecError, match="data/shape"):
        opened.predict(path, resize=False)
    x = opened.input_of(path, path.read_bytes())
    assert (x.shape, x.dtype) == ((2, 3, 8, 8), np.float32)
    scores = opened.model.predictor()(x)
    assert opened.class_names[int(scores[1].argmax())] == next(iter(expected))


def test_pixels_for_weights_without_a_run(root: Path, run: Run) -> None:
    opened = netspec.load_run(root / "run")
    data = (root / "photo.png").read_bytes()
    pixels = netspec.read_picture(data, opened.model.input_shape, resize=8)
    assert (pixels.shape, pixels.dtype) == ((3, 8, 8), np.uint8)
    (expected,) = told(root, run, root / "photo.png")
    assert CLASSES[int(opened.model.predict(pixels[None])[0])] == next(iter(expected))
    assert netspec.read_picture(data, (1, 8, 8), resize=True).shape == (1, 8, 8)
    assert netspec.read_picture(data, (2400,)).shape == (2400,)


@pytest.mark.parametrize(
    ("picture", "options", "code"),
    [
        ("missing.png", {}, "data/missing-file"),
        (b"none", {}, "data/bad-file"),
        (io.StringIO("text"), {}, "call/value"),
        (3, {}, "call/value"),
        (None, {}, "call/value"),
        (b"none", {"resize": 0}, "train/bad-option"),
        (b"none", {"resize": "shorter"}, "train/bad-option"),
    ],
)
def test_what_no_picture_is_read_from_is_an_error(
    picture: Any, options: dict[str, Any], code: str
) -> None:
    with pytest.raises(netspec.NetspecError) as error:
        netspec.read_picture(picture, (3, 8, 8), **options)
    assert error.value.diagnostics[0].code == code


def test_another_size_is_an_error_unless_it_is_resized(root: Path) -> None:
    with pytest.raises(netspec.NetspecError) as error:
        netspec.read_picture(root / "photo.png", (3, 8, 8))
    assert error.value.diagnostics[0].code == "data/shape"


def test_a_net_that_was_trained_on_other_numbers_takes_no_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", x_train=rng.random((30, 3, 8, 8), np.float32), y_train=[0, 1, 2] * 10,
             x_test=rng.random((3, 3, 8, 8), np.float32), y_test=[0, 1, 2])  # fmt: skip
    (tmp_path / "small.net").write_text(NET)
    options = ("--data", tmp_path / "d.npz", "--epochs", 1, "--quiet", "--out", tmp_path / "run")
    assert main(["train", "numpy", str(tmp_path / "small.net"), *map(str, options)]) == 0
    picture = save(tmp_path / "p.png", rng.integers(0, 255, (3, 8, 8)).astype(np.uint8))
    with pytest.raises(netspec.NetspecError) as error:
        netspec.load_run(tmp_path / "run").predict(picture)
    assert error.value.diagnostics[0].code == "data/shape"
