"""`benchmarks/gpu.py` at a tiny size on the CPU, so that on a GPU only the device is new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.packed_cifar import pack, unpack
from tests.conftest import ROOT

pytest.importorskip("torchvision")


def run_benchmark(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", *map(str, arguments)], cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (140, 3, 32, 32), dtype=np.uint8)
    y = (np.arange(140) % 10).astype(np.uint8)
    folder = tmp_path / "packed"
    pack({"x_train": x[:100], "y_train": y[:100], "x_test": x[100:], "y_test": y[100:]}, folder)
    return folder


@pytest.mark.parametrize("shape", [(1, 3, 4, 6), (10, 3, 32, 32), (37, 3, 5, 2)])
def test_packing_loses_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    given = {}
    for part in ("train", "test"):
        given[f"x_{part}"] = rng.integers(0, 256, shape, dtype=np.uint8)
        given[f"y_{part}"] = rng.integers(0, 256, shape[0], dtype=np.uint8)
    paths = pack(given, tmp_path)
    assert {path.name for path in paths} == {path.name for path in tmp_path.iterdir()}
    found = unpack(tmp_path)
    assert all(np.array_equal(found[name], given[name]) for name in given)


def test_large_sets_are_packed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.packed_cifar.PICTURES", 4)
    x = np.arange(11 * 12, dtype=np.uint8).reshape(11, 3, 2, 2)
    y = np.arange(11, dtype=np.uint8)
    paths = pack({"x_train": x, "y_train": y, "x_test": x, "y_test": y}, tmp_path)
    assert len(paths) == 6
    assert np.array_equal(unpack(tmp_path)["x_train"], x)


TINY = ("--device", "cpu", "--no-compile")


@pytest.mark.heavy
def test_every_row_of_the_benchmark_runs(tmp_path: Path, packed: Path) -> None:
    out = tmp_path / "out"
    tiny = (*TINY, "--nets", "resnet20", "--batch", 8, "--seconds", 0.05, "--workers", 1)
    table = run_benchmark(*tiny, "--sections", "tests", "rows", "--packed", packed, "--out", out)
    found = json.loads((out / "gpu.json").read_text())
    assert [row["note"] for row in found["rows"]] == [""] * 6
    assert all(row["images_per_second"] > 0 for row in found["rows"])
    # Tests that are marked for a GPU run on one, and are skipped elsewhere.
    assert found["tests"]["failed"] == []
    assert found["tests"]["passed"] + found["tests"]["skipped"] >= 10
    assert "| resnet20 | netspec, channels last |" in table
    assert "| resnet20 | plain, all switches |" in table
    assert (out / "gpu.md").read_text() in table


def airbench(packed: Path, out: Path, *more: object) -> dict[str, Any]:
    tiny = (*TINY, "--sections", "airbench", "--seeds", 1, "--epochs", 1, "--airbench-batch", 50)
    narrow = ("--widths", 4, 4, 4, "--packed", packed, "--out", out)
    table = run_benchmark(*tiny, *narrow, *more)
    found: dict[str, Any] = json.loads((out / "gpu.json").read_text())
    assert (out / "gpu.md").read_text() in table
    return {**found, "table": table}


@pytest.mark.heavy
def test_airbench_is_timed_with_a_plain_version_in_turn(tmp_path: Path, packed: Path) -> None:
    found = airbench(packed, tmp_path / "out")
    assert [(run["who"], run["round"]) for run in found["airbench"]] == [
        ("netspec", 1), ("peer", 1), ("netspec", 2), ("peer", 2),
    ]  # fmt: skip
    assert all(run["seconds"] > 0 and 0 <= run["accuracy"] <= 1 for run in found["airbench"])
    assert "by plain_airbench.py" in found["table"]
    assert "of the peer's." in found["table"]


PEER = """
import torch

held = torch.load("cifar10/train.pt")
assert held["images"].shape[1:] == (32, 32, 3) and len(held["labels"]) == 100
line = "|  {:>6}  |  {:>6}  |  {:>10}  |  {:>8}  |  {:>12}  |  {:>12}  |"
for run in range(200):
    print(line.format(run, 7, "0.5", "0.4", "", "1.0"))
    print(line.format("", "eval", "", "", "0.5", f"{1 + run}.25"))
"""


@pytest.mark.heavy
def test_an_original_is_run_as_it_is(tmp_path: Path, packed: Path) -> None:
    """It finds its data where it looks for them, its first run warms up, and it is ended in time."""
    (tmp_path / "peer.py").write_text(PEER)
    more = ("--peer", tmp_path / "peer.py", "--seeds", 2, "--rounds", 1)
    found = airbench(packed, tmp_path / "out", *more)
    runs = [(run["seconds"], run["accuracy"]) for run in found["airbench"] if run["who"] == "peer"]
    assert runs == [(2.25, 0.5), (3.25, 0.5)]
    assert "by peer.py" in found["table"]


@pytest.mark.heavy
def test_an_original_that_fails_is_said_to(tmp_path: Path, packed: Path) -> None:
    (tmp_path / "peer.py").write_text("raise SystemExit('no GPU here')")
    found = airbench(packed, tmp_path / "out", "--peer", tmp_path / "peer.py", "--rounds", 1)
    assert found["airbench"][-1]["note"] == "failed: no GPU here"


def test_what_there_is_no_time_for_is_said(tmp_path: Path, packed: Path) -> None:
    options = ("--device", "cpu", "--packed", packed, "--out", tmp_path, "--budget", 1)
    table = run_benchmark(*options, "--sections", "rows", "airbench")
    assert table.count("skipped: the time was up") == 9 + 2 * 5 + 2
