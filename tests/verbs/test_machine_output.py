"""Output and input of verbs for programs: JSON, CSV, NumPy's numbers, odd weights."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.models.confusions import Confusions
from netspec.runtime.models.evaluation import Evaluation
from netspec.runtime.optim.losses import make_loss
from tests.conftest import Run, Write

NET = "net T(k = 10) { input image: [64]\n output image -> linear(k) }\n"
SHORT = ("--epochs", 1, "--train-limit", 64)


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.net").write_text(NET)
    return Path("t.net")


def test_check_tells_shapes_of_inputs_and_outputs(run: Run, write: Write) -> None:
    path = write("net P() { input a: [3, H, W]\n input b: [4]\n output y = a -> max_pool(2)\n"
                 " output z = b -> linear(7) }\n")  # fmt: skip
    (file,) = json.loads(run("check", path, "--format", "json").out)["files"]
    (found,) = file["nets"]
    assert found["inputs"] == {"a": [3, "H", "W"], "b": [4]}
    assert found["outputs"]["z"] == [7]
    assert found["outputs"]["y"][0] == 3
    assert "H" in found["outputs"]["y"][1]


def test_runs_as_csv_and_json_have_rate_and_seed(run: Run, net) -> None:
    for name, seed in (("a", 1), ("b", 2)):
        assert run("train", net, *SHORT, "--seed", seed, "--lr", 0.01, "--out", name).code == 0
    lines = json.loads(run("runs", "a", "b", "--format", "json").out)
    assert [(line["lr"], line["seed"]) for line in lines] == [(0.01, 1), (0.01, 2)]
    table = [*csv.DictReader(run("runs", "a", "b", "--format", "csv").out.splitlines())]
    assert [(row["run"], row["lr"], row["seed"]) for row in table] == [
        ("a", "0.01", "1"), ("b", "0.01", "2"),
    ]  # fmt: skip
    assert float(table[0]["test"]) == lines[0]["test"]


def test_parts_of_a_run_are_those_that_it_had(run: Run, net) -> None:
    assert run("train", net, *SHORT, "--val", 50, "--out", "a").code == 0
    *_, epoch, result = map(json.loads, Path("a/metrics.jsonl").read_text().splitlines())
    last = {**epoch, **result}
    for part, count in (("val", 50), ("train", 64), ("test", None)):
        found = json.loads(run("eval", "a", "--part", part, "--format", "json").out)
        assert found["accuracy"] == last[part]
        assert count in (None, found["images"])
    assert run("train", net, *SHORT, "--out", "b").code == 0
    assert "--val" in run("eval", "b", "--part", "val").err


def test_a_confusion_matrix_has_whole_names() -> None:
    names = ("golden retriever", "labrador retriever", "cat")
    found = Evaluation(names, 0.5, Confusions.of([[3, 1, 0], [2, 2, 0], [0, 0, 4]]))
    header = found.text().splitlines()[-5]
    assert header.split("  ")[-3:] == list(names) or all(name in header for name in names)
    narrow = found.text(50).splitlines()
    assert max(map(len, narrow)) <= 50
    assert narrow[-1].split() == ["2", "cat", "0", "0", "4"]


def test_pictures_of_a_folder_are_predicted(run: Run, net, tmp_path) -> None:
    image = pytest.importorskip("PIL.Image")
    x, y = np.zeros((60, 1, 8, 8), np.uint8), np.arange(60) % 10
    x[np.arange(60), 0, y % 8] = 200
    np.savez("mine.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    assert run("train", net, *SHORT, "--data", "mine.npz", "--out", "a").code == 0
    Path("photos").mkdir()
    for name in ("b.png", "a.png"):
        image.fromarray(np.zeros((8, 8), np.uint8)).save(Path("photos") / name)
    Path("photos/notes.txt").write_text("no picture")
    finished = run("predict", "a", "photos", "--format", "json")
    names = [line["image"] for line in json.loads(finished.out)]
    assert names == ["photos/a.png", "photos/b.png"]
    Path("empty").mkdir()
    assert "there are no pictures" in run("predict", "a", "empty").err


def test_a_relative_path_of_data_is_found_from_elsewhere(run: Run, net, monkeypatch) -> None:
    digits = netspec.load_data("digits", input_shape=(64,))
    np.savez(
        "mine.npz", x_train=digits.x_train[:80], y_train=digits.y_train[:80],
        x_test=digits.x_test[:20], y_test=digits.y_test[:20],
    )  # fmt: skip
    assert run("train", net, *SHORT, "--data", "mine.npz", "--out", "a").code == 0
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert run("eval", "../a").code == 0
    finished = run("train", "--resume", "../a", "--epochs", 2)
    assert finished.code == 0, finished.err


def test_whole_numbers_of_numpy_are_whole_numbers() -> None:
    net = netspec.loads(NET, k=np.int64(4))
    assert str(net.summary(np.int64(3))) == str(net.summary(3))
    ours, theirs = (net.compile(seed=seed).state_dict() for seed in (7, np.int32(7)))
    assert all((ours[name] == theirs[name]).all() for name in ours)


@pytest.mark.parametrize("target", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [(1j, "complex"), ("1", "not real numbers"), (1e300, "too large for float32")],
)
def test_weights_that_are_no_real_numbers_are_refused(
    target: str, wrong: object, said: str
) -> None:
    if target == "torch":
        pytest.importorskip("torch")
    model = netspec.loads(NET).compile(target)  # type: ignore[call-overload]
    before = model.state_dict()
    name = next(iter(before))
    state = {**before, name: np.full(before[name].shape, wrong)}
    with pytest.raises(netspec.NetspecError, match=rf"(?s)weights/mismatch.*{said}"):
        model.load_state_dict(state)
    assert all((model.state_dict()[n] == array).all() for n, array in before.items())


@pytest.mark.parametrize(
    "layer", ["softmax", "log_softmax", "silu", "sigmoid", "gelu", "tanh", "elu"]
)
def test_no_setting_of_numpy_ends_the_arithmetic(layer: str) -> None:
    text = f"net S() {{ input x: [4]\n output x -> linear(4) -> {layer} -> linear(4) }}\n"
    model, labels = netspec.loads(text).compile(), np.array([1])
    images = np.array(
        [[-1e4, 1e4, 1e-30, -1e-30], [-90, 88, -100, 200], [1e-40, 1e-42, -1e-44, 0]], np.float32
    )
    with np.errstate(all="raise"):
        predictor = model.predictor()
        for x in images[:, None]:
            for _ in range(3):
                strict = model.forward(x)
                model.gradients_(x, labels, loss=make_loss("softmax"), l2=0.1)
                predictor(x)
            with np.errstate(all="ignore"):
                assert np.array_equal(model.forward(x), strict)
        data = netspec.load_data("digits", input_shape=(64,)).limit(64)
        student = netspec.loads(NET).compile()
        netspec.fit(student, data, epochs=30, lr=0.5, l2=0.1, clip_norm=1e-3)
        netspec.fit(netspec.loads(NET).compile(), data, epochs=2, loss="mse", optimizer="rmsprop")


@pytest.mark.parametrize("largest", [0.011, 0.018, 0.03, 0.06, 0.09, 0.2, 0.9, 5.0, 80.0, 1e4, 1e9])
def test_no_tick_labels_of_the_doctors_picture_overlap(largest: float) -> None:
    pytest.importorskip("matplotlib")
    from netspec.runtime.plots.figures import COLORS, figure
    from netspec.tools.doctor.figure import _bars

    made, axes = figure(1, 3, (14, 3.3))
    gradients = dict(zip("abc", np.geomspace(0.01, largest, 3).tolist(), strict=True))
    _bars(axes[0][0], gradients, COLORS[0], "gradient relative to its weight", log=True)
    made.canvas.draw()
    axis = axes[0][0].xaxis
    boxes = [
        label.get_window_extent() for label in axis.get_ticklabels(which="both") if label.get_text()
    ]
    seen = sorted((box.x0, box.x1) for box in boxes)
    assert seen
    assert all(left[1] < right[0] for left, right in itertools.pairwise(seen))
