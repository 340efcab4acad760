"""`netspec eval` of nets whose targets are not one class each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netspec.runtime.models.answers import Answers, _edits
from netspec.runtime.optim.losses import make_loss
from netspec.runtime.optim.targets import transcribed
from tests.conftest import Run, Write

SEVERAL = "net Several() {\n    input x: [6]\n\n    output x -> linear(3)\n}\n"
SPELL = "net Spell() {\n    input x: [7, 4]\n\n    output x -> linear(5)\n}\n"


def arrays(y: Any, x: Any) -> dict[str, Any]:
    return {"x_train": x[:-30], "y_train": y[:-30], "x_test": x[-30:], "y_test": y[-30:]}


def trained(run: Run, write: Write, net: str, loss: str, *options: str) -> Path:
    out = Path("mine")
    done = run(
        "train", "numpy", write(net, "a.net"), "--data", "a.npz", "--loss", loss, "--epochs", 6,
        "--normalize", "none", "--lr", 0.05, "--out", out, *options,
    )  # fmt: skip
    assert done.code == 0, done.err
    return out


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_answers_of_0_and_1(run: Run, write: Write) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((230, 6)).astype("f4")
    y = (x[:, :3] + 0.5 * rng.standard_normal((230, 3)) > 0.3).astype("i8")
    y[-1, 1] = -100
    np.savez("a.npz", **arrays(y, x))
    out = trained(run, write, SEVERAL, "bce")
    found = json.loads(run("eval", out, "--format", "json").out)
    model = _model(out)
    scores, wanted = model.forward(x[-30:]), y[-30:]
    kept = wanted != -100
    taken = scores > 0
    assert found["images"] == 30
    assert found["accuracy"] == pytest.approx(((taken == wanted) & kept).sum() / kept.sum())
    assert found["all right"] == pytest.approx(((taken == wanted) | ~kept).all(1).mean())
    for k, row in enumerate(found["outputs"]):
        of = kept[:, k]
        p, r, f, _ = metrics.precision_recall_fscore_support(
            wanted[of, k], taken[of, k], average="binary"
        )
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((p, r, f))
        assert row["ones"] == (wanted[of, k] == 1).sum()
    assert found["macro F1"] == pytest.approx(np.mean([row["f1"] for row in found["outputs"]]))
    loss = make_loss("bce").value(scores, wanted)
    assert found["loss"] == pytest.approx(loss, rel=1e-5)
    lines = run("eval", out).out.splitlines()
    assert lines[2].startswith("accuracy   ")
    assert [line.split()[0] for line in lines[-3:]] == ["0", "1", "2"]
    assert "--mistakes draws images with one class" in run("eval", out, "--mistakes", "m.png").err


def test_transcripts(run: Run, write: Write) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(1, 5, (230, 2))
    x = rng.standard_normal((230, 7, 4)).astype("f4") * 0.3
    for i, (first, second) in enumerate(y):
        x[i, 1, first - 1] += 2
        x[i, 5, second - 1] += 2
    y[::3, 1] = -100
    np.savez("a.npz", **arrays(y, x))
    out = trained(run, write, SPELL, "ctc")
    found = json.loads(run("eval", out, "--format", "json").out)
    assert found["accuracy"] == pytest.approx(_tested(out))
    best = _model(out).forward(x[-30:]).argmax(2).tolist()
    wanted = [[label for label in target if label != -100] for target in y[-30:].tolist()]
    edits = [_edits(transcribed(b), w) for b, w in zip(best, wanted, strict=True)]
    assert found["label errors"] == pytest.approx(sum(edits) / sum(map(len, wanted)))
    assert "label errors" in run("eval", out).out


def test_the_value_of_a_net_that_is_its_loss(run: Run, write: Write) -> None:
    x = np.ones((60, 6), "f4")
    np.savez("a.npz", **arrays(np.zeros(60, "i8"), x))
    net = "net Loss() {\n    input x: [6]\n\n    output x -> linear(1) -> square\n}\n"
    out = trained(run, write, net, "value")
    found = json.loads(run("eval", out, "--format", "json").out)
    first = pytest.approx(_model(out).forward(x[:1])[0, 0], rel=1e-4)
    assert (found["images"], found["loss"]) == (30, first)
    assert "accuracy" not in found


def test_edits_are_levenshteins() -> None:
    assert _edits([1, 2, 3], [1, 2, 3]) == 0
    assert _edits([], [1, 2]) == 2
    assert _edits([1, 2, 3, 4], [2, 3]) == 2
    assert _edits([1, 3], [1, 2]) == 1


def test_many_outputs_are_not_all_listed() -> None:
    rows = [(1.0, 0.5, float("nan"), 3)] * 60
    text = Answers(5, 0.5, {"accuracy": 0.5}, rows).text()
    assert text.splitlines()[-1] == "and 10 other outputs"
    assert text.splitlines()[-2].split() == ["49", "100.00%", "50.00%", "-", "3"]


def _model(out: Path) -> Any:
    import netspec

    return netspec.load_run(out).model


def _tested(out: Path) -> float:
    from netspec.runtime.runs.metrics import read_metrics

    return float(read_metrics(out)[-1]["test"])
