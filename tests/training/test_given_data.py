"""Data of other libraries: PyTorch's data sets and loaders, Hugging Face's, iterables, code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.data.given_data import dataset_of
from netspec.runtime.data.lazy_samples import LazySamples
from tests.helpers.errors import fails

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 1, 8, 8)).astype(np.float32)
Y = np.arange(30) % 3
NET = """\
net Small(classes = 3) {
    input image: [1, 8, 8]

    output image -> flatten -> linear(classes)
}
"""
EXPECTED = netspec.Dataset("arrays", X, Y, X[:0], Y[:0], 3)


class Columns:
    """A data set as Hugging Face's are: rows of columns, and whole columns by their names."""

    column_names = ("image", "label")

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, key: int | str) -> object:
        if key == "label":
            return Y.tolist()
        return {"image": X[key], "label": int(Y[key])}  # type: ignore[index]


class Pairs:
    """A data set as PyTorch's are."""

    classes = ("a", "b", "c")

    def __init__(self, count: int = 30) -> None:
        self.asked = 0
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[object, int]:
        self.asked += 1
        return X[number], int(Y[number])


def fitted(data: object, **options: object) -> list[float]:
    model = netspec.loads(NET).compile()
    known = {"epochs": 2, "batch": 8, **options}
    return netspec.fit(model, data, **known).loss_history  # type: ignore[arg-type]


def batches() -> object:
    for start in range(0, 30, 7):
        yield X[start : start + 7], Y[start : start + 7]


@pytest.mark.parametrize(
    "make", [Columns, Pairs, batches, lambda: [*zip(X, Y, strict=True)],
             lambda: iter([*zip(X, Y, strict=True)])]
)  # fmt: skip
def test_a_run_on_other_data_is_that_on_arrays(make):
    assert fitted(make()) == fitted(EXPECTED)


def test_samples_are_made_when_they_are_asked_for():
    pairs = Pairs()
    data = dataset_of({"train": Columns(), "test": pairs}, "both")
    assert isinstance(data.x_train, LazySamples)
    before = pairs.asked
    assert np.array_equal(data.x_test[np.array([4, 2])], X[[4, 2]])
    assert pairs.asked == before + 2
    assert data.y_test.tolist() == Y.tolist()
    assert dataset_of(pairs, "pairs").class_names == ("a", "b", "c")


def test_loaders_of_pytorch(monkeypatch):
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, Subset, TensorDataset

    tensors = TensorDataset(torch.tensor(X), torch.tensor(Y))
    assert fitted(DataLoader(tensors, batch_size=8), batch=None) == fitted(EXPECTED)
    assert fitted(tensors) == fitted(EXPECTED)
    some = Subset(tensors, [*range(20)])
    limited = netspec.Dataset("some", X[:20], Y[:20], X[:0], Y[:0], 3)
    assert fitted(some) == fitted(limited)
    with fails("train/bad-option", "collates its batches in its own way"):
        fitted(DataLoader(tensors, batch_size=8, collate_fn=len))
    model = netspec.loads(NET).compile("torch")
    loader = DataLoader(Pairs(), batch_size=8, num_workers=1)
    history = netspec.fit(model, loader, epochs=2)
    assert history.loss_history == pytest.approx(fitted(EXPECTED), abs=1e-5)


def test_pictures_of_pillow_are_brought_to_the_nets_input():
    image_module = pytest.importorskip("PIL.Image")
    given = [(image_module.new("RGB", (20, 12 + i), (200, 0, 0)), i % 2) for i in range(4)]
    data = dataset_of(given, "pictures", (1, 8, 8), resize=10)
    assert data.x_train[:].shape == (4, 1, 8, 8)
    with fails("data/shape", "20 x 12 pixels, 8 x 8 are wanted"):
        dataset_of(given, "pictures", (1, 8, 8))
    arrays = [(X[0], 0), (X[1][:, :4], 1)]
    with fails("data/shape", r"sample 1 is \[1, 4, 8\], the first one \[1, 8, 8\]"):
        dataset_of(arrays, "arrays").x_train[:]
    with fails("data/shape", "20 x 13 pixels, 20 x 12 are wanted"):
        dataset_of(given, "pictures").x_train[:]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (3, "is a int: no data set"),
        ([], "no sample in it"),
        ([{"text": 1, "label": 2}], "the columns are text, label"),
        ([(X[0], 0.5)], "the label of sample 0 is float64"),
        ([X[0, 0, 0, 0]], "a sample comes with its label"),
    ],
)
def test_what_is_no_data_is_refused(given, said):
    with fails("data/shape", said):
        dataset_of(given, "it")


CODE = """
import numpy as np

def make():
    rng = np.random.default_rng(0)
    return [(rng.normal(size=(1, 8, 8)).astype(np.float32), i % 3) for i in range(30)]

def both():
    return make(), make()[:6]

def broken():
    raise OSError("no disk")
"""


