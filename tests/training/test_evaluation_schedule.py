"""How often accuracies are measured: every N epochs, and the test images once, at the end."""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.models.evaluation import evaluate
from netspec.runtime.models.history import History
from netspec.runtime.models.measured import Measured
from netspec.runtime.runs.metrics import NAME, read_metrics
from netspec.runtime.training.loop import ENOUGH_STEPS
from tests.conftest import Run
from tests.helpers.killing import send, without_times

TARGETS = ["numpy", "torch"]
TEXT = "net T() { input x: [64]\n output x -> linear(10) }"


@pytest.fixture(scope="module")
def digits() -> netspec.Dataset:
    return netspec.load_data("digits", input_shape=(64,))


def model_of(target: str) -> Any:
    return netspec.loads(TEXT).compile(target)  # type: ignore[call-overload]


def count_measurements(model: Any, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often a model's accuracies are measured, by the images that they are of."""
    count: Counter[str] = Counter()
    training = type(model).training

    @contextmanager
    def counted(self: Any, job: Any) -> Any:
        with training(self, job) as backend:
            measure = backend.measure
            backend.measure = lambda name, stop: count.update([name]) or measure(name, stop)
            yield backend

    monkeypatch.setattr(type(model), "training", counted)
    return count


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    ("eval_every", "test_every", "trained", "tested"),
    [
        (1, 0, [1, 2, 3, 4, 5], [5]),
        (2, 0, [2, 4, 5], [5]),
        (0, 0, [5], [5]),
        (9, 2, [5], [2, 4, 5]),
        (5, 1, [5], [1, 2, 3, 4, 5]),
        (0, 5, [5], [5]),
    ],
)
def test_accuracies_are_measured_when_asked_for(
    digits, target, eval_every, test_every, trained, tested, monkeypatch
) -> None:
    model = model_of(target)
    count = count_measurements(model, monkeypatch)
    history = netspec.fit(
        model, digits, epochs=5, train_limit=64, val=32, eval_every=eval_every,
        test_every=test_every,
    )  # fmt: skip
    assert history.measured_epochs == {"train": trained, "val": trained, "test": tested}
    for name, epochs in history.measured_epochs.items():
        assert len(history.accuracies(name)) == len(epochs) == count[name]
    assert history.accuracy("val", 5) == history.val_acc_history[-1]
    assert history.accuracy("test", 5) == history.test_acc_history[-1]
    assert history.accuracy("train", 6) is None
    assert len(history.measuring_seconds) == len(history.epoch_seconds) == 5


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("test_every", [0, 2])
def test_the_test_accuracy_is_that_of_the_weights_that_are_kept(digits, target, test_every) -> None:
    model = model_of(target)
    history = netspec.fit(
        model, digits, epochs=5, train_limit=64, val=64, lr=0.5, schedule="constant",
        keep="best", eval_every=2, test_every=test_every,
    )  # fmt: skip
    assert history.kept_epoch == max(history.measured_epochs["val"], key=history.rank)
    found = evaluate(model, digits.x_test, digits.y_test, history.normalization, digits.class_names)
    assert history.accuracy("test", history.kept_epoch) == pytest.approx(found.accuracy)
    after = {0: [], 2: [2, 4]}[test_every]
    assert history.measured_epochs["test"][: len(after)] == after
    assert set(history.measured_epochs["test"]) == {*after, history.kept_epoch}


def test_an_epoch_that_was_not_measured_cannot_be_the_best(digits) -> None:
    model = model_of("numpy")
    history = netspec.fit(
        model, digits, epochs=4, train_limit=64, val=64, keep="best", eval_every=3
    )
    assert history.measured_epochs["val"] == [3, 4]
    assert history.kept_epoch in (3, 4)


@pytest.mark.parametrize("name", ["eval_every", "test_every"])
@pytest.mark.parametrize("value", [-1, 1.5, True, None])
def test_odd_numbers_of_epochs_are_refused(digits, name: str, value: object) -> None:
    with pytest.raises(NetspecError, match=f"{name} must be a whole number from 0"):
        netspec.fit(model_of("numpy"), digits, **{name: value})  # type: ignore[arg-type]


