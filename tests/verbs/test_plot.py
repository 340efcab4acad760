"""`netspec plot`: curves of runs, and filters."""

from __future__ import annotations

import csv
import json
import shutil
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.runtime.plots.bands import Band, BandPoint, draw_bands
from netspec.runtime.plots.curves import curves_of, draw_curves
from netspec.runtime.plots.figures import figure, highest_of, marker_of, set_epochs
from netspec.runtime.plots.filters import draw_filters
from tests.conftest import Run
from tests.helpers.errors import fails

METRICS = [
    {"kind": "step", "step": 10, "epoch": 1, "loss": 2.0, "lr": 0.1, "seconds": 1.0},
    {"kind": "epoch", "epoch": 1, "step": 20, "loss": 1.8, "lr": 0.1, "train": 0.3, "val": 0.2,
     "test": 0.25, "seconds": 2.0},
    {"kind": "step", "step": 30, "epoch": 2, "loss": None, "lr": 0.1, "seconds": 3.0},
    {"kind": "epoch", "epoch": 2, "step": 40, "loss": 1.1, "lr": 0.1, "train": 0.6, "val": 0.5,
     "test": 0.45, "seconds": 4.0},
]  # fmt: skip


def weights(**shapes):
    rng = np.random.default_rng(0)
    return {name.replace("__", "."): rng.normal(size=shape) for name, shape in shapes.items()}


# ---------------------------------------------------------------------------------------- curves


def test_steps_are_drawn_where_they_are_in_their_epoch():
    found = curves_of("a", METRICS)
    assert found.steps == [(0.25, 2.0)]  # the middle of ten steps; NaN is left out
    assert found.epochs == [(0.5, 1.8), (1.5, 1.1)]
    assert found.accuracies["val"] == [(1, 0.2), (2, 0.5)]
    assert list(found.accuracies) == ["train", "val", "test"]
    result = {"kind": "result", "epoch": 1, "step": 20, "test": 0.9, "seconds": 5.0}
    lines = [{k: v for k, v in line.items() if k != "test"} for line in METRICS]
    assert curves_of("a", [*lines, result]).accuracies["test"] == [(1, 0.9)]
    alone = curves_of("a", METRICS[:1])
    assert (alone.steps, alone.epochs, alone.accuracies) == ([(5.0, 2.0)], [], {})
    with fails("plot/nothing", "a has nothing to draw"):
        curves_of("a", [])


@pytest.mark.parametrize("name", ["a.png", "a.svg", "a.pdf"])
def test_a_picture_of_runs(tmp_path, name):
    pytest.importorskip("matplotlib")
    runs = [curves_of("first", METRICS), curves_of("second", METRICS[:1])]
    for path in (tmp_path / name, tmp_path / f"again-{name}"):
        draw_curves(runs, path, log=True)
    content = (tmp_path / name).read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[name[2:]])
    assert content == (tmp_path / f"again-{name}").read_bytes()
    draw_curves(runs[1:], tmp_path / name)