def test_code_is_run_only_if_it_is_named(tmp_path: Path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("made_samples.py").write_text(CODE)
    Path("small.net").write_text(NET)
    assert (
        run("train", "small.net", "--data", "made_samples:both", "--epochs", "1", "--out", "a").code
        == 0
    )
    assert run("eval", "a", "--data", "made_samples.py:both").code == 0
    for words in (("eval", "a"), ("train", "--resume", "a", "--epochs", "2")):
        done = run(*words)
        assert done.code != 0
        assert "which runs only if it is named" in done.err
    again = run("train", "--resume", "a", "--epochs", "2", "--data", "made_samples:both")
    assert again.code == 0, again.err
    Path("small.toml").write_text('data = "made_samples:make"\n')
    done = run("train", "small.net", "--out", "none")
    assert "which runs only if it is named" in done.err
    with fails("train/bad-option", "which runs only if it is named"):
        netspec.load_data("made_samples:make")
    assert len(netspec.load_data("made_samples:make", code=True).x_train) == 30
    with fails("data/missing-file", "made_samples:broken gives no data: OSError: no disk"):
        netspec.load_data("made_samples:broken", code=True)
    with fails("data/missing-file", "gives no data: ModuleNotFoundError"):
        netspec.load_data("no_such_module:make", code=True)


# --------------------------------------------------------------------- Hugging Face's own data sets

PICTURES = RNG.integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
OF_PICTURES = """\
net Coloured(classes = 3) {
    input image: [3, 16, 16]

    output image -> flatten -> linear(classes)
}
"""
HUGGING_FACE = """
import datasets
import numpy as np
from PIL import Image

def whole():
    pixels = np.load("pixels.npy")
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["ant", "bee", "cat"])
    )
    rows = {"image": [*map(Image.fromarray, pixels)], "label": [i % 3 for i in range(len(pixels))]}
    return datasets.Dataset.from_dict(rows, features=features)

def parts():
    made = whole()
    return datasets.DatasetDict(train=made.select(range(18)), test=made.select(range(18, 24)))

def streams():
    return datasets.IterableDatasetDict(
        {name: part.to_iterable_dataset(num_shards=2) for name, part in parts().items()}
    )

def batches():
    return {name: part.with_format("numpy").iter(4) for name, part in arrays().items()}

def arrays():
    image = datasets.Array3D((3, 16, 16), "uint8")
    features = datasets.Features(image=image, label=datasets.Value("int64"))
    return datasets.DatasetDict({
        name: datasets.Dataset.from_dict(
            {"image": [np.asarray(x).transpose(2, 0, 1) for x in part["image"]],
             "label": part["label"]},
            features=features,
        ).with_format("numpy")
        for name, part in parts().items()
    })
"""


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("PIL")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("sys.path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "hugging", raising=False)
    np.save("pixels.npy", PICTURES)
    Path("hugging.py").write_text(HUGGING_FACE)
    Path("coloured.net").write_text(OF_PICTURES)


def coloured() -> netspec.Dataset:
    x, y = PICTURES.transpose(0, 3, 1, 2).copy(), np.arange(24) % 3
    return netspec.Dataset("arrays", x[:18], y[:18], x[18:], y[18:], 3)


@pytest.mark.usefixtures("hugging_face")
@pytest.mark.parametrize("kind", ["parts", "streams", "arrays", "batches"])
def test_hugging_faces_data_sets_train_as_their_arrays(kind: str) -> None:
    import importlib

    options = {"epochs": 2, "batch": 5, "progress": False}
    net = netspec.loads(OF_PICTURES)
    wanted = netspec.fit(net.compile(), coloured(), **options)
    given = getattr(importlib.import_module("hugging"), kind)()
    found = netspec.fit(net.compile(), given, **options)
    assert found.loss_history == wanted.loss_history
    assert found.test_acc_history == wanted.test_acc_history
    has_names = "class_names" in found.about_data
    assert has_names == (kind in ("parts", "streams"))


@pytest.mark.usefixtures("hugging_face")
@pytest.mark.parametrize(
    ("kind", "target", "workers"),
    [
        ("parts", "numpy", 0),
        ("streams", "numpy", 0),
        ("parts", "torch", 2),
        ("streams", "torch", 1),
    ],
)
def test_hugging_faces_data_sets_on_the_command_line(run, kind, target, workers) -> None:
    if target == "torch":
        pytest.importorskip("torch")
    options = ["--workers", workers, "--device", "cpu"] if target == "torch" else []
    done = run("train", target, "coloured.net", "--data", f"hugging.py:{kind}", "--epochs", 2,
               "--batch", 5, "--val", "0.2", "--out", "run", "--threads", 1, *options)  # fmt: skip
    assert done.code == 0, done.err
    found = run("eval", "run", "--data", f"hugging.py:{kind}", "--format", "json")
    assert found.code == 0, found.err
    assert [each["name"] for each in json.loads(found.out)["classes"]] == ["ant", "bee", "cat"]
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert json.loads(found.out)["accuracy"] == pytest.approx(lines[-1]["test"])
