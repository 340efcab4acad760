"""`benchmarks/gpu.py` at a tiny size on the CPU, so that on a GPU only the device is new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

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
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    path = tmp_path / "images.npz"
    x = rng.integers(0, 256, (24, 3, 32, 32), dtype=np.uint8)
    np.savez(path, x_train=x[:16], y_train=np.arange(16) % 10, x_test=x[16:], y_test=np.arange(8))
    return path


@pytest.mark.heavy
def test_every_row_of_the_benchmark_runs(tmp_path: Path, images: Path) -> None:
    out = tmp_path / "out"
    tiny = ("--device", "cpu", "--nets", "resnet20", "--batch", 8, "--seconds", 0.05)
    table = run_benchmark(*tiny, "--workers", 1, "--no-compile", "--data", images, "--out", out)
    found = json.loads((out / "gpu.json").read_text())
    assert [row["note"] for row in found["rows"]] == [""] * 4
    assert all(row["images_per_second"] > 0 for row in found["rows"])
    # Tests that are marked for a GPU run on one, and are skipped elsewhere.
    assert found["tests"]["failed"] == []
    assert found["tests"]["passed"] + found["tests"]["skipped"] >= 10
    assert "| resnet20 | netspec, all switches |" in table
    assert (out / "gpu.md").read_text() in table


def test_what_there_is_no_time_for_is_said(tmp_path: Path, images: Path) -> None:
    options = ("--device", "cpu", "--data", images, "--out", tmp_path, "--budget", 1)
    table = run_benchmark(*options, "--no-tests")
    assert table.count("skipped: the time was up") == 12
