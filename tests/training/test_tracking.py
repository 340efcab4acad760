"""What MLflow and Weights & Biases are told of a run: the numbers of its metrics, without a network."""

from __future__ import annotations

import json
import signal
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from netspec.diagnostics import NetspecError
from netspec.runtime.runs.metrics import read_metrics
from netspec.runtime.runs.options import OPTIONS
from netspec.runtime.runs.tracking import trackers
from netspec.runtime.runs.tracking.tracker import TRACKED, Lenient, curves, known_as, remember
from tests.conftest import Run, Write
from tests.helpers.killing import NET, SHORT, send, stop_after


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    from netspec.runtime.engine import threads

    monkeypatch.setattr(threads, "limit", lambda count: None)
    monkeypatch.chdir(tmp_path)
    write(NET, "noisy.net")


def train(run: Run, monkeypatch: pytest.MonkeyPatch, tracker: str) -> dict[str, list[Any]]:
    """Train a net that is stopped and goes on; returns the points of its curves."""
    with monkeypatch.context() as patch:
        stop_after(patch, "numpy", 13, send(signal.SIGTERM))
        stopped = run("train", "numpy", "noisy.net", *SHORT, "--track", tracker, "--out", "mine")
        assert stopped.code == 143, stopped.err
    done = run("train", "--resume", "mine")
    assert done.code == 0, done.err
    assert "not told" not in done.err
    found: dict[str, list[Any]] = {}
    for line in read_metrics(Path("mine")):
        for name, value in curves(line).items():
            found.setdefault(name, []).append((line["step"], value))
    return found


@pytest.mark.heavy
def test_mlflow_holds_the_numbers_of_the_metrics(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/store.db")
    wanted = train(run, monkeypatch, "mlflow")
    client = MlflowClient()
    experiment = client.get_experiment_by_name("netspec")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("mine", "FINISHED")
    assert kept.data.params["optimizer"] == "adam"
    assert kept.data.params["batch"] == "32"
    assert {*kept.data.metrics} == {*wanted}
    assert {"loss/steps", "loss/epochs", "accuracy/val", "accuracy/test"} <= {*wanted}
    for name, points in wanted.items():
        held = client.get_metric_history(kept.info.run_id, name)
        assert sorted((point.step, point.value) for point in held) == sorted(points)


@pytest.mark.heavy
def test_weights_and_biases_offline_holds_the_numbers_of_the_metrics(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    wanted = train(run, monkeypatch, "wandb")
    found: dict[str, set[Any]] = {}
    for path in Path("mine/wandb").glob("offline-run-*/run-*.wandb"):
        for point in _history(path):
            for name, value in point.items():
                found.setdefault(name, set()).add((point["step"], value))
    assert {*wanted} <= found.keys()
    for name, points in wanted.items():
        assert found[name] == {*points}
    name = json.loads(Path("mine", TRACKED).read_text())["wandb"]
    assert {p.name for p in Path("mine/wandb").rglob("*.wandb")} == {f"run-{name}.wandb"}


def _history(path: Path) -> list[dict[str, Any]]:
    """Return what was logged to a file of Weights & Biases."""
    from wandb.proto import wandb_internal_pb2

    found = []
    for data in _records(path.read_bytes()):
        record = wandb_internal_pb2.Record.FromString(data)
        if record.WhichOneof("record_type") == "history":
            items = record.history.item
            found.append({i.key or ".".join(i.nested_key): json.loads(i.value_json) for i in items})
    return found


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file in LevelDB's log format, which begins with seven bytes of its own.

    In blocks of 32 KB, each piece has a checksum, its length, and whether it is a whole record, or the
    first, a middle or the last part of one.
    """
    assert content.startswith(b":W&B")
    at, record = 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # too short for a piece
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


class Store:
    """A tracker in memory, which may fail."""

    def __init__(self, *, fails_at: int = -1) -> None:
        self.lines: list[Mapping[str, Any]] = []
        self.end = ""
        self._fails_at = fails_at

    def write(self, line: Mapping[str, Any]) -> None:
        if len(self.lines) == self._fails_at:
            raise ConnectionError("the line is dead")
        self.lines.append(line)

    def flush(self) -> None:
        pass

    def close(self, end: str) -> None:
        self.end = end


def tracked(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    client = trackers.CLIENTS["mlflow"]._replace(
        require=lambda: None, make=lambda folder, choices: store
    )
    monkeypatch.setitem(trackers.CLIENTS, "mlflow", client)


def test_a_tracker_gets_each_line_and_how_the_run_ended(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    tracked(monkeypatch, store)
    assert run("train", "noisy.net", *SHORT, "--track", "mlflow", "--out", "one").code == 0
    assert store.lines == read_metrics(Path("one"))
    assert store.end == "finished"
    store = Store()
    tracked(monkeypatch, store)
    failed = run(
        "train", "noisy.net", *SHORT, "--optimizer", "sgd", "--lr", 1e30, "--track", "mlflow",
        "--out", "two",
    )  # fmt: skip
    assert failed.code == 1
    assert store.end == "failed"


def test_a_tracker_that_fails_does_not_end_a_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(fails_at=2)
    tracked(monkeypatch, store)
    done = run("train", "noisy.net", *SHORT, "--track", "mlflow", "--out", "one")
    assert done.code == 0
    assert done.err.count("warning: MLflow is not told any more: the line is dead") == 1
    assert len(store.lines) == 2
    assert len(read_metrics(Path("one"))) > 2


def test_a_store_that_is_not_there_is_an_error_and_the_run_is_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, choices: Mapping[str, Any]) -> Any:
        raise OSError("no such store\nand more")

    client = trackers.CLIENTS["wandb"]._replace(require=lambda: None, make=refuse)
    monkeypatch.setitem(trackers.CLIENTS, "wandb", client)
    failed = run("train", "noisy.net", *SHORT, "--track", "wandb", "--out", "one")
    assert failed.code == 1
    assert "error[run/track]: Weights & Biases cannot take the run: no such store\n" in failed.err
    tracked(monkeypatch, Store())
    assert run("train", "--resume", "one", "--track", "mlflow").code == 0


def test_the_name_of_a_run_elsewhere_is_kept_and_is_not_trusted(tmp_path: Path) -> None:
    assert known_as(tmp_path, "mlflow") is None
    remember(tmp_path, "mlflow", "abc1")
    remember(tmp_path, "wandb", "def2")
    assert (known_as(tmp_path, "mlflow"), known_as(tmp_path, "wandb")) == ("abc1", "def2")
    for text in ('{"mlflow": "../x"}', '{"mlflow": 3}', "[1]", "{", "[" * 100_000):
        (tmp_path / TRACKED).write_text(text)
        assert known_as(tmp_path, "mlflow") is None


def test_the_names_of_the_option_are_those_of_the_clients() -> None:
    assert OPTIONS["track"].kind.item.words == tuple(trackers.CLIENTS)
    with pytest.raises(NetspecError, match="library/mlflow"):
        _without("mlflow")
    Lenient("it", Store()).close("stopped")


def _without(name: str) -> None:
    import sys
    from unittest import mock

    with mock.patch.dict(sys.modules, {name: None, f"{name}.entities": None}):
        trackers.require_clients([name])
