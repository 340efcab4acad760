"""A short run of the fuzzer; `python -m tests.helpers.fuzz --seconds 3600` runs it fully."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.fuzz_core import ROOT


@pytest.mark.parametrize("seconds", [5, pytest.param(60, marks=pytest.mark.heavy)])
def test_a_slice_of_fuzzing(tmp_path, seconds: int):
    """It runs in a process of its own, so that only its memory is measured."""
    command = [sys.executable, "-m", "tests.helpers.fuzz", "--worker", "--seconds", str(seconds)]
    command += ["--out", str(tmp_path / "found"), "--seed", "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = "\n".join(p.read_text() for p in sorted((tmp_path / "found").glob("*.txt"))[:3])
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}\n{found}"
