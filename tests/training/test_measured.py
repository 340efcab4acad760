"""What a training measures beside the accuracy: loss, top-5, macro F1, and each class."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.runtime.models.history import History
from netspec.runtime.optim.class_counts import ClassCounts
from netspec.runtime.optim.losses import SoftmaxCrossEntropy
from netspec.runtime.plots.curves import Curves, curves_of, draw_curves
from netspec.runtime.runs.metrics import NAME, read_metrics
from netspec.runtime.runs.tracking.tracker import curves
from tests.conftest import Run, Write
from tests.helpers.errors import fails
from tests.helpers.killing import NET, SHORT, without_times

SOFT = "net Soft() {\n input x: [6]\n output x -> linear(12) -> relu -> linear(8)\n}\n"
MAP = "net Map() {\n input x: [1, 5, 5]\n output x -> conv(7, 3, pad = same)\n}\n"
YES = "net Yes() {\n input x: [6]\n output x -> linear(5)\n}\n"
YES_MAP = "net YesMap() {\n input x: [1, 5, 5]\n output x -> conv(1, 3, pad = same)\n}\n"
ONE_STEP: dict[str, Any] = {"batch": 32, "lr": 1e-2, "epochs": 1, "progress": False, "val": 40}
Backends = pytest.mark.parametrize("target", ["numpy", "torch"])


def made(kind: str) -> netspec.Dataset:
    rng = np.random.default_rng(0)
    shape = (1, 5, 5) if "map" in kind else (6,)
    x = rng.standard_normal((240, *shape)).astype(np.float32)
    if kind == "map":
        y = rng.integers(0, 6, (240, 5, 5))  # no target is of the last class
        y[rng.random(y.shape) < 0.2] = -100
    elif kind == "yes map":
        y = rng.integers(0, 2, (240, 5, 5))
    elif kind == "yes":
        y = rng.integers(0, 2, (240, 5))
        y[rng.random(y.shape) < 0.2] = -100
    else:
        y = rng.integers(0, 8, 240)
    classes = {"map": 7, "yes": 2, "yes map": 2}.get(kind, 8)
    return netspec.Dataset(kind, x[:200], y[:200], x[200:], y[200:], classes)


def trained(target: str, text: str, kind: str, **options: Any) -> tuple[Any, History]:
    if target == "torch":
        pytest.importorskip("torch")
    model = netspec.loads(text).compile(target, dtype="float64")
    return model, netspec.fit(model, made(kind), **{**ONE_STEP, **options})


def held_out(model: Any, history: History, kind: str) -> tuple[Any, Any]:
    """Return scores (M, K) and labels (M,) of the validation images that count."""
    _, x, y = made(kind).split(40)
    scores = np.asarray(model.forward(history.normalization.apply(x, model.dtype)))
    rows = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])
    labels = y.reshape(-1) if len(rows) == y.size else y
    kept = labels >= 0
    return rows[kept], labels[kept]


LOSSES: dict[str, dict[str, Any]] = {
    "plain": {},
    "smoothed": {"loss_options": {"label_smoothing": 0.1}, "l2": 0.1},
    "weighted": {"loss_options": {"class_weights": [1, 2, 3, 0, 1, 2, 5, 0.5]}},
    "averaged": {"ema": 0.9},
}


@Backends
@pytest.mark.parametrize("case", LOSSES)
def test_the_loss_is_that_of_pytorch_without_l2(target: str, case: str) -> None:
    torch = pytest.importorskip("torch")
    options = LOSSES[case]
    model, history = trained(target, SOFT, "plain", **options)
    scores, labels = held_out(model, history, "plain")
    of = options.get("loss_options", {})
    weight = of.get("class_weights")
    wanted = torch.nn.functional.cross_entropy(
        torch.from_numpy(scores), torch.from_numpy(labels),
        None if weight is None else torch.tensor(weight, dtype=torch.float64),
        label_smoothing=of.get("label_smoothing", 0.0),
    ).item()  # fmt: skip
    assert history.measures["val_loss"] == {1: pytest.approx(wanted, rel=1e-9)}
    assert history.val_loss_history == [history.measure("val_loss", 1)]


@Backends
@pytest.mark.parametrize(("text", "kind"), [(SOFT, "plain"), (MAP, "map")])
def test_each_class_is_counted_as_scikit_learn_does(target: str, text: str, kind: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    model, history = trained(target, text, kind, per_class=True)
    scores, labels = held_out(model, history, kind)
    counts, found = history.class_counts["val"][1], scores.argmax(1)
    every = np.arange(scores.shape[1])
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, found, labels=every, zero_division=np.nan
    )
    for ours, theirs in zip((counts.precision, counts.recall), (precision, recall), strict=True):
        assert np.allclose(ours, theirs, equal_nan=True)
    occurs = counts.occurs()
    assert np.allclose(counts.f1[occurs], np.nan_to_num(f1)[occurs])
    assert [*counts.wanted] == [*support]
    macro = metrics.f1_score(labels, found, average="macro", zero_division=0)
    assert history.measure("val_macro_f1", 1) == pytest.approx(macro)
    top5 = metrics.top_k_accuracy_score(labels, scores, k=5, labels=every)
    assert history.measure("val_top5", 1) == pytest.approx(top5)
    assert history.accuracy("val", 1) == (found == labels).mean()
    assert "train" not in history.class_counts


@Backends
@pytest.mark.parametrize("text", [YES, YES_MAP])
def test_answers_are_counted_question_by_question(target: str, text: str) -> None:
    kind = "yes" if text is YES else "yes map"
    model, history = trained(target, text, kind, loss="bce", per_class=True)
    _, x, y = made(kind).split(40)
    taken = np.asarray(model.forward(history.normalization.apply(x, model.dtype))) > 0
    wanted = y.reshape(taken.shape)
    places = tuple(axis for axis in range(taken.ndim) if axis != 1)
    both = (taken & (wanted == 1)).sum(places)
    sums = (taken & (wanted >= 0)).sum(places) + (wanted == 1).sum(places)
    counts = history.class_counts["val"][1]
    assert np.allclose(counts.f1, 2 * both / sums)
    assert len(counts.f1) == (5 if kind == "yes" else 1)
    assert history.measure("val_macro_f1", 1) == pytest.approx((2 * both / sums).mean())
    assert "val_top5" not in history.measures


@Backends
def test_training_and_evaluation_agree(target: str) -> None:
    model, history = trained(target, SOFT, "plain", per_class=True)
    found = model.evaluate(made("plain"))
    measured = {name: history.measure(f"test_{name}", 1) for name in ("loss", "top5", "macro_f1")}
    assert measured == {
        "loss": pytest.approx(found.loss), "top5": found.top5, "macro_f1": found.macro_f1
    }  # fmt: skip
    assert np.array_equal(history.class_counts["test"][1].f1, found.f1, equal_nan=True)


def test_nothing_that_occurs_has_a_macro_f1_of_zero() -> None:
    nothing = np.zeros(3, np.int64)
    assert ClassCounts(nothing, nothing, nothing).macro_f1 == 0.0


# ---------------------------------------------------------------------------------- what is monitored


@pytest.mark.parametrize("monitor", ["val", "val_loss", "val_macro_f1"])
def test_what_is_monitored_chooses_ends_and_lowers_the_rate(monitor: str) -> None:
    options = {
        "epochs": 40, "lr": 0.1, "monitor": monitor, "keep": "best", "early_stopping": 3,
        "schedule": "plateau", "schedule_options": {"patience": 0, "gamma": 0.9},
    }  # fmt: skip
    _, history = trained("numpy", SOFT, "plain", **options)
    sign = -1 if monitor == "val_loss" else 1
    each = [sign * (history.measure(monitor, epoch) or 0) for epoch in range(1, 41)]
    scores = each[: len(history.epoch_seconds)]
    assert history.scores() == scores
    assert history.kept_epoch == 1 + scores.index(max(scores))
    assert len(scores) == history.kept_epoch + 3 < 40
    falls, best = 0, -np.inf
    for epoch, score in enumerate(scores[:-1], 1):
        falls, best = falls + (score <= best), max(best, score)
        rate = history.learning_rates[epoch * history.steps_in_epoch]
        assert rate == pytest.approx(0.1 * 0.9**falls)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"monitor": "loss"}, "monitor"),
        ({"monitor": "val_loss", "val": 0}, "val is 0"),
        ({"monitor": "val_macro_f1", "loss": "value"}, "of classes"),
        ({"keep": "best", "loss": "value"}, "--monitor val_loss"),
        ({"per_class": True, "loss": "value"}, "of classes"),
    ],
)
def test_what_cannot_be_monitored(options: dict[str, Any], said: str) -> None:
    with fails("train/bad-option", said):
        trained("numpy", SOFT, "plain", **options)


def test_a_target_that_no_steps_can_spell_is_refused_before_the_first_step() -> None:
    text = "net Spoken() {\n input x: [4, 3]\n output x -> linear(3)\n}\n"
    x, y = np.zeros((20, 4, 3), np.float32), np.full((20, 5), -100)
    y[:, 0] = 1
    y[19] = [1, 2, 1, 2, 1]
    data = netspec.Dataset("spoken", x[:16], y[:16], x[16:], y[16:], 3)
    with fails("data/shape", "target 3 of the test part is longer"):
        netspec.fit(netspec.loads(text).compile(), data, loss="ctc", epochs=1)


# ------------------------------------------------------------------------------------------ in a run


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> str:
    from netspec.runtime.engine import threads

    monkeypatch.setattr(threads, "limit", lambda count: None)
    monkeypatch.chdir(tmp_path)
    write(NET, "noisy.net")
    return "noisy.net"


def train(run: Run, net: str, *options: object) -> None:
    done = run("train", "numpy", net, *SHORT, *options)
    assert done.code == 0, done.err


def test_a_run_writes_all_that_is_measured(run: Run, net: str) -> None:
    train(run, net, "--out", "a", "--per-class", "--keep", "last")
    shown = Path("a/log.txt").read_text()
    lines = read_metrics(Path("a"))
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert f"(loss {epochs[0]['val_loss']:.4f})" in shown
    for name in ("loss", "top5", "macro_f1"):
        assert all(f"val_{name}" in line for line in epochs)
    kinds = [(line["kind"], line.get("part")) for line in lines if line["kind"] != "step"]
    assert kinds[:2] == [("epoch", None), ("classes", "val")]
    assert kinds[-2:] == [("result", None), ("classes", "test")]
    told = curves(lines[-1])
    found = json.loads(run("eval", "a", "--format", "json").out)
    assert lines[-1]["classes"] == found["classes"]
    assert {name: found[name] for name in ("top5", "macro_f1")} == {
        name: lines[-2][f"test_{name}"] for name in ("top5", "macro_f1")
    }
    assert told == {
        f"F1/test/{each['name']}": each["f1"] for each in found["classes"] if each["f1"] is not None
    }
    assert {"loss/val", "top-5/val", "macro F1/val"} <= curves(epochs[0]).keys()
    (row,) = json.loads(run("runs", "a", "--format", "json").out)
    assert row["val_loss"] == epochs[-1]["val_loss"]
    assert row["test_macro_f1"] == lines[-2]["test_macro_f1"]
    assert f"{row['val_loss']:.4f}" in run("runs", "a", "--compare").out


@pytest.mark.parametrize("monitor", ["val", "val_loss"])
def test_runs_shows_the_weights_that_were_kept(run: Run, net: str, monitor: str) -> None:
    options = ("--keep", "best", "--monitor", monitor, "--lr", "0.1", "--epochs", 6,
               "--schedule", "constant")  # fmt: skip
    train(run, net, "--out", "a", *options)
    lines = read_metrics(Path("a"))
    epochs = [line for line in lines if line["kind"] == "epoch"]
    sign = -1 if monitor == "val_loss" else 1
    best = max(epochs, key=lambda line: sign * line[monitor])
    assert best is not epochs[-1]
    (row,) = json.loads(run("runs", "a", "--compare", "--format", "json").out)
    for name in ("loss", "train", "val", "val_loss", "val_macro_f1"):
        assert row[name] == best[name] != epochs[-1][name]
    assert (row["best"], row["best_by"]) == (best["epoch"], monitor)
    assert row["seconds"] == lines[-1]["seconds"]
    result = lines[-1]
    assert (result["kind"], result["epoch"], row["test"]) == (
        "result",
        best["epoch"],
        result["test"],
    )


def test_a_run_that_is_resumed_has_the_same_metrics(
    run: Run, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from tests.helpers.killing import send, stop_after

    options = ("--per-class", "--keep", "best", "--monitor", "val_loss")
    train(run, net, "--out", "a", *options)
    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 13, send(signal.SIGTERM))
        assert run("train", "numpy", net, *SHORT, "--out", "b", *options).code == 143
    assert run("train", "--resume", "b").code == 0
    assert without_times(Path("b")) == without_times(Path("a"))
    changed = run("train", "--resume", "b", "--monitor", "val")
    assert changed.code != 0
    assert "monitor" in changed.err


@pytest.mark.parametrize(
    "classes",
    [
        None, {}, [1], [{"name": 1, "support": 1}], [{"name": "a"}],
        [{"name": "a", "support": 1, "f1": "no"}],
        [{"name": "a", "support": -1}],
    ],
)  # fmt: skip
def test_lines_on_classes_that_no_run_writes(tmp_path: Path, classes: object) -> None:
    line = {"kind": "classes", "epoch": 1, "step": 1, "part": "val", "classes": classes}
    (tmp_path / NAME).write_text(json.dumps(line) + "\n")
    with fails("run/damaged", "line 1: "):
        read_metrics(tmp_path)


def test_metrics_of_before_are_read(run: Run, net: str) -> None:
    train(run, net, "--out", "a")
    kept = ("kind", "epoch", "step", "loss", "lr", "train", "val", "test", "seconds")
    old = [
        {k: v for k, v in line.items() if k in (*kept, "images_per_second")}
        for line in read_metrics(Path("a"))
    ]
    Path("a", NAME).write_text("".join(json.dumps(line) + "\n" for line in old))
    (row,) = json.loads(run("runs", "a", "--format", "json").out)
    assert row["val_loss"] is None
    assert row["val"] is not None
    assert "val_loss" not in run("runs", "a").out


# --------------------------------------------------------------------------------- without a gradient


@pytest.mark.parametrize("shape", [(9, 4), (5, 6, 4), (3, 4, 5, 2), (2, 4, 3, 2, 2)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_value_is_the_one_with_a_gradient(shape: tuple[int, ...], smoothing: float) -> None:
    rng = np.random.default_rng(0)
    loss = SoftmaxCrossEntropy(label_smoothing=smoothing)
    scores = 30 * rng.standard_normal(shape)
    places = shape[:-1] if len(shape) < 4 else (shape[0], *shape[2:])
    labels = rng.integers(0, 4, places)
    labels[rng.random(places) < 0.3] = -100
    before = scores.copy()
    wanted = loss.value_and_gradient(scores, labels, np.empty_like(scores))
    assert loss.value(scores, labels) == pytest.approx(wanted, rel=1e-12)
    assert np.array_equal(scores, before)
    assert loss.value(scores, np.full(places, -100)) == 0.0


def test_the_loss_in_validation_is_drawn(run: Run, net: str) -> None:
    train(run, net, "--out", "a")
    lines = [line for line in read_metrics(Path("a")) if line["kind"] == "epoch"]
    drawn = curves_of("a", lines)
    assert drawn.val_losses == [(1, lines[0]["val_loss"]), (2, lines[1]["val_loss"])]
    pytest.importorskip("matplotlib")
    endless = Curves("b", [], [(0.5, 1.0)], {}, [(1, 2.0), (2, sys.float_info.max)])
    draw_curves([drawn, endless], Path("both.svg"))
    assert "val, b" in Path("both.svg").read_text()