def test_the_verb_draws_the_runs_that_it_is_given(run: Run, write, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    net = write("net A { input image: [1, 8, 8]\n output image -> flatten -> linear(10) }", "a.net")
    options = ("--epochs", 2, "--train-limit", 128, "--out", "runs/one", "--quiet")
    trained = run("train", "numpy", net, *options)
    assert trained.code == 0, trained.err
    finished = run("plot", "runs/one", "runs/one", "-o", "both.svg")
    assert (finished.code, finished.out.strip()) == (0, "both.svg")
    assert Path("both.svg").stat().st_size > 5000
    assert run("plot", "runs/one").out.strip() == "curves.png"
    for name, lr, seed in (("two", 0.5, 0), ("three", 0.5, 1)):
        shutil.copytree("runs/one", f"runs/{name}")
        facts = json.loads(Path(f"runs/{name}/run.json").read_text())
        facts["options"] |= {"lr": lr, "seed": seed}
        Path(f"runs/{name}/run.json").write_text(json.dumps(facts))
    metrics = Path("runs/three/metrics.jsonl")
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "epoch"]
    metrics.write_text(
        "".join(json.dumps(x | {"loss": x.get("loss", 0) + 2}) + "\n" for x in lines)
    )
    assert run("plot", "runs", "--what", "loss", "-o", "all.csv").code == 0
    one, other, last, _ = csv.DictReader(Path("all.csv").read_text().splitlines())
    assert (one["epoch"], other["epoch"], one["deviation"], one["runs"]) == ("0.5", "1.5", "", "1")
    assert (last["lr"], last["epoch"], last["runs"]) == ("0.5", "0.5", "2")
    assert float(last["loss"]) == pytest.approx(losses[0] + 1)
    assert float(last["deviation"]) == pytest.approx(2**0.5)
    assert run("plot", "runs", "-o", "all.svg", "--log").code == 0
    picture = Path("all.svg").read_text()
    assert "lr 0.5" in picture
    assert "run one" not in picture
    for name, word in (("loss_history", "training loss"), ("train_acc", "training accuracy")):
        assert run("plot", "runs", "--what", name, "-o", "named.svg", "--force").code == 0
        picture = Path("named.svg").read_text()
        assert word in picture
        assert ("%" in picture.partition("<defs")[2]) == (name == "train_acc")
        # The runs of two seeds have the same accuracies, so that there is no band to explain.
        assert ("lr 0.5 (n = 2)" in picture) == (name == "loss_history")
    assert run("plot", "runs", "--only", "lr=0.5", "--what", "loss", "-o", "some.csv").code == 0
    some = [*csv.DictReader(Path("some.csv").read_text().splitlines())]
    assert [(row["epoch"], row["runs"]) for row in some] == [("0.5", "2"), ("1.5", "2")]
    both = ("--only", "lr=5e-1", "--only", "seed=1")
    assert run("plot", "runs", *both, "--size", "3.5,2.5", "-o", "small.png").code == 0
    assert size_of("small.png") == (525, 375)
    for setting, help in (("lr=2", "there are "), ("xyzzyq=2", "there are "), ("lrr=2", "`lr`?")):
        refused = run("plot", "runs", "--only", setting, "-o", "more.svg")
        assert (refused.code, "error[plot/nothing]" in refused.err) == (1, True), refused
        assert help in refused.err
    for wrong_use in (("--only", "lr"), ("--size", "0,2"), ("--size", "nan,2"), ("--size", "3")):
        assert run("plot", "runs", *wrong_use, "-o", "more.svg").code == 2
    wrong = run("plot", "runs", "--what", "trian", "-o", "more.svg")
    assert (wrong.code, "did you mean `train`?" in wrong.err) == (1, True), wrong


def test_a_folder_that_is_no_run(run: Run, tmp_path):
    finished = run("plot", tmp_path)
    assert finished.code == 2
    assert "there are no runs in" in finished.err


