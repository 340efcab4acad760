"""A short run of the fuzzer of files; `python -m tests.helpers.fuzz_files` runs it fully."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.helpers.fuzz_core import ROOT


@pytest.mark.parametrize(
    ("seconds", "seed"), [(5, 1), pytest.param(30, 2, marks=pytest.mark.heavy)]
)
def test_files_of_all_kinds_are_fuzzed(tmp_path, seconds, seed) -> None:
    """It runs in a process of its own, so that only its memory is measured."""
    pytest.importorskip("PIL")
    command = [sys.executable, "-m", "tests.helpers.fuzz_files", "--worker"]
    command += ["--seconds", str(seconds), "--seed", str(seed), "--out", str(tmp_path / "found")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = "\n".join(p.read_text() for p in sorted((tmp_path / "found").glob("*.txt"))[:3])
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}\n{found}"
