"""How pictures are prepared for a net: resized, cropped and normalised as torchvision does it."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netspec
from netspec.runtime.data.input_normalization import (
    IMAGENET,
    Normalization,
    normalization_from_json,
)
from netspec.runtime.data.pictures import read_picture
from netspec.runtime.runs.option_types import from_text
from netspec.runtime.runs.options import OPTIONS
from tests.conftest import ROOT, Run
from tests.helpers.errors import fails
from tests.helpers.labelled_pictures import save

RNG = np.random.default_rng(7)
NET = "net T() { input x: [3, 16, 16]\n output x -> conv(4, 3) -> relu -> flatten -> linear(2) }\n"
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.3, 0.25]


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return RNG.integers(0, 256, (channels, height, width), np.uint8)


# ------------------------------------------------------------------------------------------ resizing

SIDE = st.integers(1, 70)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@settings(max_examples=60)
@given(SIDE, SIDE, SIDE, SIDE, SIDE)
def test_a_shorter_side_and_the_middle_are_torchvisions(
    folder, height, width, shorter, rows, columns
) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = pytest.importorskip("PIL.Image")
    path = save(folder / "a.png", noise(height, width))
    small = transforms.Resize(shorter)(image.open(path))
    if small.width < columns or small.height < rows:  # where torchvision adds a black frame
        with fails("data/shape", "a shorter side of"):
            read_picture(path, 3, (rows, columns), resize=shorter)
        return
    ours = read_picture(path, 3, (rows, columns), resize=shorter)
    theirs = np.asarray(transforms.CenterCrop((rows, columns))(small))
    assert np.array_equal(ours, theirs.transpose(2, 0, 1))


def test_a_folder_and_a_net_without_a_size(tmp_path: Path) -> None:
    for i, name in enumerate(("cat", "dog")):
        save(tmp_path / f"pets/{name}/a.png", noise(20 + i, 31))
    pets = str(tmp_path / "pets")
    assert netspec.load_data(pets, input_shape=(3, 8, 12), resize=12).sample_shape == (3, 8, 12)
    assert netspec.load_data(pets, resize=9).sample_shape == (3, 9, 9)
    assert netspec.load_data(pets, input_shape=(81,), resize=9).sample_shape == (81,)
    assert netspec.load_data(pets, input_shape=(243,), resize=np.int64(9)).sample_shape == (243,)
    with fails("data/shape", "has 9 x 6 pixels after .* 10 x 10 are wanted.* side of 10 is enough"):
        netspec.load_data(pets, input_shape=(3, 10, 10), resize=6)
    for odd in (0, -3, 2.5, "8", None):
        with fails("train/bad-option", "resize must be"):
            netspec.load_data(pets, resize=odd)  # type: ignore[arg-type]


def test_a_picture_that_would_grow_without_bounds_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.zeros((1, 1, 60_000), np.uint8))
    with fails("data/bad-file", "13440000 x 224 pixels once resized"):
        read_picture(path, 3, (224, 224), resize=224)


# --------------------------------------------------------------------------------------- normalising


@pytest.mark.parametrize("kind", ["imagenet", (MEAN, STD), ([0.5], [0.5])])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_statistics_are_torchvisions(tmp_path: Path, kind: Any, dtype: str) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    image = pytest.importorskip("PIL.Image")
    path = save(tmp_path / "a.png", noise(31, 47))
    mean, std = IMAGENET if kind == "imagenet" else kind
    whole = transforms.Compose([
        transforms.Resize(20), transforms.CenterCrop(16), transforms.ToTensor(),
        transforms.Normalize(mean, std),
    ])  # fmt: skip
    theirs = whole(image.open(path)).numpy()
    x = read_picture(path, 3, (16, 16), resize=20)[None]
    found = Normalization.fit(kind, x)
    assert np.abs(found.apply(x, dtype)[0] - theirs).max() < 1e-6
    again = normalization_from_json(found.to_json())
    assert again.is_like(found)
    floats = (x / 255).astype(np.float32)
    assert np.abs(Normalization.fit(kind, floats).apply(floats, dtype)[0] - theirs).max() < 1e-6


@pytest.mark.parametrize(
    ("kind", "x", "code", "said"),
    [
        ("imagenet", noise(4, 4, 1), "train/bad-option", "for 3 channels, and the images have 1"),
        ("imagenet", noise(4, 4).reshape(48), "train/bad-option", "the images are flat"),
        ((MEAN[:2], STD[:2]), noise(4, 4), "train/bad-option", "for 2 channels, .* have 3"),
        ((MEAN, STD[:2]), noise(4, 4), "train/bad-option", "mean has 3 numbers and std 2"),
        ((MEAN, [0.1, 0.0, 0.1]), noise(4, 4), "train/bad-option", "std must be more than 0, not 0.0"),
        ((MEAN, [0.1, -1, 0.1]), noise(4, 4), "train/bad-option", "more than 0, not -1"),
        ((MEAN, [0.1, float("nan"), 1]), noise(4, 4), "train/bad-option", "std must be a list"),
        (([], []), noise(4, 4), "train/bad-option", "mean must be a list of numbers"),
        ((0.5, 0.5), noise(4, 4), "train/bad-option", "mean must be a list of numbers"),
        ((MEAN,), noise(4, 4), "train/bad-option", "a pair"),
        (3, noise(4, 4), "train/bad-option", "a pair"),
        ("imagenet", noise(4, 4) * 1.0, "data/shape", "float64 up to 2.*divide them by 255"),
        ("imagenet", noise(4, 4).astype(int), "data/shape", "from 0 to 1"),
        ("image-net", noise(4, 4), "train/bad-option", "did you mean `imagenet`"),
    ],
)  # fmt: skip
def test_statistics_that_do_not_fit_are_said(
    kind: Any, x: np.ndarray, code: str, said: str
) -> None:
    with fails(code, said):
        Normalization.fit(kind, x[None])
    data = netspec.Dataset("some", np.stack([x, x]), np.array([0, 1]), x[None], np.array([0]), 2)
    shape = ", ".join(map(str, x.shape))
    model = netspec.loads(f"net T() {{ input x: [{shape}]\n output x -> flatten -> linear(2) }}")
    with fails(code, said):
        netspec.fit(model.compile(), data, normalize=kind)


def test_one_number_is_for_all_channels_and_for_flat_images() -> None:
    flat = noise(4, 4).reshape(1, 48)
    found = Normalization.fit(([0.5], [0.25]), flat)
    assert np.allclose(found.apply(flat, "float64"), (flat / 255 - 0.5) / 0.25)


# ------------------------------------------------------------------- the verbs, and both backends


@pytest.fixture
def pets(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.net").write_text(NET)
    for i in range(8):
        save(tmp_path / f"pets/{('cat', 'dog')[i % 2]}/{i}.png", noise(20 + i, 40 - i))
    return tmp_path


DATA = ("--data", "./pets", "--epochs", 1)
STATISTICS = ("--mean", ",".join(map(str, MEAN)), "--std", ",".join(map(str, STD)))


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize("how", [("--normalize", "imagenet"), STATISTICS])
def test_a_run_prepares_pictures_as_in_its_training(
    run: Run, pets, monkeypatch, target, how
) -> None:
    options = (*DATA, "--resize-shorter", 18, *how, "--out", "a")
    assert run("train", target, "t.net", *options).code == 0
    model = netspec.load("t.net").compile()
    weights = netspec.load_weights("a/weights.safetensors")
    model.load_state_dict(weights.tensors)
    x = read_picture(Path("pets/dog/1.png"), 3, (16, 16), resize=18)[None]
    fitted = Normalization.fit("imagenet" if how[0] == "--normalize" else (MEAN, STD), x)
    assert weights.normalization is not None
    assert fitted.is_like(weights.normalization)
    scores = model.forward(fitted.apply(x, "float32"))[0].astype(float)
    expected = np.exp(scores) / np.exp(scores).sum()
    for backend in ("numpy", "torch") if importlib.util.find_spec("torch") else ("numpy",):
        found = run(
            "predict", "a", "pets/dog/1.png", "--top", 2, "--format", "json", "--backend", backend
        )
        assert (found.code, found.err) == (0, "")
        classes = json.loads(found.out)[0]["classes"]
        by_number = {c["class"]: c["probability"] for c in classes}
        assert np.allclose([by_number[i] for i in range(2)], expected, atol=1e-6)
        whole = json.loads(
            run("eval", "a", "--part", "train", "--format", "json", "--backend", backend).out
        )
        assert whole["images"] == 8
    assert run("compile", "a", "--target", "numpy", "--standalone", "-o", "alone.py").code == 0
    monkeypatch.syspath_prepend(".")
    monkeypatch.delitem(sys.modules, "alone", raising=False)
    alone = importlib.import_module("alone").T(seed=0)
    alone.load_weights("a/weights.safetensors")
    assert np.allclose(alone.predict_proba(x)[0], expected, atol=1e-6)
    for verb in (("doctor", "t.net", "--data", "./pets", "--resize-shorter", 18, *how),
                 ("gradcheck", "a", "--backend", "numpy", "--directions", 2)):  # fmt: skip
        assert run(*verb).code in (0, 1)
    # Another preparation is reported, and used.
    other = run("predict", "a", "pets/dog/1.png", "--resize", "--normalize", "unit")
    assert other.code == 0
    assert "note: --normalize unit: a was trained with" in other.err
    same = run("predict", "a", "pets/dog/1.png", *how)
    assert (same.code, same.err) == (0, "")
    if how is STATISTICS:
        other = run("predict", "a", "pets/dog/1.png", "--mean", "0,0,0", "--std", "1,1,1")
        assert "note: --mean and --std: a was trained with other numbers" in other.err


def test_weights_of_torchvision_see_what_they_were_trained_on(
    run: Run, tmp_path: Path, monkeypatch
) -> None:
    torch = pytest.importorskip("torch")
    models = pytest.importorskip("torchvision.models")
    transforms = pytest.importorskip("torchvision.transforms")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    theirs = models.resnet18(num_classes=20).eval()
    torch.save(theirs.state_dict(), "r.pth")
    path = save(tmp_path / "photo.png", noise(90, 61))
    shown = transforms.Compose([
        transforms.Resize(40), transforms.CenterCrop(32), transforms.ToTensor(),
        transforms.Normalize(*IMAGENET),
    ])  # fmt: skip
    with torch.no_grad():
        expected = theirs(shown(image.open(path).convert("RGB"))[None]).softmax(1)[0].numpy()
    found = run(
        "predict", "zoo/resnet18", "--set", "size=32", "--set", "classes=20", "--weights", "r.pth",
        "--normalize", "imagenet", "--resize-shorter", 40, "--top", 20, "--format", "json", path,
    )  # fmt: skip
    assert found.code == 0, found.err
    for one in json.loads(found.out)[0]["classes"]:
        assert one["probability"] == pytest.approx(expected[one["class"]], abs=1e-5)
    # Without an option for the preparation there is a note about it.
    plain = run("predict", "zoo/resnet18", "--set", "size=32", "--set", "classes=20",
                "--weights", "r.pth", "--resize", path)  # fmt: skip
    assert "imagenet for torchvision's weights" in plain.err


def test_arrays_of_floats_are_pixels_from_0_to_1(run: Run, pets) -> None:
    run("train", "t.net", *DATA, "--resize", "--out", "a")
    x = noise(16, 16)
    np.save("bytes.npy", x)
    np.save("floats.npy", (x / 255).astype(np.float32))
    np.save("large.npy", x.astype(np.float32))
    found = run("predict", "a", "bytes.npy", "floats.npy", "large.npy", "--normalize", "imagenet",
                "--format", "json")  # fmt: skip
    assert found.code == 1
    assert "the images hold float32 up to 2" in found.err
    first, second = (one["classes"][0] for one in json.loads(found.out))
    assert first["class"] == second["class"]
    assert first["probability"] == pytest.approx(second["probability"], abs=1e-5)


# --------------------------------------------------------------------------------- who decides


def test_a_recipe_has_lists_and_the_command_line_takes_their_place(run: Run, pets) -> None:
    Path("t.toml").write_text(
        f'data = "./pets"\nepochs = 1\nresize-shorter = 18\nmean = {MEAN}\nstd = {STD}\n'
    )

    def kept(*options: object) -> tuple[str, Any]:
        Path("w").unlink(missing_ok=True)
        finished = run("train", "t.net", *options, "--out", "w.safetensors")
        assert finished.code == 0, finished.err
        found = netspec.load_weights("w.safetensors").normalization
        assert found is not None
        return finished.err, found

    said, found = kept()
    assert (found.kind, "recipe t.toml\n" in said) == ("mean-std", True)
    said, found = kept("--normalize", "channel", "--resize")
    assert "recipe t.toml, except for resize-shorter, mean, std\n" in said
    assert found.kind == "channel"
    said, found = kept("--mean", "0.1,0.2,0.3")
    assert "recipe t.toml, except for --mean\n" in said
    assert np.allclose(found.mean.ravel(), [25.5, 51, 76.5])
    assert np.allclose(found.scale.ravel(), np.array(STD) * 255)

    assert run("train", "t.net", "--out", "a").code == 0
    assert f"mean = {MEAN}\n" in Path("a/recipe.toml").read_text()
    assert run("train", "--resume", "a", "--epochs", 2).code == 0
    for name, value in (("--mean", "0,0,0"), ("--normalize", "unit"), ("--resize-shorter", 20)):
        refused = run("train", "--resume", "a", name, value)
        assert "run/fixed" in refused.err, refused.err
    again = run("train", "a", "--out", "b", "--normalize", "imagenet", "--resize")
    assert again.code == 0, again.err


@pytest.mark.parametrize(
    ("text", "said", "at"),
    [
        ("mean = [0.5]", "mean is given without std", "t.toml:1:8"),
        ("mean = [0.5, 0.5]\nstd = [1]", "mean has 2 numbers and std 1", "t.toml:2:7"),
        ("mean = [0.5]\nstd = [0]", "each number of std must be more than 0, not 0", "t.toml:2:7"),
        ("mean = []\nstd = []", "mean must be a list of numbers", "t.toml:2:7"),
        ('mean = ["x"]\nstd = [1]', "`mean` must be a list", "t.toml:1:9"),
        (
            'mean = [1]\nstd = [1]\nnormalize = "unit"',
            "mean and normalize: give one or",
            "t.toml:1:8",
        ),
        (
            "resize = true\nresize-shorter = 9",
            "resize and resize-shorter: give one or",
            "t.toml:1:10",
        ),
        ("resize-shorter = 0", "`resize-shorter` must be a whole number", "t.toml:1:18"),
    ],
)
def test_what_a_recipe_says_of_pictures_is_checked(run: Run, pets, text, said, at) -> None:
    Path("t.toml").write_text(text)
    finished = run("train", "t.net", "--out", "none")
    assert finished.code == 1
    assert said in finished.err
    assert f"--> {at}" in finished.err


def test_a_recipe_may_switch_off_what_something_else_is_in_place_of(run: Run, pets) -> None:
    Path("t.toml").write_text('data = "./pets"\nepochs = 1\nresize = false\nresize-shorter = 18\n')
    assert run("train", "t.net", "--out", "none").code == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mean", "0.5"), "mean is given without std"),
        (("--std", "0.5"), "std is given without mean"),
        (("--mean", "0.5,0.5", "--std", "0.5"), "mean has 2 numbers and std 1"),
        (("--mean", "a", "--std", "0.5"), "--mean: must be a list, each item a number"),
        (("--mean", "1", "--std", "0"), "more than 0"),
        (("--mean", "1", "--std", "1", "--normalize", "unit"), "--mean: give one or the other"),
        (("--resize", "--resize-shorter", 9), "give one or the other"),
        (("--resize-shorter", 0), "must be a whole number"),
    ],
)
@pytest.mark.parametrize("verb", ["train", "eval", "predict", "doctor"])
def test_what_is_wrong_on_a_command_line_is_said_by_every_verb(
    run: Run, pets, verb, options, said
) -> None:
    weights = netspec.load("t.net").compile().state_dict()
    netspec.save_weights("w.safetensors", weights)
    rest = {
        "train": ("t.net", "--out", "none", "--data", "./pets"),
        "doctor": ("t.net", "--data", "./pets"),
        "eval": ("t.net", "--weights", "w.safetensors", "--data", "./pets"),
        "predict": ("t.net", "--weights", "w.safetensors", "pets/dog/1.png"),
    }[verb]
    finished = run(verb, *rest, *options)
    assert finished.code == 2, finished.err
    assert said in finished.err


def test_lists_of_numbers_are_typed_with_commas() -> None:
    assert from_text(OPTIONS["mean"].kind, "0.5,-1,2") == [0.5, -1.0, 2.0]


def test_the_benchmark_of_decoding_prints_rates():
    pytest.importorskip("torch", reason="batches are gathered by PyTorch")
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/decoding.py", "--pictures", "2", "--rounds", "1"],
        check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    decoded, gathered = (line.split()[1] for line in done.stdout.splitlines())
    assert float(decoded.replace(",", "")) > 0
    assert float(gathered.replace(",", "")) > 0