def test_a_warning_of_chance_comes_with_the_first_accuracy_after_enough_steps(
    digits, capsys
) -> None:
    steps = -(-64 // 8)
    epochs = -(-ENOUGH_STEPS // steps) + 3
    for every, at in ((1, epochs - 3), (epochs - 1, epochs - 1)):
        netspec.fit(
            model_of("numpy"), digits, epochs=epochs, batch=8, train_limit=64, lr=1e-12,
            optimizer="sgd", eval_every=every, progress=True,
        )  # fmt: skip
        (warning,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("warning")]
        assert f"after epoch {at} " in warning


# ------------------------------------------------------------------------------------ what is kept


def test_states_of_runs_from_before_had_an_accuracy_for_each_epoch() -> None:
    history = History(None, epoch_seconds=[1.0, 1.0], measuring_seconds=[1.0, 1.0])  # type: ignore[arg-type]
    history.images_per_second += [1.0, 1.0]
    history.measured("val", 2, Measured(0.5, 0.7))
    arrays, facts = history.state()
    again = History(None)  # type: ignore[arg-type]
    again.load_state(arrays, json.loads(json.dumps(facts)))
    assert again == history
    before = {k: value for k, value in facts.items() if k not in ("measured_epochs", "measures")}
    again.load_state(arrays, {**before, "val_acc_history": [0.1, 0.2]})
    assert again.accuracy("val", 2) == 0.2
    del before["measuring_seconds"]
    again.load_state(arrays, before)
    assert again.seconds == 2.0


@pytest.mark.parametrize(
    "epochs", [[], [1, 2], [0], [3], [True], ["1"], None, 1, {}, [[1]], [1.0], [-1]]
)
def test_epochs_that_no_run_measured_are_damage(epochs: object) -> None:
    history = History(None, epoch_seconds=[1.0, 1.0], measuring_seconds=[1.0, 1.0])  # type: ignore[arg-type]
    history.measured("val", 2, Measured(0.5, 0.7))
    arrays, facts = history.state()
    named = {"train": [], "test": [], "val": epochs}
    with pytest.raises((TypeError, ValueError)):
        history.load_state(arrays, {**facts, "measured_epochs": named})
    with pytest.raises((TypeError, ValueError)):
        history.load_state(arrays, {**facts, "kept_epoch": 3})


# ------------------------------------------------------------------------------------ command line

SHORT = ("--epochs", 3, "--train-limit", 64, "--val", 32)


@pytest.fixture
def net(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("t.net").write_text(TEXT)
    return Path("t.net")


def test_a_recipe_says_how_often(run: Run, net) -> None:
    Path("t.toml").write_text("eval-every = 2\ntest-every = 3\n")
    finished = run("train", net, *SHORT, "--out", "a")
    assert finished.code == 0, finished.err
    epochs = [line for line in read_metrics(Path("a")) if line["kind"] == "epoch"]
    assert [("val" in line, "test" in line) for line in epochs] == [
        (False, False), (True, False), (True, True),
    ]  # fmt: skip
    assert read_metrics(Path("a"))[-1]["kind"] == "epoch"
    assert "accuracies every 2 epochs" in finished.err
    assert "eval-every = 2\n" in Path("a/recipe.toml").read_text()
    Path("t.toml").write_text("eval-every = -1\n")
    assert "a whole number" in run("train", net, "--out", "b").err


def test_a_run_that_is_stopped_while_its_result_is_measured_goes_on(
    run: Run, net, monkeypatch
) -> None:
    from netspec.runtime.models.numpy_steps import NumpyBackend

    assert run("train", net, *SHORT, "--keep", "best", "--out", "whole").code == 0
    measure = NumpyBackend.measure

    def stopping(self: Any, name: str, stop: Any) -> float:
        if name == "test":
            send(signal.SIGTERM)()
        return measure(self, name, stop)

    with monkeypatch.context() as patch:
        patch.setattr(NumpyBackend, "measure", stopping)
        finished = run("train", net, *SHORT, "--keep", "best", "--out", "a")
    assert finished.code == 143
    assert "train --resume a" in finished.err
    assert read_metrics(Path("a"))[-1]["kind"] == "epoch"
    assert run("train", "--resume", "a").code == 0
    assert without_times(Path("a")) == without_times(Path("whole"))
    weights = [Path(name, "weights.safetensors").read_bytes() for name in ("a", "whole")]
    assert weights[0] == weights[1]


def test_without_test_images_the_result_is_the_training_accuracy(run: Run, net) -> None:
    x = np.random.default_rng(0).integers(0, 255, (40, 64), np.uint8)
    Path("d").mkdir()
    np.save("d/x_train.npy", x)
    np.save("d/y_train.npy", np.arange(40) % 10)
    finished = run("train", net, "--data", "./d", "--epochs", 2, "--eval-every", 0, "--out", "a")
    assert finished.out.startswith("train accuracy "), finished.err
    # A run that is already longer than it is now asked to be still has a result.
    run("train", net, "--data", "./d", "--epochs", 5, "--eval-every", 4, "--out", "b")
    lines = Path("b/metrics.jsonl").read_text().splitlines()
    assert "train" in json.loads(lines[-1])
    shorter = run("train", "--resume", "b", "--epochs", 2)
    assert (shorter.code, shorter.out.startswith("train accuracy ")) == (0, True)


def line(epoch: int, **accuracies: float) -> dict[str, Any]:
    return {
        "kind": "epoch", "epoch": epoch, "step": epoch, "loss": 1.0, "lr": 0.1, "seconds": 1.0 * epoch,
        "images_per_second": 1.0, **accuracies,
    }  # fmt: skip


RESULT = {"kind": "result", "epoch": 2, "step": 2, "test": 0.25, "seconds": 9.0}


@pytest.mark.parametrize(
    ("lines", "best", "by", "test", "val"),
    [
        ([line(1, val=0.5), line(2), line(3, val=0.4), line(4)], 1, "val", None, 0.4),
        ([line(1, test=0.5), line(2, test=0.7), line(3, test=0.6)], 2, "test", 0.6, None),
        ([line(1, train=0.5), line(2, train=0.6, test=0.1), line(3, train=0.4)], 2, "train", 0.1, None),
        ([line(1, train=0.5), line(2, train=0.6), RESULT], 2, "train", 0.25, None),
        ([line(1), line(2)], None, None, None, None),
        ([], None, None, None, None),
    ],
)  # fmt: skip
def test_runs_knows_what_was_measured_and_when(run: Run, net, lines, best, by, test, val) -> None:
    assert run("train", net, *SHORT, "--out", "a").code == 0
    Path("a", NAME).write_text("".join(json.dumps(entry) + "\n" for entry in lines))
    (row,) = json.loads(run("runs", "a", "--format", "json").out)
    assert (row["best"], row["best_by"], row["test"], row["val"]) == (best, by, test, val)
    assert row["seconds"] == (lines[-1]["seconds"] if lines else None)
    table = run("runs", "a").out
    assert (f" {best} ({by})" in table) == (best is not None)
