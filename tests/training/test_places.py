"""Losses over the steps of a sequence and the pixels of a map, of answers, and of transcripts."""

from __future__ import annotations

import csv
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.export import standalone_source
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.targets import OF_CLASSES, Transcript, transcribed

SEQUENCE = """
net Next {
    input tokens: [6]
    output tokens -> embedding(5, 16) -> gru(16) -> linear(5)
}
"""
MAP = """
net Map {
    input image: [1, 4, 4]
    output image -> conv(8, 3, pad = 1) -> relu -> conv(3, 1)
}
"""
ANSWERS = "net Answers {\n    input x: [4]\n    output x -> linear(16) -> relu -> linear(3)\n}\n"
SPOKEN = """
net Spoken {
    input sound: [1, 4, 8]
    x = sound -> reshape([4, 8]) -> permute([2, 1])
    output x -> gru(24) -> linear(4)
}
"""

OPTIONS: dict[str, Any] = {"batch": 16, "lr": 1e-2, "epochs": 3, "progress": False}


def sequences(ignored: bool = False) -> netspec.Dataset:
    """Counting modulo 5, and what comes next; some of it left out."""
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 5, (120, 1)) + np.arange(7)) % 5
    y = x[:, 1:].copy()
    if ignored:
        y[rng.random(y.shape) < 0.3] = 255
    return netspec.Dataset(
        "counts", x[:100, :6], y[:100], x[100:, :6], y[100:], 5, ignore_index=255
    )


def maps() -> netspec.Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 1, 4, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 0] > 1)
    y[:, 0] = -100
    return netspec.Dataset("maps", x[:40], y[:40], x[40:], y[40:], 3)


def answers() -> netspec.Dataset:
    x = np.random.default_rng(0).standard_normal((120, 4)).astype(np.float32)
    y = x[:, :3] > 0
    return netspec.Dataset("answers", x[:100], y[:100], x[100:], y[100:], 2)


def spoken() -> netspec.Dataset:
    """Each of 8 steps says its class loudly; 0 is silence."""
    rng = np.random.default_rng(0)
    x, y = np.zeros((80, 1, 4, 8), np.float32), np.full((80, 3), -100)
    for i in range(80):
        said = rng.integers(1, 4, rng.integers(1, 4))
        y[i, : len(said)] = said
        steps = np.zeros(8, int)
        steps[: 2 * len(said) : 2] = said
        x[i, 0, steps, np.arange(8)] = 3
    return netspec.Dataset("spoken", x[:64], y[:64], x[64:], y[64:], 4)


CASES = {
    "sequence": (SEQUENCE, sequences, "softmax"),
    "sequence with ignored steps": (SEQUENCE, lambda: sequences(True), "softmax"),
    "sequence by hinges": (SEQUENCE, lambda: sequences(True), "svm"),
    "map": (MAP, maps, "softmax"),
    "map by squares": (MAP, maps, "mse"),
    "answers": (ANSWERS, answers, "bce"),
    "transcripts": (SPOKEN, spoken, "ctc"),
}


@pytest.mark.parametrize("case", CASES)
def test_both_backends_train_and_measure_alike(case: str) -> None:
    pytest.importorskip("torch")
    text, data, loss = CASES[case]
    found = []
    for target in ("numpy", "torch"):
        model = netspec.loads(text).compile(target, dtype="float64")
        found.append(netspec.fit(model, data(), **OPTIONS, loss=loss, val=8))
    ours, theirs = found
    assert np.allclose(ours.loss_history, theirs.loss_history, rtol=1e-9)
    assert ours.loss_history[-1] < ours.loss_history[0]
    for name in ("train", "val", "test"):
        assert ours.accuracies(name) == pytest.approx(theirs.accuracies(name))
        assert len(ours.accuracies(name)) == (1 if name == "test" else 3)
        assert ours.perplexities[name] == pytest.approx(theirs.perplexities[name])
        assert bool(ours.perplexities[name]) == (case.startswith("seq") and loss == "softmax")
    assert ours.measures.keys() == theirs.measures.keys()
    for name, values in ours.measures.items():
        assert values == pytest.approx(theirs.measures[name]), name
    assert {"val_loss", "test_loss"} <= ours.measures.keys()
    assert ("val_macro_f1" in ours.measures) == (loss != "ctc")