def test_without_matplotlib(run: Run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with fails("library/matplotlib", r"netspec-dsl\[plot\]"):
        draw_curves([curves_of("a", METRICS)], tmp_path / "a.png")


# --------------------------------------------------------------------------------------- filters


def size_of(path) -> tuple[int, int]:
    content = Path(path).read_bytes()
    assert content.startswith(b"\x89PNG")
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


@pytest.mark.parametrize(
    ("shapes", "name"),
    [
        ({"conv1__weight": (6, 1, 5, 5), "conv2__weight": (16, 6, 5, 5)}, "conv1.weight"),
        ({"basic__weight": (16, 16, 3, 3), "stem__weight": (16, 3, 3, 3)}, "stem.weight"),
        ({"a__weight": (8, 1, 3, 3), "z__weight": (8, 3, 3, 3)}, "z.weight"),  # a is depthwise
    ],
)
def test_the_first_filters_are_found(tmp_path, shapes, name):
    about = draw_filters(weights(**shapes), tmp_path / "f.png")
    assert about.startswith(f"{name}: ")
    assert min(size_of(tmp_path / "f.png")) > 96


def test_filters_of_a_layer_that_is_named(tmp_path):
    tensors = weights(conv1__weight=(6, 3, 5, 5), conv2__weight=(4, 6, 5, 5), fc__weight=(3, 9))
    assert "4 filters of 6 x 5 x 5" in draw_filters(tensors, tmp_path / "f.png", "conv2")
    # 24 grey pictures, five in a row, enlarged ten times, with a pixel between them
    assert size_of(tmp_path / "f.png") == (29 * 10, 29 * 10)
    with fails("plot/filters", "`conv2`"):
        draw_filters(tensors, tmp_path / "f.png", "conv3")
    with fails("plot/filters", r"shape \[3, 9\]"):
        draw_filters(tensors, tmp_path / "f.png", "fc")


def test_filters_that_cannot_be_chosen(tmp_path):
    with fails("plot/filters", "several layers"):
        draw_filters(weights(a__weight=(2, 3, 5, 5), b__weight=(2, 3, 5, 5)), tmp_path / "f.png")
    with fails("plot/filters", "have no filters"):
        draw_filters(weights(fc__weight=(2, 3)), tmp_path / "f.png")
    broken = weights(a__weight=(2, 3, 5, 5))
    broken["a.weight"][0] = np.nan
    with fails("plot/filters", "NaN"):
        draw_filters(broken, tmp_path / "f.png")
    with fails("output/unwritable"):
        draw_filters(weights(a__weight=(2, 3, 5, 5)), tmp_path / "none" / "f.png")


def test_the_verb_draws_filters(run: Run, networks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = netspec.load(networks / "lenet.net").compile()
    netspec.save_weights("w.safetensors", model.state_dict())
    finished = run("plot", "--filters", "w.safetensors")
    assert finished.out.strip() == "filters.png: conv1.weight: 6 filters of 1 x 5 x 5"
    assert run("plot", "--filters", "w.safetensors", "-o", "a.svg").code == 2


@pytest.mark.parametrize("arguments", [[], ["run", "--filters", "w"]])
def test_wrong_use(run: Run, arguments):
    finished = run("plot", *arguments)
    assert finished.code == 2
    assert "usage/plot" in finished.err


def test_a_run_that_diverges_leaves_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    runs = [curves_of("sound", METRICS), curves_of("wild", METRICS)]
    wild = replace(runs[1], epochs=[(0.5, 1e11), (1.5, 2e9)])
    draw_curves([runs[0], wild], tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert "wild (leaves the picture)" in text
    assert "1e11" not in text
    assert highest_of([[2.0, 1.0], [1e11, 3.0], [2.5]]) == 2.5
    assert highest_of([[2.0, 1.0], [15.0]]) is None
    assert highest_of([]) is None


def test_a_legend_of_many_lines_stands_beside_the_picture(tmp_path, recwarn):
    pytest.importorskip("matplotlib")
    settings = {"optimizer": "adam", "net": "a" * 40, "widths": [16, 32, 64], "lr": 1e-3}
    points = [BandPoint(1, 2.0, None, 1), BandPoint(2, 1.0, None, 1)]
    bands = [Band({**settings, "seed": i}, points) for i in range(25)]
    draw_bands("val_loss", bands, tmp_path / "many.png")
    draw_bands("val_loss", bands[:2], tmp_path / "two.png")
    assert not [w for w in recwarn if "layout" in str(w.message)]
    many, two = (
        struct.unpack(">II", (tmp_path / name).read_bytes()[16:24])
        for name in ("many.png", "two.png")
    )
    assert many[0] == two[0] > 6 * 150  # both have names that are broader than a picture
    assert many[1] > two[1] >= 4 * 150


def test_a_legend_covers_no_curve(tmp_path):
    pytest.importorskip("matplotlib")

    def width_of(*points: BandPoint) -> int:
        bands = [Band({"lr": i}, points) for i in range(2)]
        draw_bands("val_loss", bands, tmp_path / "a.png")
        return size_of(tmp_path / "a.png")[0]

    narrow = width_of(*(BandPoint(i, 1.0 / i, None, 1) for i in range(1, 9)))
    assert narrow == 900
    # A band that fills the picture leaves no place that is free.
    assert width_of(BandPoint(1, 1.0, 0.9, 2), BandPoint(2, 1.0, 0.9, 2)) > narrow
    with fails("usage/picture", "no room for the curves"):
        bands = [Band({"lr": i}, [BandPoint(1, 1.0, 1, 2)]) for i in range(25)]
        draw_bands("val_loss", bands, tmp_path / "a.png", size=(3.0, 3.0))


@pytest.mark.parametrize(
    ("epochs", "limits"),
    [([1, 2, 3], (0.9, 3.1)), ([1], (0.5, 1.5)), ([0.5, 1.5], (0, 1.55)), ([0.5], (0, 1))],
)
def test_epochs_are_whole_and_their_axis_begins_where_something_is(epochs, limits):
    pytest.importorskip("matplotlib")
    made, axes = figure(1, 1, (6, 4))
    axes[0][0].plot(epochs, epochs)
    set_epochs(axes[0][0], epochs)
    made.draw_without_rendering()
    assert axes[0][0].get_xlim() == pytest.approx(limits)
    shown = [t for t in axes[0][0].get_xticks() if limits[0] <= t <= limits[1]]
    assert shown == [*range(round(limits[0] + 0.4), int(limits[1]) + 1)]


def test_few_points_are_marked():
    assert marker_of("o", range(12))["marker"] == "o"
    assert marker_of("o", range(13))["marker"] == ""


def test_a_legend_says_how_many_runs_each_curve_is_the_mean_of(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")

    def band(name: str, *runs: int) -> Band:
        points = [BandPoint(i, 0.5, 0.1 if n > 1 else None, n) for i, n in enumerate(runs, 1)]
        return Band({"heads": name}, points)

    draw_bands("val", [band("a", 2, 2), band("b", 1, 1), band("c", 3, 2)], tmp_path / "a.svg")
    picture = (tmp_path / "a.svg").read_text("utf-8")
    for said in ("heads a (n = 2)", "heads b (n = 1)", "heads c (n = 2 to 3)"):
        assert said in picture
    assert "standard deviation, n" not in picture

    draw_bands("val", [band("a", 1, 1), band("b", 2, 2)][:1], tmp_path / "b.svg")
    assert "n = 1" not in (tmp_path / "b.svg").read_text("utf-8")