def test_transcripts_are_not_suspected_for_their_blank(caplog: pytest.LogCaptureFixture) -> None:
    model = netspec.loads(SPOKEN).compile(dtype="float64")
    netspec.fit(model, spoken(), **OPTIONS, loss="ctc")
    assert not caplog.messages


def test_chance_for_transcripts_is_the_commonest_whole_sequence() -> None:
    targets = np.array([[1, 2, -100], [1, 2, -100], [1, 2, 3], [2, 1, -100]])
    assert Transcript().judge_commonest(targets) == (2, 4)
    assert OF_CLASSES.judge_commonest(targets) == (4, 9)
    assert OF_CLASSES.judge_commonest(np.full((2, 3), -100)) == (0, 0)


LAYOUTS = {"image": ((6, 5), ()), "sequence": ((4, 7, 5), (7,)), "map": ((3, 5, 4, 2), (4, 2))}


@pytest.mark.parametrize("ignored", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", ["softmax", "svm", "mse", "smooth-l1"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_losses_over_places_are_pytorchs(layout: str, name: str, ignored: float) -> None:
    torch = pytest.importorskip("torch")
    shape, places = LAYOUTS[layout]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    y = rng.integers(0, 5, (shape[0], *places))
    y[rng.random(y.shape) < ignored] = -100
    loss, dx = make_loss(name), np.empty_like(x)
    value = loss.value_and_gradient(x, y, dx)
    given = torch.tensor(x, requires_grad=True)
    theirs = loss.in_torch(given, torch.tensor(y))
    theirs.backward()
    assert value == pytest.approx(theirs.item(), abs=1e-12)
    assert np.allclose(dx, given.grad.numpy(), rtol=0, atol=1e-12)
    if ignored == 1:
        assert value == 0
        assert not dx.any()
    elif name == "softmax":
        scores = given.movedim(-1, 1) if layout == "sequence" else given
        plain = torch.nn.functional.cross_entropy(scores, torch.tensor(y))
        assert value == pytest.approx(plain.item(), abs=1e-12)
    again = x.copy()
    assert loss.value_and_gradient(again, y, again) == value
    assert (again == dx).all()


@pytest.mark.parametrize(
    ("shape", "places"), [((6, 5), (5,)), ((6, 1), ()), ((2, 1, 3, 4), (3, 4))]
)
def test_answers_have_pytorchs_loss(shape: tuple[int, ...], places: tuple[int, ...]) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = 5 * rng.standard_normal(shape)
    y = rng.integers(0, 2, (shape[0], *places))
    dx = np.empty_like(x)
    value = make_loss("bce").value_and_gradient(x, y, dx)
    given = torch.tensor(x, requires_grad=True)
    wanted = torch.tensor(y.reshape(shape), dtype=torch.float64)
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(given, wanted)
    theirs.backward()
    assert value == pytest.approx(theirs.item(), abs=1e-12)
    assert np.allclose(dx, given.grad.numpy(), rtol=0, atol=1e-12)
    far = np.array([[1e4, -1e4]])
    assert make_loss("bce").value(far, np.array([[1, 0]])) == 0


def test_transcripts_have_pytorchs_loss() -> None:
    torch = pytest.importorskip("torch")
    x = 3 * np.random.default_rng(0).standard_normal((5, 9, 4))
    y = np.array([[1, 2, 2, -100], [3] * 4, [1, -100, -100, -100], [-100] * 4, [1, 2, 3, 1]])
    dx = np.empty_like(x)
    value = make_loss("ctc").value_and_gradient(x, y, dx)
    given = torch.tensor(x, requires_grad=True)
    theirs = make_loss("ctc").in_torch(given, torch.tensor(y))
    theirs.backward()
    assert value == pytest.approx(theirs.item(), rel=1e-12)
    assert np.allclose(dx, given.grad.numpy(), rtol=0, atol=1e-12)


def test_a_transcript_longer_than_its_steps_is_refused_with_its_place() -> None:
    x, y = np.zeros((2, 4, 4)), np.array([[1, 2, 3, 2], [1, 1, 2, 3]])
    message = (
        "target 1 of the batch is longer than its steps: 4 labels and 1 blank between equal ones"
        " need 5 steps, and the scores have 4"
    )
    with pytest.raises(NetspecError, match=message):
        make_loss("ctc").value(x, y)
    torch = pytest.importorskip("torch")
    with pytest.raises(NetspecError, match=message):
        make_loss("ctc").in_torch(torch.tensor(x), torch.tensor(y))


def test_a_transcript_is_read_without_blanks_and_repetitions() -> None:
    assert transcribed([0, 1, 1, 0, 1, 2, 2, 0]) == [1, 1, 2]


WRONG = {
    "one label for a sequence": (SEQUENCE, (), "softmax", r"needs labels \(N, 6\)"),
    "too few steps": (SEQUENCE, (5,), "softmax", r"\[6\] for each image"),
    "a sequence for a map": (MAP, (4,), "softmax", r"needs labels \(N, 4, 4\)"),
    "transcripts of a map": (MAP, (4,), "ctc", "CTC needs scores of a sequence"),
    "answers for other questions": (ANSWERS, (4,), "bce", r"needs labels \(N, 3\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_targets_of_another_shape_are_refused_before_training(case: str) -> None:
    text, places, loss, message = WRONG[case]
    net = netspec.loads(text)
    (shape,) = net.graph.inputs.values()
    x, y = np.zeros((8, *shape), np.float32), np.arange(8).reshape(8, *(1 for _ in places)) % 2
    y = np.broadcast_to(y, (8, *places))
    data = netspec.Dataset("wrong", x, y, x[:0], y[:0], 2)
    with pytest.raises(NetspecError, match=message):
        netspec.fit(net.compile(), data, **OPTIONS, loss=loss, normalize="none")


def test_a_sequence_shows_its_perplexity_everywhere(run: Any, tmp_path: Path) -> None:
    (tmp_path / "next.net").write_text(SEQUENCE)
    data = sequences(True)
    y_train, y_test = (np.where(y == -100, 255, y) for y in (data.y_train, data.y_test))
    np.savez(
        tmp_path / "d.npz", x_train=data.x_train, y_train=y_train, x_test=data.x_test, y_test=y_test
    )
    done = run(
        "train", "numpy", tmp_path / "next.net", "--data", tmp_path / "d.npz", "--epochs", 2,
        "--ignore-index", 255, "--out", tmp_path / "run", "--lr", "0.01",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert ", perplexity " in done.out
    lines = [json.loads(s) for s in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    (epoch, *_) = (line for line in lines if line["kind"] == "epoch")
    assert epoch["train_perplexity"] < 5.5
    assert lines[-1]["test_perplexity"] > 1
    shown = run("runs", tmp_path / "run", "--format", "json")
    told = json.loads(shown.out)[0]
    # Whose it is, is said everywhere: no name stands for two numbers.
    assert told["test_perplexity"] == lines[-1]["test_perplexity"]
    assert told["train_perplexity"] == lines[-2]["train_perplexity"]
    assert told["val_perplexity"] is None
    assert "perplexity" not in told
    table = run("runs", tmp_path / "run").out
    assert " test_perplexity " in table
    assert "train_perplexity" not in table
    (row,) = csv.DictReader(run("runs", tmp_path / "run", "--format", "csv").out.splitlines())
    assert float(row["test_perplexity"]) == lines[-1]["test_perplexity"]
    found = json.loads(run("eval", tmp_path / "run", "--format", "json").out)
    assert found["perplexity"] == pytest.approx(lines[-1]["test_perplexity"], rel=1e-6)
    assert found["steps"] == (data.y_test != -100).sum()
    assert found["accuracy"] == pytest.approx(lines[-1]["test"])


def test_a_standalone_file_has_the_loss_of_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = netspec.loads(MAP)
    model = net.compile(dtype="float64")
    (tmp_path / "standalone_map.py").write_text(standalone_source(net.graph))
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("standalone_map").Map(dtype="float64")
    own.parameters.update(model.parameters)
    data = maps()
    x, y = data.x_train.astype(float), data.y_train
    value, gradients = own.loss_and_grads(x, y)
    expected, wanted = model.loss_and_grads(x, y)
    assert value == pytest.approx(expected, rel=1e-12)
    assert all(np.allclose(gradients[n], wanted[n], rtol=0, atol=1e-12) for n in wanted)
